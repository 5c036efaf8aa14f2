"""The first pass over a corpus: what is in it, which lines repeat, a sample to train on."""

import heapq
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.files import write_whole
from bertjax.text.corpus import Source, file_bytes, read_documents, sentence_mode
from bertjax.text.duplicates import LineCounter, document_hash, drop_repeated
from bertjax.text.prepare_state import read_json_if_there, save_array, write_json

SAMPLE_BYTES = 32 << 20
_REPORT_EVERY = 500
_COUNTS: tuple[str, ...] = ("documents", "lines", "bytes")


def scan(
    sources: Sequence[Source],
    sentences: str,
    work: Path,
    on_documents: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Reads every source once, or returns what an earlier scan found.

    One process reads about 30 MB of text a second, a tenth of the work or less. A scan that is
    killed starts over; ten gigabytes take six minutes.

    Writes `repeated.npy` and `sample.txt` into `work`.

    Args:
        sources: the sources.
        sentences: "lines", "split", or "auto" to look at each source's first documents.
        work: the folder of the unfinished run.
        on_documents: called now and then with the number of documents read so far.

    Returns:
        Per source: spec, files, file_bytes, mode ("lines" or "split"), and the counts documents,
        lines, bytes.

    Raises:
        UserError: a source cannot be read or holds no text; fewer than two documents in all.
    """
    if (found := read_json_if_there(work / "scan.json")) is not None:
        return found
    on_documents(0)
    shutil.rmtree(work / "lines", ignore_errors=True)
    counter, sample = LineCounter(work / "lines"), Sample(SAMPLE_BYTES)
    counts, before = [], 0
    for source in sources:
        count = _scan_source(source, counter, sample, lambda n, b=before: on_documents(b + n))
        before += count["documents"]
        counts.append(count)
    repeated = counter.repeated()
    shutil.rmtree(work / "lines")
    return write_scan(work, sources, sentences, counts, repeated, sample)


def write_scan(
    work: Path,
    sources: Sequence[Source],
    sentences: str,
    counts: Sequence[dict[str, int]],
    repeated: np.ndarray,
    sample: "Sample",
) -> list[dict[str, Any]]:
    """Writes what the first pass found, scan.json last; returns that.

    Args:
        work: the folder of the unfinished run.
        sources: the sources.
        sentences: "lines", "split", or "auto" to look at each source's first documents.
        counts: per source the sums of `document_counts`.
        repeated: sorted uint64 hashes of the lines to drop.
        sample: the text to train a tokenizer on.

    Raises:
        UserError: a source holds no text; fewer than two documents in all.
    """
    for source, count in zip(sources, counts, strict=True):
        if not count["documents"]:
            raise UserError(f"--corpus {source.spec}: holds no text")
    if sum(count["documents"] for count in counts) < 2:
        raise UserError(
            f"--corpus {sources[0].spec}: holds a single document, and next sentences are drawn "
            "from others; put a blank line between documents"
        )
    found = [
        {
            "spec": source.spec,
            "files": len(source.files),
            "file_bytes": file_bytes(source),
            "mode": sentence_mode(source, sentences),
            **{name: count[name] for name in _COUNTS},
        }
        for source, count in zip(sources, counts, strict=True)
    ]
    save_array(work / "repeated.npy", repeated)
    write_whole(work / "sample.txt", lambda path: sample.write(path, repeated))
    write_json(work / "scan.json", found)
    return found


def document_counts(lines: Sequence[str]) -> dict[str, int]:
    """What is counted of a document: documents (1), lines and bytes."""
    size = sum(len(line.encode()) + 1 for line in lines)
    return dict(zip(_COUNTS, (1, len(lines), size), strict=True))


class Sample:
    """The documents with the smallest hashes, as many as fit a number of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._heap: list[tuple[tuple[int, int], int, list[str]]] = []
        self._hashes: set[tuple[int, int]] = set()
        self._bytes = 0
        self._bound = (-1 << 64, 0)  # only keys above are taken: hashes, negated for the heap

    def add(self, document: tuple[int, int], size: int, lines: list[str]) -> None:
        """Takes a document of `size` bytes if its hash is small enough and new."""
        key = (-document[0], -document[1])
        if key in self._hashes or key <= self._bound:
            return
        heapq.heappush(self._heap, (key, size, lines))
        self._hashes.add(key)
        self._bytes += size
        while self._bytes > self._max_bytes and len(self._heap) > 1:
            self._bound, dropped, _ = heapq.heappop(self._heap)
            self._hashes.remove(self._bound)
            self._bytes -= dropped

    def merge(self, other: "Sample") -> None:
        """Adds the sample of another part of the corpus; the order of parts does not matter."""
        self._bound = max(self._bound, other._bound)
        while self._heap and self._heap[0][0] <= self._bound:
            key, size, _ = heapq.heappop(self._heap)
            self._hashes.remove(key)
            self._bytes -= size
        for hashes, size, lines in other.documents():
            self.add(hashes, size, lines)

    def documents(self) -> Iterator[tuple[tuple[int, int], int, list[str]]]:
        """Hash, size and lines of every document, in the order of their hashes."""
        for (high, low), size, lines in sorted(self._heap, reverse=True):
            yield (-high, -low), size, lines

    def write(self, file: Path, repeated: np.ndarray) -> None:
        """Writes the documents in the order of their hashes, without the repeated lines."""
        with file.open("w", encoding="utf-8") as stream:
            for _, _, lines in self.documents():
                stream.writelines(line + "\n" for line in drop_repeated(lines, repeated))
                stream.write("\n")


def read_sample(file: Path) -> Iterator[str]:
    """The lines of a written sample."""
    with file.open(encoding="utf-8") as stream:
        yield from (line.rstrip("\n") for line in stream if line != "\n")


def _scan_source(
    source: Source, counter: LineCounter, sample: Sample, on_documents: Callable[[int], None]
) -> dict[str, int]:
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTS, 0))
    for lines in read_documents(source):
        hashes, count = document_hash(lines), document_counts(lines)
        counter.add(hashes, lines)
        sample.add(hashes, count["bytes"], lines)
        counts.update(count)
        if counts["documents"] % _REPORT_EVERY == 0:
            on_documents(counts["documents"])
    on_documents(counts["documents"])
    return dict(counts)
