"""Lines that repeat across documents, counted exactly in fixed memory.

Boilerplate ("Read more", licence notes, navigation) teaches nothing and, left in, dominates the
loss. A line of at least 40 characters that occurs in at least 10 different documents is dropped
everywhere. To count, each document's line hashes are written to 256 files by the hash's
first byte; each file then is small enough to be sorted in memory.

The pieces of a document that was cut (more than 10,000 lines) are documents like others. Copies of
it are cut at the same places, so every piece of a copy is dropped as an exact duplicate; but a line
in ten pieces of one document counts as found in ten.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MIN_CHARACTERS = 40
MIN_DOCUMENTS = 10
_BUCKETS = 256
ENTRY = np.dtype([("line", "<u8"), ("document", "<u8")])
_BUFFERED_ENTRIES = 1 << 18


def document_hash(lines: Sequence[str]) -> tuple[int, int]:
    """A 128-bit hash of a document's original lines, as two unsigned 64-bit numbers."""
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def line_hashes(lines: Sequence[str]) -> np.ndarray:
    """64-bit hashes of lines, uint64 [lines]; 0 for lines too short to count."""
    hashes = b"".join(
        hashlib.blake2b(line.encode(), digest_size=8).digest()
        if len(line) >= MIN_CHARACTERS
        else bytes(8)
        for line in lines
    )
    return np.frombuffer(hashes, "<u8")


def drop_repeated(lines: list[str], repeated: np.ndarray) -> list[str]:
    """The lines whose hash is not in `repeated` (sorted uint64)."""
    if repeated.size == 0:
        return lines
    hashes = line_hashes(lines)
    places = np.minimum(np.searchsorted(repeated, hashes), repeated.size - 1)
    keep = (repeated[places] != hashes) | (hashes == 0)
    return [line for line, kept in zip(lines, keep.tolist(), strict=True) if kept]


def line_entries(document: tuple[int, int], lines: Sequence[str]) -> np.ndarray:
    """What is counted of a document: ENTRY [lines], the lines that are long enough."""
    hashes = line_hashes(lines)
    hashes = hashes[hashes != 0]
    entries = np.empty(hashes.size, ENTRY)
    entries["line"] = hashes
    entries["document"] = document[0]
    return entries


class LineCounter:
    """Collects the lines of a corpus in files below `folder`, which must be empty."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._files = [folder / f"{number:03d}" for number in range(_BUCKETS)]
        self._buffer: list[np.ndarray] = []
        self._buffered = 0

    def add(self, document: tuple[int, int], lines: Sequence[str]) -> None:
        """Counts a document's lines, each once however often the document repeats it."""
        entries = line_entries(document, lines)
        if not entries.size:
            return
        self._buffer.append(entries)
        self._buffered += entries.size
        if self._buffered >= _BUFFERED_ENTRIES:
            self._flush()

    def repeated(self) -> np.ndarray:
        """Sorted hashes (uint64) of the lines found in at least 10 documents; ends the count.

        Copies of one document count as one document: all but one of them are dropped anyway.
        """
        self._flush()
        found = [np.empty(0, np.uint64)]
        for file in self._files:
            if file.exists():
                found.append(repeated_in(np.fromfile(file, ENTRY)))
                file.unlink()
        return np.sort(np.concatenate(found))

    def _flush(self) -> None:
        if not self._buffer:
            return
        entries = np.concatenate(self._buffer)
        entries = entries[np.argsort(entries["line"] >> np.uint64(56), kind="stable")]
        buckets = (entries["line"] >> np.uint64(56)).astype(np.int64)
        ends = np.searchsorted(buckets, np.arange(_BUCKETS), side="right")
        for file, part in zip(self._files, np.split(entries, ends[:-1]), strict=True):
            with file.open("ab") as stream:
                stream.write(part.tobytes())  # tofile does not say that the disk is full
        self._buffer, self._buffered = [], 0


def repeated_in(entries: np.ndarray) -> np.ndarray:
    """Sorted hashes (uint64) of the lines found in at least 10 documents.

    Args:
        entries: ENTRY [lines], every entry of the lines concerned.
    """
    order = np.lexsort((entries["document"], entries["line"]))
    entries = entries[order]
    is_new = np.ones(entries.size, bool)
    is_new[1:] = entries[1:] != entries[:-1]
    lines, counts = np.unique(entries["line"][is_new], return_counts=True)
    return lines[counts >= MIN_DOCUMENTS]
