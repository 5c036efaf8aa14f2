"""Chunks to shards: array_record files whose documents stand in the order of their hashes."""

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.files import sha256_of, write_whole
from bertjax.text.chunks import INDEX
from bertjax.text.prepare_state import read_json, save_array, write_json

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
    notes.mkdir(exist_ok=True)
    totals: Counter[str] = Counter(documents=0, sentences=0, tokens=0, duplicates=0)
    entries = []
    for number in range(shards):
        file = folder / f"{number:05d}-of-{shards:05d}.array_record"
        note = notes / f"{first + number:05d}.json"
        if (counts := read_json(note)) is None:
            counts = _merge_shard(work / "chunks", chunks, first + number, file)
            save_array(note.with_suffix(".npy"), counts.pop("token_counts"))
            write_json(note, counts)
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


def _merge_shard(chunks: Path, count: int, shard: int, file: Path) -> dict[str, Any]:
    """Writes the documents of one shard from all chunks; no file if there are none."""
    index, origin = _shard_index(chunks, count, shard)
    order = np.lexsort((index["piece"], index["low"], index["high"]))
    index, origin = index[order], origin[order]
    keys = index[["high", "low", "piece"]]
    is_first = np.ones(index.size, bool)
    is_first[1:] = keys[1:] != keys[:-1]
    duplicates = int(index.size - is_first.sum())
    index, origin = index[is_first], origin[is_first]
    records = _read_records(chunks, index, origin)
    if records:
        write_whole(file, lambda temporary: _write_records(temporary, records))
    return {
        "documents": len(records),
        "sentences": int(index["sentences"].sum(dtype=np.int64)),
        "tokens": int(index["tokens"].sum(dtype=np.int64)),
        "duplicates": duplicates,
        "token_counts": index["tokens"],
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


def _write_records(file: Path, records: list[bytes]) -> None:
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
