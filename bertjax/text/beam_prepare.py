"""`prepare --runner beam`: the two passes over a corpus, on as many machines as Beam has.

    scan      each task: counts, hashes of lines, a sample     -> added up
    tokenize  each task: chunks, as on one machine             -> grouped by shard, and written

A task is a stretch of a source's files, about 16 MiB of them; a single file is read by one worker.
Both passes call the functions that one machine calls, and leave in the work folder what it would
have left there, so that `prepare` goes on from either: the tokenizer is trained, and the manifest
written, where the command runs. Beam repeats what fails within a pass; a command that is killed
begins its pass again.

Workers and the command meet in one folder: below Beam's `--temp_location` where that is given, else
in the work folder.
"""

import contextlib
import functools
import io
import itertools
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam  # pyright: ignore[reportMissingImports]
import numpy as np
from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]
from apache_beam.options.pipeline_options import (  # pyright: ignore[reportMissingImports]
    PipelineOptions,
)

from bertjax.errors import UserError
from bertjax.files import write_whole
from bertjax.text.beam_pipelines import scan_pipeline, tokenize_pipeline
from bertjax.text.chunks import INDEX, Sharding
from bertjax.text.corpus import Source, file_size
from bertjax.text.merge import first_of_each, shard_name, write_note, write_shard
from bertjax.text.prepare_state import read_json_if_there, write_json
from bertjax.text.remote_files import fetch, names_of, open_for_reading, send
from bertjax.text.scan import SAMPLE_BYTES, Sample, write_scan

_TASK_BYTES = 16 << 20  # of files, as they lie


def scan_with_beam(
    sources: Sequence[Source], sentences: str, work: Path, flags: Sequence[str]
) -> None:
    """Writes into `work` what `scan` writes.

    Args:
        sources: the sources.
        sentences: "lines", "split" or "auto".
        work: the folder of the unfinished run.
        flags: Beam's own options, such as `--runner=DataflowRunner`.

    Raises:
        UserError: a source cannot be read or holds no text; fewer than two documents in all.
    """
    counts: list[dict[str, int]] = [{"documents": 0} for _ in sources]
    repeated, sample, errors = [np.empty(0, np.uint64)], Sample(SAMPLE_BYTES), []
    with _meeting_place(work, flags) as place:
        for kind, value in _run(place, flags, sources, scan_pipeline):
            if kind == "counts":
                counts[value[0]] = value[1]
            elif kind == "repeated":
                repeated.append(np.frombuffer(bytes.fromhex(value), "<u8"))
            elif kind == "document":
                sample.add((value[0], value[1]), value[2], value[3])
            else:
                errors.append(value)
    if errors:
        raise UserError(min(errors)[1])  # of the first task, as one machine would have told it
    write_scan(work, sources, sentences, counts, np.sort(np.concatenate(repeated)), sample)


def tokenize_with_beam(
    sources: Sequence[Source],
    modes: Sequence[str],
    sharding: Sharding,
    work: Path,
    flags: Sequence[str],
) -> list[dict[str, Any]]:
    """Writes every shard into `work`, with its note.

    Args:
        sources: the sources.
        modes: "lines" or "split" for each.
        sharding: where each document goes.
        work: the folder of the unfinished run, with the tokenizer and the repeated lines.
        flags: Beam's own options.

    Returns:
        For each source, the counts of its chunks added up.
    """
    if (finished := read_json_if_there(work / "tokenized.json")) is not None:
        return finished
    counts, missing = [], set(range(sharding.train_shards + sharding.validation_shards))
    with _meeting_place(work, flags) as place:
        for file in [work / "repeated.npy", *(work / "tokenizer").iterdir()]:
            send(file, f"{place}/{file.relative_to(work)}")
        build = functools.partial(
            tokenize_pipeline, place=place, modes=list(modes), sharding=sharding
        )
        for kind, value in _run(place, flags, sources, build):
            if kind == "counts":
                counts.append(value)
            else:
                _bring_home(value, sharding, work)
                missing.remove(value["shard"])
    nothing = np.empty(0, INDEX)
    for shard in missing:  # no document has such a hash
        write_note(work, shard, write_shard(work, nothing, first_of_each(nothing), []))
    write_json(work / "tokenized.json", counts)
    return counts


@contextlib.contextmanager
def _meeting_place(work: Path, flags: Sequence[str]) -> Iterator[str]:
    """The folder, while entered, where workers and the command meet."""
    options = PipelineOptions(list(flags)).get_all_options()
    parent = options.get("temp_location") or str(work.absolute())
    place = f"{parent.rstrip('/')}/bertjax-{uuid.uuid4().hex}"
    try:
        yield place
    finally:
        if "://" in place:
            FileSystems.delete(names_of(f"{place}/**"))
        else:
            shutil.rmtree(place, ignore_errors=True)


def _run(
    place: str, flags: Sequence[str], sources: Sequence[Source], build: Callable[[Any], Any]
) -> Iterator[tuple[str, Any]]:
    """Runs a pipeline over the tasks of a corpus; yields its results: (kind, value)."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder, "tasks")
        tasks.write_text("".join(json.dumps(task) + "\n" for task in _tasks(sources)))
        send(tasks, f"{place}/tasks")
    with beam.Pipeline(options=PipelineOptions(list(flags))) as pipeline:
        lines = pipeline | "tasks" >> beam.io.ReadFromText(f"{place}/tasks")
        results = build(lines | "parse" >> beam.Map(json.loads) | beam.Reshuffle())
        lines = results | "to lines" >> beam.Map(json.dumps)
        _ = lines | "results" >> beam.io.WriteToText(f"{place}/results")
    for file in names_of(f"{place}/results-*"):
        with io.TextIOWrapper(open_for_reading(file), encoding="utf-8") as stream:
            yield from map(json.loads, stream)


def _tasks(sources: Sequence[Source]) -> Iterator[dict[str, Any]]:
    """Stretches of the corpus in order, as JSON can hold them."""
    numbers = itertools.count()
    for place, source in enumerate(sources):
        head = {"source": place, "spec": source.spec, "is_folder": source.is_folder}
        names, size = [], 0
        for file in source.files:
            names.append(str(file.absolute() if isinstance(file, Path) else file))
            size += file_size(file)
            if size >= _TASK_BYTES:
                yield {"task": next(numbers), **head, "files": names}
                names, size = [], 0
        if names or not source.files:
            yield {"task": next(numbers), **head, "files": names}


def _bring_home(made: dict[str, Any], sharding: Sharding, work: Path) -> None:
    """Copies a shard into the work folder, and notes it."""
    split, number, shards = "train", made["shard"], sharding.train_shards
    if number >= shards:
        split, number, shards = "validation", number - shards, sharding.validation_shards
    (work / split).mkdir(exist_ok=True)
    write_whole(work / split / shard_name(number, shards), functools.partial(fetch, made["file"]))
    counts = {name: made[name] for name in ("documents", "sentences", "tokens", "duplicates")}
    token_counts = np.frombuffer(bytes.fromhex(made["token_counts"]), "<u4")
    write_note(work, made["shard"], {**counts, "token_counts": token_counts})
