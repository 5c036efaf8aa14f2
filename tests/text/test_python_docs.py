import ast
import platform
import sysconfig
import textwrap
from itertools import islice
from pathlib import Path

import pytest

from bertjax.text.docstring_prose import is_prose, prose_paragraphs
from bertjax.text.python_docs import documentation_strings, documents, python_docs, version


@pytest.fixture(scope="module")
def docs():
    return list(python_docs())


NUMPY_STYLE = """Find the pull of *several* forces, see :func:`~mechanics.pull`.

    The forces are added **in order**, as described in [1]_. Each one is
    a vector of the ``float64`` kind.

    .. versionadded:: 1.2
       This is a line about versions that nobody wants to read here.

    .. note:: The order of the forces does not matter to the result.

    Parameters
    ----------
    forces : array_like, shape (n, 3)
        The forces that act on the body, one for each row.
    units : {'N', 'lbf'}, optional
        The unit in which all of the forces are given.

    See Also
    --------
    push : This is the opposite of a pull and is not shown here.

    Notes
    -----
    The sum is found as::

        total = this is a line of code that reads like the prose of a man.

    It is then given back to the caller.

    =====  =======
    name   meaning
    =====  =======
    a      This is a row of the table and is not for reading.
    =====  =======

    Examples
    --------
    Here is how it is used with two of them.

    >>> pull([1, 2])
    This is the output of the example and is not to be read.
    """

GOOGLE_STYLE = """Loads the weights of a model from a folder.

    Args:
        folder: The folder in which the weights of the model were saved.
        strict (bool): Whether names that are not known to it are an error. See
            the `guide <https://example.org>`_ for more on this.
        *args: passed on

    Returns:
        A dictionary of the weights that were found in it.

    Raises:
      OSError: If the folder is not there or cannot be read.

    Usage:
      weights = load("folder")  # this is the way to do it in a program
    """


def test_prose_of_a_numpy_docstring():
    assert prose_paragraphs(NUMPY_STYLE) == [
        "Find the pull of several forces, see mechanics.pull.",
        "The forces are added in order, as described in. Each one is a vector of the float64 kind.",
        "The order of the forces does not matter to the result.",
        "The forces that act on the body, one for each row.",
        "The unit in which all of the forces are given.",
        "It is then given back to the caller.",
        "Here is how it is used with two of them.",
    ]


def test_prose_of_a_google_docstring():
    assert prose_paragraphs(GOOGLE_STYLE) == [
        "Loads the weights of a model from a folder.",
        "The folder in which the weights of the model were saved.",
        "Whether names that are not known to it are an error. See the guide for more on this.",
        "A dictionary of the weights that were found in it.",
        "If the folder is not there or cannot be read.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "The quick brown fox jumps over the lazy dog.",
        'He said that it is "in order" to do so (but not now).',
        "Is there a way to do this in 3.11?",
    ],
)
def test_english_is_prose(sentence):
    assert is_prose(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "x = f(a, b) for a in the list of b.",
        "See https://example.org for more of it.",
        "the sentence begins in the middle of it.",
        "The list of the arguments to it is:",
        "Sum of it.",
        "The option --verbose is for more of it.",
        "Copyright of the code is with the authors of it.",
        "a_b c_d e_f of the g_h in i_j.",
        "The bracket (is not closed by the end of it.",
        "Einstein Podolsky Rosen Bohr Heisenberg Born.",
    ],
)
def test_code_and_fragments_are_not_prose(sentence):
    assert not is_prose(sentence)


def test_documentation_strings_are_those_that_a_parser_finds():
    file = Path(sysconfig.get_path("stdlib"), "argparse.py")
    found = set(documentation_strings(file.read_text(encoding="utf-8")))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node, clean=False)
            assert text is None or text in found


def test_strings_inside_code_and_comments_are_no_documentation():
    source = textwrap.dedent(
        '''
        # """not this"""
        text = """nor this"""
        quote = '"""'
        def f():
            r"""This \\one."""
            return b"""nor bytes"""
        add_newdoc("f", """nor in the middle""",
                   """and this one""")
        '''
    )
    assert list(documentation_strings(source)) == ["This \\one.", "and this one"]


@pytest.mark.slow
def test_there_is_enough_of_it(docs):
    size = sum(len(paragraph.encode()) for _, paragraphs in docs for paragraph in paragraphs)
    assert size > 1_500_000


@pytest.mark.slow
def test_it_holds_the_language_its_library_and_the_packages(docs):
    parts = {name.partition(".")[0] for name, _ in docs}
    assert {"topics", "python", "numpy", "scipy", "jax", "flax", "optax", "orbax"} <= parts


@pytest.mark.slow
def test_names_are_distinct_and_no_document_is_empty(docs):
    assert len({name for name, _ in docs}) == len(docs)
    assert all(paragraphs for _, paragraphs in docs)


@pytest.mark.slow
def test_no_paragraph_comes_twice(docs):
    paragraphs = [paragraph for _, text in docs for paragraph in text]
    assert len(set(paragraphs)) == len(paragraphs)


@pytest.mark.slow
def test_no_markup_is_left(docs):
    text = "\n".join(paragraph for _, paragraphs in docs for paragraph in paragraphs)
    for mark in ("``", ">>>", "::", "http:", "https:", "{", "|", "\\"):
        assert mark not in text


def test_documents_are_the_same_text_one_paragraph_per_line():
    first = list(islice(documents(), 30))
    assert first == ["\n".join(paragraphs) for _, paragraphs in islice(python_docs(), 30)]


def test_the_version_names_python_and_the_packages():
    assert platform.python_version() in version()
    assert all(name in version() for name in ("numpy", "jax", "flax", "orbax"))
