"""A labelled task out of Python's own documentation: which package is a paragraph about?

    python scripts/quickstart_task.py FOLDER

writes FOLDER/train.tsv and FOLDER/dev.tsv: paragraphs of the documentation strings of eight
packages of the standard library, 20 of each to learn from and 100 to report. The order is that of
the paragraphs' hashes: the same text gives the same files.
"""

import hashlib
import sys
from pathlib import Path

from bertjax.files import write_whole
from bertjax.text.python_docs import python_docs

PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "tkinter", "unittest", "xml")
DEV, TRAIN = 100, 20  # paragraphs of each package


def main(folder: Path) -> None:
    paragraphs: dict[str, list[str]] = {package: [] for package in PACKAGES}
    for name, found in python_docs():
        if package := package_of(name):
            paragraphs[package] += found
    folder.mkdir(parents=True, exist_ok=True)
    for split, first, count in (("dev", 0, DEV), ("train", DEV, TRAIN)):
        rows = [
            (text, package)
            for package, texts in paragraphs.items()
            for text in sorted(texts, key=_digest)[first : first + count]
        ]
        rows.sort(key=lambda row: _digest(row[0]))
        table = "".join(f"{text}\t{package}\n" for text, package in [("text", "package"), *rows])
        file = folder / f"{split}.tsv"
        write_whole(file, lambda temporary, table=table: temporary.write_text(table, "utf-8"))
        print(f"{file}: {len(rows)} paragraphs of {len({package for _, package in rows})} packages")


def package_of(document: str) -> str | None:
    """The package among these that `python.PACKAGE.module` belongs to."""
    root, _, below = document.partition(".")
    package = below.partition(".")[0]
    return package if root == "python" and package in PACKAGES else None


def _digest(text: str) -> bytes:
    return hashlib.sha1(text.encode()).digest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
