"""The two passes of `prepare --runner beam` as pipelines of Apache Beam.

Both start from tasks, which are stretches of the corpus (see `bertjax.text.beam_prepare`), and give
pairs (kind, value) that JSON can hold. What is done to a document or a shard is done by the
functions that a single machine calls.
"""

import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import apache_beam as beam  # pyright: ignore[reportMissingImports]
import numpy as np

from bertjax.errors import UserError
from bertjax.text.chunks import INDEX, ChunkTokenizer, Sharding, cut_chunks
from bertjax.text.corpus import Source, read_documents
from bertjax.text.duplicates import ENTRY, document_hash, line_entries, repeated_in
from bertjax.text.merge import first_of_each, write_shard
from bertjax.text.remote_files import corpus_file, fetch, names_of, send
from bertjax.text.scan import SAMPLE_BYTES, Sample, document_counts
from bertjax.text.token_counts import TokenCounts
from bertjax.text.tokenizer import load_tokenizer

_CHUNK_BYTES = 16 << 20  # of text
_BUCKET_BITS = 10  # of a line's hash: one worker counts the lines of a bucket in memory
_HELD_ENTRIES = 1 << 18


def _documents(task: dict[str, Any]) -> Iterator[list[str]]:
    files = tuple(corpus_file(name) for name in task["files"])
    return read_documents(Source(task["spec"], files, task["is_folder"]))


def scan_pipeline(tasks: Any) -> Any:
    """The first pass over tasks.

    Gives `counts` (source, sums of `document_counts`), `repeated` (hashes in hexadecimal, a bucket
    each), `document` (two numbers of the hash, size, lines) for the sample, and `error` (task,
    message).
    """
    scanned = tasks | "scan" >> beam.FlatMap(_scan_task).with_outputs(
        "lines", "sample", "error", main="counts"
    )
    counts = scanned.counts | "add counts" >> beam.CombinePerKey(_add_counts)
    lines = scanned.lines | "group lines" >> beam.GroupByKey()
    sample = scanned.sample | "merge samples" >> beam.CombineGlobally(_MergeSamples())
    return (
        counts | "counts" >> beam.Map(_of_kind, "counts"),
        lines | "count lines" >> beam.FlatMap(_repeated_lines),
        sample | "documents" >> beam.FlatMap(_sample_documents),
        scanned.error | "errors" >> beam.Map(_of_kind, "error"),
    ) | "all found" >> beam.Flatten()


def _of_kind(value: Any, kind: str) -> Any:
    return kind, value


def _scan_task(task: Any) -> Any:
    counts = Counter(documents=0, lines=0, bytes=0)
    sample, entries, held = Sample(SAMPLE_BYTES), [np.empty(0, ENTRY)], 0
    try:
        for lines in _documents(task):
            hashes, count = document_hash(lines), document_counts(lines)
            counts.update(count)
            sample.add(hashes, count["bytes"], lines)
            entries.append(line_entries(hashes, lines))
            held += entries[-1].size
            if held >= _HELD_ENTRIES:
                yield from _buckets(np.concatenate(entries))
                entries, held = [np.empty(0, ENTRY)], 0
    except UserError as error:
        yield beam.pvalue.TaggedOutput("error", (task["task"], str(error)))
        return
    yield from _buckets(np.concatenate(entries))
    yield beam.pvalue.TaggedOutput("sample", sample)
    yield task["source"], dict(counts)


def _buckets(entries: np.ndarray) -> Iterator[Any]:
    """ENTRY [lines] by the first bits of the line's hash, as (bucket, bytes)."""
    numbers = (entries["line"] >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    buckets, starts = np.unique(numbers[order], return_index=True)
    parts = np.split(entries[order], starts[1:])
    for bucket, part in zip(buckets.tolist(), parts, strict=False):
        yield beam.pvalue.TaggedOutput("lines", (bucket, part.tobytes()))


def _repeated_lines(bucket: Any) -> Any:
    repeated = repeated_in(np.frombuffer(b"".join(bucket[1]), ENTRY))
    if repeated.size:
        yield "repeated", repeated.tobytes().hex()


def _add_counts(counts: Any) -> Any:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


class _MergeSamples(beam.CombineFn):
    """The sample of a corpus from those of its parts."""

    def create_accumulator(self) -> Sample:
        return Sample(SAMPLE_BYTES)

    def add_input(self, accumulator: Sample, sample: Sample) -> Sample:
        accumulator.merge(sample)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Sample]) -> Sample:
        merged = Sample(SAMPLE_BYTES)
        for sample in accumulators:
            merged.merge(sample)
        return merged

    def extract_output(self, accumulator: Sample) -> Sample:
        return accumulator


def _sample_documents(sample: Any) -> Any:
    for (high, low), size, lines in sample.documents():
        yield "document", (high, low, size, lines)


def tokenize_pipeline(tasks: Any, place: str, modes: list[str], sharding: Sharding) -> Any:
    """The second pass over tasks; gives `counts` of each source, and `shard` for each one written.

    Args:
        tasks: the tasks.
        place: holds `tokenizer/` and `repeated.npy`; shards are written into it.
        modes: "lines" or "split" for each source.
        sharding: where each document goes.
    """
    work = beam.ParDo(_TokenizeTask(place, modes, sharding))
    tokenized = tasks | "tokenize" >> work.with_outputs("counts", main="blocks")
    shards = tokenized.blocks | "group shards" >> beam.GroupByKey()
    counts = tokenized.counts | "add counts" >> beam.CombinePerKey(_add_chunk_counts)
    return (
        shards | "write shards" >> beam.Map(_write_merged, place),
        counts | "values" >> beam.Values() | "counts" >> beam.Map(_of_kind, "counts"),
    ) | "all made" >> beam.Flatten()


class _TokenizeTask(beam.DoFn):
    """Tokenizes a task; yields (shard, (place in the corpus, index, records)) of each chunk."""

    def __init__(self, place: str, modes: list[str], sharding: Sharding) -> None:
        self._place, self._modes, self._sharding = place, modes, sharding

    def setup(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name in names_of(f"{self._place}/tokenizer/*"):
                fetch(name, Path(folder, name.rpartition("/")[2]))
            fetch(f"{self._place}/repeated.npy", Path(folder, "repeated.npy"))
            repeated = np.load(Path(folder, "repeated.npy"), allow_pickle=False)
            tokenizer = load_tokenizer(folder)
        self._chunks = ChunkTokenizer(tokenizer, repeated, self._modes, self._sharding)

    def process(self, task: Any) -> Any:
        """One task's documents as blocks: (shard, ((task, chunk), index bytes, record bytes)).

        What was counted in each chunk goes to the output "counts".
        """
        for chunk in cut_chunks(task["source"], _documents(task), _CHUNK_BYTES, first=0):
            index, records, counts = self._chunks.tokenize(chunk)
            yield beam.pvalue.TaggedOutput("counts", (chunk.source, counts))
            shards, starts = np.unique(index["shard"], return_index=True)
            for shard, rows in zip(shards.tolist(), np.split(index, starts[1:]), strict=False):
                start, end = int(rows["start"][0]), int(rows["start"][-1] + rows["size"][-1])
                block = ((task["task"], chunk.number), rows.tobytes(), records[start:end])
                yield shard, block


def _write_merged(shard_blocks: Any, place: str) -> Any:
    """Writes one shard from its blocks; returns its counts, and where it lies."""
    shard, blocks = shard_blocks
    blocks = sorted(blocks, key=itemgetter(0))
    index = np.concatenate([np.frombuffer(rows, INDEX) for _, rows, _ in blocks])
    index["start"] = np.cumsum(index["size"]) - index["size"]
    data = b"".join(records for _, _, records in blocks)
    kept = first_of_each(index)
    places = zip(index["start"][kept].tolist(), index["size"][kept].tolist(), strict=True)
    records = [data[start : start + size] for start, size in places]
    name = f"{place}/shards/{shard}-{uuid.uuid4().hex}"  # a runner may write one several times
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "shard")
        counts = write_shard(file, index, kept, records)
        send(file, name)
    counts["token_counts"] = counts["token_counts"].tobytes().hex()
    return "shard", {"shard": shard, "file": name, **counts}


def _add_chunk_counts(chunks: Any) -> Any:
    added, *others = chunks
    fit = TokenCounts.from_json(added["token_counts"])
    total = Counter({name: added[name] for name in ("documents", "sentences", "lines_dropped")})
    for chunk in others:
        fit.merge(TokenCounts.from_json(chunk["token_counts"]))
        total.update({name: chunk[name] for name in total})
    return {"source": added["source"], **total, "token_counts": fit.to_json()}
