"""The corpus that every installation has: the documentation of Python and of what bertjax needs.

Documentation strings are read from source files, nothing is imported. The text depends on the
Python version and on the versions of the packages: `version` tells them.
"""

import ast
import importlib.metadata
import importlib.util
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from bertjax.text.docstring_prose import prose_paragraphs

_PACKAGES = ("numpy", "scipy", "jax", "flax", "optax", "orbax", "grain", "tensorflow_datasets")
_SKIPPED_FOLDERS = {
    *("test", "tests", "idle_test", "testing", "__pycache__", "site-packages", "dist-packages"),
    *("_vendor", "vendor", "pydoc_data", "lib2to3", "_examples", "third_party"),
}
_STRING_PREFIXES = ("", "r", "R", "u", "U")
_FEW_PARAGRAPHS = 8  # modules with fewer go into one document with those beside them

# A Python string or comment. Parsing the files instead takes three times as long and finds the
# same documentation strings, but for those in single quotes.
_LITERAL = re.compile(
    r"""\#[^\n]*
    |   (?P<quotes>\"{3}|'{3})(?:[^\\]|\\.)*?(?P=quotes)
    |   "(?:[^"\\\n]|\\.)*"
    |   '(?:[^'\\\n]|\\.)*'
    """,
    re.VERBOSE | re.DOTALL,
)


def python_docs() -> Iterator[tuple[str, list[str]]]:
    """Yields (name, paragraphs) of each document, in a fixed order, no paragraph twice.

    A document is a help topic of the language, a module, or the small modules of one folder.
    """
    seen: set[str] = set()
    for name, topic in _help_topics():
        if paragraphs := _new_paragraphs([topic], seen):
            yield f"topics.{name}", paragraphs
    for root, name in _roots():
        for folder, files in _source_files(root):
            below = ".".join([name, *folder.relative_to(root).parts])
            small: list[str] = []
            for file in files:
                paragraphs = _new_paragraphs(_docstrings(file), seen)
                if file.stem == "__init__" or len(paragraphs) < _FEW_PARAGRAPHS:
                    small += paragraphs
                else:
                    yield f"{below}.{file.stem}", paragraphs
            if small:
                yield below, small


def documents() -> Iterator[str]:
    """The same documents as text: one paragraph per line."""
    for _, paragraphs in python_docs():
        yield "\n".join(paragraphs)


def version() -> str:
    """What the text depends on: the versions of Python and of every package that is read."""
    distributions = importlib.metadata.packages_distributions()
    names = sorted({name for package in _PACKAGES for name in distributions.get(package, ())})
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join([f"Python {platform.python_version()}", *versions])


def documentation_strings(source: str) -> Iterator[str]:
    """Triple-quoted strings that begin a line: documentation strings, and those of `add_newdoc`."""
    for literal in _LITERAL.finditer(source):
        line_start = source.rfind("\n", 0, literal.start()) + 1
        prefix = source[line_start : literal.start()].strip()
        if literal["quotes"] and prefix in _STRING_PREFIXES:
            with warnings.catch_warnings(action="ignore"):  # of escapes such as "\d"
                yield ast.literal_eval(prefix + literal[0])


def _new_paragraphs(docstrings: Iterable[str], seen: set[str]) -> list[str]:
    """Prose paragraphs that are not in `seen` yet; adds them to it."""
    found = dict.fromkeys(text for docstring in docstrings for text in prose_paragraphs(docstring))
    new = [paragraph for paragraph in found if paragraph not in seen]
    seen.update(new)
    return new


def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _help_topics() -> list[tuple[str, str]]:
    source = (_standard_library() / "pydoc_data" / "topics.py").read_text(encoding="utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            return sorted(ast.literal_eval(statement.value).items())
    return []


def _roots() -> Iterator[tuple[Path, str]]:
    """Folders of source files and the names of what they hold."""
    yield _standard_library(), "python"
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        for folder in sorted((found and found.submodule_search_locations) or []):
            yield Path(folder), package


def _source_files(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder with its source files, tests left out, sorted by name."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(set(below) - _SKIPPED_FOLDERS)
        is_test = re.compile(r"test_.*|.*_tests?\.py|conftest\.py")
        files = sorted(name for name in names if name.endswith(".py") and not is_test.match(name))
        yield Path(folder), [Path(folder, name) for name in files]


def _docstrings(file: Path) -> Iterator[str]:
    try:
        source = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # a few files declare another encoding
        return
    if '"""' in source or "'''" in source:
        yield from documentation_strings(source)
