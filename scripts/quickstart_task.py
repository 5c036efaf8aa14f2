"""A labelled task out of Python's own documentation: which package is a paragraph from?

    python scripts/quickstart_task.py FOLDER

writes FOLDER/train.tsv and FOLDER/dev.tsv with the columns `paragraph` and `package`: ten packages
of the standard library, a fifth of the paragraphs, by their hash, in the second file.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from bertjax.files import write_whole
from bertjax.text.python_docs import python_docs

PACKAGES = (
    *("asyncio", "email", "http", "idlelib", "importlib"),
    *("logging", "tkinter", "unittest", "urllib", "xml"),
)


def main(folder: Path) -> None:
    splits: dict[str, list[str]] = {"train": [], "dev": []}
    for package, paragraph in labelled_paragraphs():
        is_dev = hashlib.sha1(paragraph.encode()).digest()[0] % 5 == 0
        splits["dev" if is_dev else "train"].append(f"{paragraph}\t{package}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        text = "\n".join(["paragraph\tpackage", *rows, ""])
        write_whole(folder / f"{name}.tsv", lambda file, text=text: file.write_text(text, "utf-8"))
        print(f"{folder / name}.tsv: {len(rows):,} paragraphs of {len(PACKAGES)} packages")


def labelled_paragraphs() -> Iterator[tuple[str, str]]:
    """(package, paragraph), white space collapsed."""
    for name, paragraphs in python_docs():
        root, _, rest = name.partition(".")
        package = rest.partition(".")[0]
        if root == "python" and package in PACKAGES:
            for paragraph in paragraphs:
                yield package, " ".join(paragraph.split())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
