"""Raw text to a DATA folder of token shards: what `bertjax prepare` does.

    1. scan       read everything once: counts, repeated lines, a sample; starts over if killed
    2. tokenizer  train it on the sample, or load it
    3. tokenize   numbered chunks over processes
    4. merge      chunks to shards by document hash; exact duplicates dropped
    5. finish     manifest.json, then the work folder goes

DATA depends on the settings and the text alone: it is byte-identical for any number of workers and
after any interruption, and for any runner: with `--runner beam`, 1, 3 and 4 are Apache Beam's
(`bertjax.text.beam_prepare`). Memory is bounded whatever the corpus size.
"""

import errno
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bertjax.errors import UserError
from bertjax.files import held, write_whole
from bertjax.progress import Progress
from bertjax.text.chunks import (
    Chunk,
    ChunkTokenizer,
    Sharding,
    cut_chunks,
    plan_sharding,
    write_chunk,
)
from bertjax.text.corpus import Source, open_source, read_documents
from bertjax.text.disk import check_before_reading, check_before_tokenizing
from bertjax.text.finished import finished_manifest
from bertjax.text.manifest import make_manifest
from bertjax.text.merge import merge_split
from bertjax.text.prepare_state import (
    PARTS,
    TRAINED,
    PrepareSettings,
    check_output,
    check_settings,
    discarded_on_user_error,
    open_state,
    open_work,
    read_json_if_there,
    write_json,
)
from bertjax.text.scan import read_sample, scan
from bertjax.text.tokenizer import Tokenizer, load_tokenizer, train_sentencepiece, train_wordpiece
from bertjax.text.workers import map_unordered

__all__ = ["PrepareSettings", "prepare"]

Report = Callable[[str, int, int | None, str], None]
_TRAINERS: dict[str, Callable[[Iterator[str], int, bool], Tokenizer]] = {
    "wordpiece": train_wordpiece,
    "sentencepiece": train_sentencepiece,
    "sentencepiece:bpe": functools.partial(train_sentencepiece, model_type="bpe"),
}
_MIN_CHUNK_BYTES, _MAX_CHUNK_BYTES, _CHUNKS = 1 << 20, 16 << 20, 1024


def prepare(settings: PrepareSettings, progress: Report | None = None) -> dict[str, Any]:
    """Makes a DATA folder, goes on with an interrupted one, or leaves a finished one as it is.

    Args:
        settings: sources, output, tokenizer and the rest.
        progress: called with (phase, done, total or None, unit); None shows a progress bar.

    Returns:
        The manifest.

    Raises:
        UserError: a setting, a source or the output folder is at fault.
    """
    try:
        with _Bars() as bars:
            return _prepare(settings, progress or bars.update)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"--output {settings.output}: the disk is full; free some and run the command again "
            "to go on from here"
        ) from error


def _prepare(settings: PrepareSettings, progress: Report) -> dict[str, Any]:
    check_settings(settings)
    given = None
    if settings.tokenizer not in TRAINED:
        given = load_tokenizer(settings.tokenizer, settings.cased or None)
    if (manifest := finished_manifest(settings, given)) is not None:
        documents = sum(split["documents"] for split in manifest["splits"].values())
        progress("already prepared", documents, documents, "document")
        return manifest
    sources = [open_source(spec, settings.runner) for spec in settings.corpora]
    check_output(settings.output, sources)
    with held(Path(settings.output), f"--output {settings.output}"):
        # Asked again: another process may have finished it, and let go, in between.
        return finished_manifest(settings, given) or _make(settings, sources, given, progress)


def _make(
    settings: PrepareSettings,
    sources: Sequence[Source],
    given: Tokenizer | None,
    progress: Report,
) -> dict[str, Any]:
    """Makes what is missing of DATA; its folder is ours alone."""
    work = open_work(settings.output)
    elsewhere = re.search(r"--temp_location[= ]\w+://", " ".join(settings.beam_options))
    copies = 1 if elsewhere else 2  # shards alone, or chunks too
    with discarded_on_user_error(work):
        if not (work / "scan.json").exists():
            pieces = given.vocab_size if given else settings.vocab_size
            check_before_reading(work, sources, pieces, copies)
    fingerprints = open_state(work, settings, sources, given)

    with discarded_on_user_error(work):
        scanned = _scan(settings, sources, work, progress)
        tokenizer = _tokenizer(settings, given, work, progress)
    text_bytes = sum(source["bytes"] for source in scanned)
    check_before_tokenizing(work, text_bytes, tokenizer, copies)
    sharding = plan_sharding(text_bytes, settings.validation)
    chunks = _tokenize(settings, sources, scanned, sharding, work, progress)
    with discarded_on_user_error(work):
        splits, duplicates = _merge(sharding, len(chunks), work, progress)
    manifest = make_manifest(settings, scanned, fingerprints, chunks, splits, duplicates, tokenizer)
    _finish(Path(settings.output), manifest, work)
    return manifest


def _scan(
    settings: PrepareSettings, sources: Sequence[Source], work: Path, progress: Report
) -> list[dict[str, Any]]:
    """Reads everything once, or finds what an earlier run has read."""

    def on_documents(done: int) -> None:
        progress("reading", done, None, "document")

    if settings.runner == "beam" and not (work / "scan.json").exists():
        from bertjax.text.beam_prepare import scan_with_beam

        on_documents(0)
        scan_with_beam(sources, settings.sentences, work, settings.beam_options)
    return scan(sources, settings.sentences, work, on_documents)


def _tokenizer(
    settings: PrepareSettings, given: Tokenizer | None, work: Path, progress: Report
) -> Tokenizer:
    """The tokenizer of this DATA: made once, then loaded from the work folder."""
    folder = work / "tokenizer"
    if not folder.exists():
        progress("making the tokenizer", 0, 1, "tokenizer")
        tokenizer = given
        if tokenizer is None:
            sample = read_sample(work / "sample.txt")
            tokenizer = _TRAINERS[settings.tokenizer](sample, settings.vocab_size, settings.cased)
        write_whole(folder, tokenizer.save)
        progress("making the tokenizer", 1, 1, "tokenizer")
    return load_tokenizer(folder)


def _tokenize(
    settings: PrepareSettings,
    sources: Sequence[Source],
    scanned: Sequence[dict[str, Any]],
    sharding: Sharding,
    work: Path,
    progress: Report,
) -> list[dict[str, Any]]:
    """Tokenizes the chunks that are not done yet; returns the counts of all, in order."""
    modes = [source["mode"] for source in scanned]
    total = sum(source["documents"] for source in scanned)
    if settings.runner == "beam":
        from bertjax.text.beam_prepare import tokenize_with_beam

        progress("tokenizing", 0, total, "document")
        return tokenize_with_beam(sources, modes, sharding, work, settings.beam_options)
    folder = work / "chunks"
    folder.mkdir(exist_ok=True)
    text_bytes = sum(source["bytes"] for source in scanned)
    finished = map(read_json_if_there, folder.glob("*.json"))
    counts: dict[int, dict[str, Any]] = {count["chunk"]: count for count in finished}
    progress("tokenizing", _documents(counts), total, "document")
    chunk_bytes = min(max(text_bytes // _CHUNKS, _MIN_CHUNK_BYTES), _MAX_CHUNK_BYTES)
    chunks = (c for c in _all_chunks(sources, chunk_bytes) if c.number not in counts)
    arguments = (work, modes, sharding)
    workers = settings.workers or _cores()
    for result in map_unordered(_chunk_tokenizer, arguments, chunks, workers):
        counts[result["chunk"]] = result
        progress("tokenizing", _documents(counts), total, "document")
    return [counts[number] for number in sorted(counts)]


def _documents(counts: dict[int, dict[str, Any]]) -> int:
    return sum(count["documents"] for count in counts.values())


def _all_chunks(sources: Sequence[Source], chunk_bytes: int) -> Iterator[Chunk]:
    first = 0
    for place, source in enumerate(sources):
        for chunk in cut_chunks(place, read_documents(source), chunk_bytes, first):
            yield chunk
            first = chunk.number + 1


def _chunk_tokenizer(
    work: Path, modes: list[str], sharding: Sharding
) -> Callable[[Chunk], dict[str, Any]]:
    repeated = np.load(work / "repeated.npy", mmap_mode="r", allow_pickle=False)
    chunks = ChunkTokenizer(load_tokenizer(work / "tokenizer"), repeated, modes, sharding)

    def run(chunk: Chunk) -> dict[str, Any]:
        tokenized = chunks.tokenize(chunk)
        write_chunk(work / "chunks", tokenized)
        return tokenized.counts

    return run


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _merge(
    sharding: Sharding, chunks: int, work: Path, progress: Report
) -> tuple[dict[str, dict[str, Any]], int]:
    """Writes the shards of both splits; returns their manifest entries and the duplicates."""
    counts = {"train": sharding.train_shards, "validation": sharding.validation_shards}
    total, first = sum(counts.values()), 0
    progress("merging", 0, total, "shard")
    splits, duplicates = {}, 0
    for split, shards in counts.items():
        entry, dropped = merge_split(
            work, chunks, split, first, shards, lambda n: progress("merging", n, total, "shard")
        )
        splits[split] = entry
        duplicates += dropped
        first += shards
    if splits["train"]["documents"] < 2:
        raise UserError(
            "fewer than two documents are left for training, and next sentences are drawn from "
            "others; put a blank line between documents, or lower --validation"
        )
    return splits, duplicates


def _finish(output: Path, manifest: dict[str, Any], work: Path) -> None:
    for name in PARTS:
        (work / name).replace(output / name)
    write_json(output / "manifest.json", manifest)
    shutil.rmtree(work, ignore_errors=True)  # a process that finds DATA complete removes it too


class _Bars:
    """One progress bar per phase."""

    def __init__(self) -> None:
        self._phase = ""
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def update(self, phase: str, done: int, total: int | None, unit: str) -> None:
        if phase != self._phase:
            self.__exit__()
            self._phase, self._bar = phase, Progress(phase, total, unit)
            self._bar.start_at(done)
        assert self._bar is not None
        self._bar.update(done)
