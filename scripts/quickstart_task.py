"""A labelled task out of Python's own documentation: which words are names of code?

    python scripts/quickstart_task.py FOLDER

writes FOLDER/train.conll (300 sentences) and FOLDER/dev.conll (500): a word or mark and its label
on each line, a blank line between sentences. The labels are the authors' own: documentation strings
put names such as `axis` into backquotes, which are taken away here. The order is that of the
sentences' hashes: the same text gives the same files.
"""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bertjax.files import write_whole
from bertjax.text.docstring_prose import prose_paragraphs
from bertjax.text.python_docs import all_documentation_strings

TRAIN, DEV = 300, 500

_NAME = re.compile(r"(?::[\w:]+:)?`+~?([A-Za-z_]\w*)`+")  # `name`, ``name``, :class:`name`
_MARK = "Zq"  # begins a name once its backquotes are gone; no English word begins like this
_ATTACHED = re.compile(rf"\B{_MARK}")  # a name that the removal of markup joined to another word
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_WORD = re.compile(r"\w+|[^\w\s]")


def main(folder: Path) -> None:
    digest = lambda text: hashlib.sha1(text.encode()).digest()  # noqa: E731
    sentences = sorted(
        {text for each in all_documentation_strings() for text in marked(each)}, key=digest
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, first, count in (("dev", 0, DEV), ("train", DEV, TRAIN)):
        text = "\n".join(map(labelled_lines, sentences[first : first + count]))
        file = folder / f"{name}.conll"
        write_whole(file, lambda temporary, text=text: temporary.write_text(text, "utf-8"))
        print(f"{file}: {text.count('B-name'):,} names of code in {count} sentences")


def marked(documentation: str) -> Iterator[str]:
    """The sentences of a documentation string with a name of code, `_MARK` before each name."""
    text, names = _NAME.subn(rf"{_MARK}\1", documentation)
    for paragraph in prose_paragraphs(text) if names else ():
        for sentence in _SENTENCE_END.split(paragraph):
            if _MARK in sentence and not _ATTACHED.search(sentence):
                yield sentence


def labelled_lines(sentence: str) -> str:
    """A line for each word or mark: itself, a tab, its label."""
    lines = []
    for word in _WORD.findall(sentence):
        name = word.removeprefix(_MARK)
        lines.append(f"{name}\t{'O' if name == word else 'B-name'}\n")
    return "".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
