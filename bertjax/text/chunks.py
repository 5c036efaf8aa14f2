"""One chunk of a corpus, tokenized: what a worker process of `prepare` does.

A chunk is a numbered stretch of a source's documents. Its result is three files:
`NNNNNN.records` (encoded documents one after the other), `NNNNNN.npy` (the index: one row per
document, ordered by shard, then by hash) and `NNNNNN.json` (counts), which is written last and
marks the chunk as done. The files depend on the chunk alone, not on who made them or when.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bertjax.files import write_whole
from bertjax.text.corpus import MAX_SENTENCES
from bertjax.text.duplicates import document_hash, drop_repeated
from bertjax.text.prepare_state import save_array, write_json
from bertjax.text.records import TokenizedDocument, encode_document, id_dtype
from bertjax.text.token_counts import TokenCounts
from bertjax.text.tokenizer import Tokenizer

_SENTENCES_PER_BATCH = 1024
_SHARD_TEXT_BYTES = 128 << 20  # of original text: a shard is merged in memory
INDEX = np.dtype(
    [
        ("shard", "<u4"),
        ("piece", "<u4"),  # of a document that was cut
        ("high", "<u8"),  # document hash
        ("low", "<u8"),
        ("start", "<u8"),  # in the records file
        ("size", "<u8"),
        ("tokens", "<u4"),
        ("sentences", "<u4"),
    ]
)


class Chunk(NamedTuple):
    """A stretch of documents of one source."""

    number: int
    source: int
    documents: list[list[str]]


@dataclass(frozen=True)
class Sharding:
    """Where a document goes, by its hash alone: so other documents do not move it.

    Attributes:
        validation: share of the documents.
        train_shards: number of files of the train split; shard numbers 0, 1, ...
        validation_shards: number of files of the validation split; numbered after those of train.
    """

    validation: float
    train_shards: int
    validation_shards: int

    def shard(self, high: int, low: int) -> int:
        """The shard of a document: `low` picks the split, `high` the shard in it."""
        if low < self.validation * 2.0**64:
            return self.train_shards + (high * self.validation_shards >> 64)
        return high * self.train_shards >> 64


def plan_sharding(text_bytes: int, validation: float) -> Sharding:
    """As many shards as keep each one's text below about 128 MiB."""
    shards = [
        max(1, math.ceil(text_bytes * share / _SHARD_TEXT_BYTES))
        for share in (1 - validation, validation)
    ]
    return Sharding(validation, *shards)


def cut_chunks(
    source: int, documents: Iterator[list[str]], chunk_bytes: int, first: int
) -> Iterator[Chunk]:
    """Groups documents into chunks of at least `chunk_bytes` characters, numbered from `first`."""
    number, collected, size = first, [], 0
    for document in documents:
        collected.append(document)
        size += sum(map(len, document))
        if size >= chunk_bytes:
            yield Chunk(number, source, collected)
            number, collected, size = number + 1, [], 0
    if collected:
        yield Chunk(number, source, collected)


def encode_sentences(sentences: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The token ids of each sentence; a special token written out in one is text."""
    starts = range(0, len(sentences), _SENTENCES_PER_BATCH)
    batches = (sentences[first : first + _SENTENCES_PER_BATCH] for first in starts)
    return [row for batch in batches for row in tokenizer.encode_batch(batch, plain_text=True)]


def tokenized_document(rows: list[list[int]], vocab_size: int) -> TokenizedDocument:
    """The document of its sentences' token ids; a sentence without tokens is left out."""
    lengths = np.array([len(row) for row in rows if row], np.int32)
    ids = np.fromiter(itertools.chain.from_iterable(rows), id_dtype(vocab_size))
    return TokenizedDocument(ids, lengths)


def document_sentences(lines: list[str], mode: str) -> Iterator[list[str]]:
    """Yields a document's sentences, in several parts if there are more than 10,000."""
    sentences = lines
    if mode == "split":
        from bertjax.text.sentences import split_sentences

        sentences = list(split_sentences(lines))
    for start in range(0, len(sentences), MAX_SENTENCES):
        yield sentences[start : start + MAX_SENTENCES]


class TokenizedChunk(NamedTuple):
    """What tokenizing a chunk gives.

    Attributes:
        index: INDEX [documents], ordered by shard, then by hash.
        records: the encoded documents in that order, one after the other.
        counts: chunk, source, documents, sentences, lines_dropped and token_counts.
    """

    index: np.ndarray
    records: bytes
    counts: dict[str, Any]


@dataclass(frozen=True)
class ChunkTokenizer:
    """What every chunk of a corpus needs.

    Attributes:
        tokenizer: cuts sentences into tokens.
        repeated: sorted uint64 hashes of lines to drop.
        modes: "lines" or "split" for each source.
        sharding: where each document goes.
    """

    tokenizer: Tokenizer
    repeated: np.ndarray
    modes: Sequence[str]
    sharding: Sharding

    def tokenize(self, chunk: Chunk) -> TokenizedChunk:
        """Tokenizes a chunk; a document without tokens is left out."""
        rows: list[tuple[int, ...]] = []
        records: list[bytes] = []
        counts = Counter(documents=len(chunk.documents), sentences=0, lines_dropped=0)
        fit = TokenCounts.empty(self.tokenizer.vocab_size)
        for lines in chunk.documents:
            high, low = document_hash(lines)
            kept = drop_repeated(lines, self.repeated)
            counts["lines_dropped"] += len(lines) - len(kept)
            parts = document_sentences(kept, self.modes[chunk.source])
            for piece, sentences in enumerate(parts):
                ids = encode_sentences(sentences, self.tokenizer)
                fit.add(sentences, ids, self.tokenizer.unknown_id)
                document = tokenized_document(ids, self.tokenizer.vocab_size)
                tokens, count = document.token_ids.size, document.sentence_lengths.size
                if not tokens:
                    continue
                counts["sentences"] += count
                record = encode_document(document)
                shard = self.sharding.shard(high, low)
                rows.append((shard, piece, high, low, len(records), len(record), tokens, count))
                records.append(record)
        head = {"chunk": chunk.number, "source": chunk.source}
        index, ordered = _in_order(rows, records)
        return TokenizedChunk(index, ordered, {**head, **counts, "token_counts": fit.to_json()})


def write_chunk(folder: Path, chunk: TokenizedChunk) -> None:
    """Writes a chunk's three files."""
    stem = folder / f"{chunk.counts['chunk']:06d}"
    write_whole(stem.with_suffix(".records"), lambda file: file.write_bytes(chunk.records))
    save_array(stem.with_suffix(".npy"), chunk.index)
    write_json(stem.with_suffix(".json"), chunk.counts)


def _in_order(rows: list[tuple[int, ...]], records: list[bytes]) -> tuple[np.ndarray, bytes]:
    """The index and the records by shard, then by hash; `start` of a row comes as its number."""
    index = np.array(rows, INDEX)
    index = index[np.lexsort((index["piece"], index["low"], index["high"], index["shard"]))]
    ordered = [records[row] for row in index["start"].tolist()]
    index["start"] = np.cumsum(index["size"]) - index["size"]
    return index, b"".join(ordered)
