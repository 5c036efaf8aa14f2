"""The corpus that every installation has: the documentation of Python and of what bertjax needs.

Documentation strings are read from source files, nothing is imported. The text depends on the
Python version and on the versions of the packages; `digest` tells two of them apart.
"""

import ast
import hashlib
import importlib.util
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from bertjax.text.docstring_prose import prose_paragraphs

_PACKAGES = ("numpy", "scipy", "jax", "flax", "optax", "orbax", "grain", "tensorflow_datasets")
_SKIPPED_FOLDERS = {
    *("test", "tests", "idle_test", "testing", "__pycache__", "site-packages", "dist-packages"),
    *("_vendor", "vendor", "pydoc_data", "lib2to3", "_examples", "third_party"),
}
_FEW_PARAGRAPHS = 8  # modules with fewer go into one document with those beside them

# A Python string or comment. Parsing the files instead takes three times as long and finds the
# same documentation strings, but for those in single quotes.
_LITERAL = re.compile(
    r'''\#[^\n]*
    |   (?P<prefix>\b[A-Za-z]{1,2})?(?P<quotes>"""|\'\'\')(?:[^\\]|\\.)*?(?P=quotes)
    |   "(?:[^"\\\n]|\\.)*"
    |   '(?:[^'\\\n]|\\.)*'
    ''',
    re.VERBOSE | re.DOTALL,
)


def python_docs() -> Iterator[tuple[str, list[str]]]:
    """Yields (name, paragraphs) of each document, in a fixed order, no paragraph twice.

    A document is a help topic of the language, a module, or the small modules of one folder.
    """
    seen: set[str] = set()
    for name, docstrings in _sources():
        paragraphs = []
        for docstring in docstrings:
            for paragraph in prose_paragraphs(docstring):
                if paragraph not in seen:
                    seen.add(paragraph)
                    paragraphs.append(paragraph)
        if paragraphs:
            yield name, paragraphs


def documents() -> Iterator[str]:
    """The same documents as text: one paragraph per line."""
    for _, paragraphs in python_docs():
        yield "\n".join(paragraphs)


def digest(texts: Iterable[str]) -> str:
    """SHA-256, in hexadecimal, over documents in order: figures compare only where it is equal."""
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode() + b"\0")
    return total.hexdigest()
