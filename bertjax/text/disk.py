"""Disk that a DATA folder takes while it is made: refused before it is written if it will not fit.

Chunks and shards lie on disk at the same time, unless Beam keeps the chunks elsewhere. The first
pass needs less: 16 bytes for a line of at least 40.
"""

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from bertjax.errors import UserError
from bertjax.json_text import parse_json
from bertjax.text.chunks import encode_sentences, tokenized_document
from bertjax.text.corpus import Source, is_json
from bertjax.text.records import encode_document, id_dtype
from bertjax.text.scan import read_sample
from bertjax.text.text_files import head
from bertjax.text.tokenizer import Tokenizer

_SPARE = 1.1
_MEASURED_LINES = 5_000
_FEWEST_TOKENS = 0.15  # per byte of text: Korean with 30,000 pieces; English has 0.22


def check_before_reading(
    work: Path, sources: Sequence[Source], vocab_size: int, copies: int
) -> None:
    """Refuses what cannot fit, by the sizes of local files; other sources count as nothing.

    Args:
        work: where the tokenized text will lie.
        sources: the text.
        vocab_size: how many pieces the tokenizer has.
        copies: how often the tokenized text will lie there at the same time.

    Raises:
        UserError: there is less room than the least that such a text takes.
    """
    size = sum(_text_bytes(source) for source in sources)
    _check(work, "at least", copies * size * _FEWEST_TOKENS * id_dtype(vocab_size).itemsize)


def check_before_tokenizing(work: Path, text_bytes: int, tokenizer: Tokenizer, copies: int) -> None:
    """Refuses what will not fit, by the sample of the first pass; what that made stays.

    Args:
        work, copies: as of `check_before_reading`.
        text_bytes: how much text there is.
        tokenizer: tokenizes the sample.

    Raises:
        UserError: there is less room than the text takes.
    """
    lines = list(islice(read_sample(work / "sample.txt"), _MEASURED_LINES))
    sample_bytes = sum(len(line.encode()) + 1 for line in lines)
    rows = encode_sentences(lines, tokenizer)
    record = encode_document(tokenized_document(rows, tokenizer.vocab_size))
    _check(work, "about", copies * text_bytes * len(record) / max(sample_bytes, 1))


def _check(work: Path, how: str, tokenized_bytes: float) -> None:
    """What is there already, of a run that goes on, is part of the need and stays."""
    need = int(_SPARE * tokenized_bytes)
    written = [
        file for part in ("chunks", "train", "validation") for file in (work / part).glob("*")
    ]
    free = shutil.disk_usage(work).free + sum(file.stat().st_size for file in written)
    if need > free:
        unit, name = (1e9, "GB") if free > 1e9 else (1e6, "MB")
        raise UserError(
            f"--output {work.parent}: needs {how} {need / unit:,.1f} {name} of free disk, "
            f"{free / unit:,.1f} {name} are there; free some and run the command again, or choose "
            "another disk"
        )


def _text_bytes(source: Source) -> float:
    """About how much text a source holds: as much for its size as its largest file's beginning."""
    sizes = {file: file.stat().st_size for file in source.files if isinstance(file, Path)}
    if not any(sizes.values()):
        return 0
    largest = max(sizes, key=lambda file: sizes[file])
    text, read = head(largest)
    if is_json(largest):
        text = _json_text(text)
    return sum(sizes.values()) * len(text) / max(read, 1)


def _json_text(data: bytes) -> bytes:
    """The text in the lines of a JSON Lines file; a mistake in them is told when they are read."""
    texts = []
    for line in data.splitlines()[:-1]:
        try:
            texts.append(parse_json(line)["text"] or "")
        except (ValueError, KeyError, TypeError):
            continue
    return "\n".join(map(str, texts)).encode("utf-8", "replace")
