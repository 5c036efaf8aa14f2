"""Chunks to shards: array_record files whose documents stand in the order of their hashes."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.files import sha256_of, write_whole
from bertjax.text.chunks import INDEX
from bertjax.text.prepare_state import read_json_if_there, save_array, write_json

# One record per group, so that any document is read alone.
WRITER_OPTIONS = "group_size:1,zstd:3"


def merge_split(
    work: Path, chunks: int, split: str, first: int, shards: int, on_shard: Callable[[int], None]
) -> tuple[dict[str, Any], int]:
    """Writes a split's shards and token counts into `work/SPLIT`, exact duplicates dropped.

    Args:
        work: the folder of the unfinished run.
        chunks: the number of chunks in it.
        split: "train" or "validation".
        first: the number of the split's first shard.
        shards: how many it has.
        on_shard: called with the number of shards written, those before `first` included.

    Returns:
        The split's entry in the manifest, and the number of documents dropped.
    """
    folder, notes = work / split, work / "shards"
    folder.mkdir(exist_ok=True)
    totals: Counter[str] = Counter(documents=0, sentences=0, tokens=0, duplicates=0)
    entries = []
    for number in range(shards):
        file = folder / shard_name(number, shards)
        note = notes / f"{first + number:05d}.json"
        if (counts := read_json_if_there(note)) is None:
            counts = _merge_shard(work / "chunks", chunks, first + number, file)
            write_note(work, first + number, counts)
        totals.update({name: counts[name] for name in totals})
        if counts["documents"]:
            entries.append(
                {
                    "file": f"{split}/{file.name}",
                    "documents": counts["documents"],
                    "sha256": sha256_of(file),
                }
            )
        on_shard(first + number + 1)
    token_counts = [np.load(notes / f"{first + number:05d}.npy") for number in range(shards)]
    save_array(folder / "token_counts.npy", np.concatenate(token_counts))
    duplicates = totals.pop("duplicates")
    return {**totals, "shards": entries}, duplicates


def write_note(work: Path, shard: int, counts: dict[str, Any]) -> None:
    """Notes that a shard is written, with what `write_shard` gave."""
    (work / "shards").mkdir(exist_ok=True)
    note = work / "shards" / f"{shard:05d}.json"
    save_array(note.with_suffix(".npy"), counts["token_counts"])
    write_json(note, {name: value for name, value in counts.items() if name != "token_counts"})


def shard_name(number: int, shards: int) -> str:
    """The name of a split's shard number `number`."""
    return f"{number:05d}-of-{shards:05d}.array_record"


def _merge_shard(chunks: Path, count: int, shard: int, file: Path) -> dict[str, Any]:
    """Writes the documents of one shard from all chunks."""
    index, origin = _shard_index(chunks, count, shard)
    kept = first_of_each(index)
    records = _read_records(chunks, index[kept], origin[kept])
    return write_shard(file, index, kept, records)


def first_of_each(index: np.ndarray) -> np.ndarray:
    """The rows of a shard's index (INDEX [rows]) that stay, in the order of their hashes.

    Of exact duplicates that is the first in the given order: the order of the corpus.
    """
    order = np.lexsort((index["piece"], index["low"], index["high"]))
    keys = index[order][["high", "low", "piece"]]
    is_first = np.ones(index.size, bool)
    is_first[1:] = keys[1:] != keys[:-1]
    return order[is_first]


def write_shard(
    file: Path, index: np.ndarray, kept: np.ndarray, records: Sequence[bytes]
) -> dict[str, Any]:
    """Writes one shard; no file if it has no documents.

    Args:
        file: the array_record file.
        index: INDEX [rows] of all its documents, duplicates included.
        kept: the rows that `first_of_each` gave.
        records: their encoded documents.

    Returns:
        The counts documents, sentences, tokens and duplicates, and token_counts: uint32
        [documents].
    """
    if records:
        write_whole(file, lambda temporary: _write_records(temporary, records))
    rows = index[kept]
    return {
        "documents": len(records),
        "sentences": int(rows["sentences"].sum(dtype=np.int64)),
        "tokens": int(rows["tokens"].sum(dtype=np.int64)),
        "duplicates": int(index.size - kept.size),
        "token_counts": rows["tokens"],
    }


def _shard_index(chunks: Path, count: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
    """The index rows of a shard, in the order of the chunks, and which chunk each is from."""
    rows, origins = [np.empty(0, INDEX)], [np.empty(0, np.int64)]
    for number in range(count):
        index = np.load(chunks / f"{number:06d}.npy", allow_pickle=False)
        first, last = np.searchsorted(index["shard"], (shard, shard + 1))
        rows.append(index[first:last])
        origins.append(np.full(last - first, number, np.int64))
    return np.concatenate(rows), np.concatenate(origins)


def _read_records(chunks: Path, index: np.ndarray, origin: np.ndarray) -> list[bytes]:
    records = [b""] * index.size
    by_chunk = np.argsort(origin, kind="stable")
    numbers, starts = np.unique(origin[by_chunk], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(by_chunk, starts[1:]), strict=False):
        with (chunks / f"{number:06d}.records").open("rb") as stream:
            for row in rows.tolist():
                stream.seek(int(index["start"][row]))
                records[row] = stream.read(int(index["size"][row]))
    return records


def _write_records(file: Path, records: Sequence[bytes]) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    try:
        writer = ArrayRecordWriter(str(file), WRITER_OPTIONS)
        for record in records:
            writer.write(record)
        writer.close()
    except RuntimeError as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        # as Python's own files tell it: `prepare` says what to do
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file)) from error
