"""Small made-up corpora."""

import hashlib
import json
import random
from pathlib import Path

from bertjax.text.prepare import PrepareSettings
from bertjax.text.records import TokenizedDocument, decode_document

_SYLLABLES = ["ba", "den", "fi", "gor", "hu", "ka", "lem", "mo", "nis", "pra", "ru", "sol", "tive"]


def made_up_documents(count: int, seed: int = 0) -> list[list[str]]:
    """Documents of 3 to 12 sentences of made-up words."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(300)]

    def sentence() -> str:
        return " ".join(rng.choices(words, k=rng.randint(4, 15))).capitalize() + "."

    return [[sentence() for _ in range(rng.randint(3, 12))] for _ in range(count)]


def write_corpus(file: Path, documents: list[list[str]]) -> Path:
    """Writes documents as google-research/bert reads them."""
    file.write_text("\n".join("".join(line + "\n" for line in lines) for lines in documents))
    return file


def small_settings(corpus: Path | str, output: Path, **changes: object) -> PrepareSettings:
    """Settings for a corpus of a few documents."""
    values: dict = {"vocab_size": 200, "validation": 0.2, "workers": 1} | changes
    return PrepareSettings((str(corpus),), str(output), **values)


def silent(*_: object) -> None:
    """Shows no progress."""


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def read_split(folder: Path, split: str) -> list[TokenizedDocument]:
    """The documents of a DATA folder, by the manifest."""
    from array_record.python.array_record_module import ArrayRecordReader

    records = []
    for shard in json.loads((folder / "manifest.json").read_text())["splits"][split]["shards"]:
        reader = ArrayRecordReader(str(folder / shard["file"]))
        assert reader.num_records() == shard["documents"]
        records += reader.read_all()
    return [decode_document(record) for record in records]
