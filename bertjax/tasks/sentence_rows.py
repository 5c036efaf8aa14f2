"""Sentences to batches of token ids, several sentences to a row as in pretraining.

Rows of a few lengths are filled from a window of sentences sorted by length, so that hardly
anything is computed on padding (2% of English Wikipedia) and few shapes are compiled: cutting the
same sentences into batches of equal length would take four times as many shapes and leave five
times the padding.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import jax
import numpy as np

from bertjax.data.packing import pack, ranges
from bertjax.text.tokenizer import Tokenizer

_WINDOW_SENTENCES = 8192
_CHUNK_SENTENCES, _CHUNK_CHARACTERS = 1024, 1 << 20  # tokenized at once: bounds the memory
_SHORTEST_ROW = 64  # shorter rows take as long per token, and more of them


@dataclass(frozen=True)
class Window:
    """Consecutive sentences, special tokens included.

    Attributes:
        token_ids: int32 [tokens], sentence after sentence.
        lengths: int64 [sentences].
        cut: how many of them were longer than allowed.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    cut: int


@dataclass(frozen=True)
class SentenceRows:
    """One batch.

    Attributes:
        token_ids, pair_ids: int32 [rows, length]; a row's sentences have pair ids 1, 2, ...
        sentences: int64 [count], which of the window's sentences are in here.
        rows, slots: int64 [count], where each of them is: `slots` counts a row's from 0.
    """

    token_ids: np.ndarray
    pair_ids: np.ndarray
    sentences: np.ndarray
    rows: np.ndarray
    slots: np.ndarray


def best_batch_tokens() -> int:
    """Positions of a batch whose forward pass is computed at once: more are no faster."""
    return 2048 if jax.default_backend() == "cpu" else 32_768


def row_lengths(longest: int) -> list[int]:
    """64 positions and powers of two times as many, descending; the first holds the longest."""
    lengths = [_SHORTEST_ROW]
    while lengths[0] < longest:
        lengths.insert(0, 2 * lengths[0])
    return lengths


def most_sentences(row_length: int) -> int:
    """The most sentences in a row; a static shape."""
    return row_length // 4


def read_windows(texts: Iterable[str], tokenizer: Tokenizer, longest: int) -> Iterator[Window]:
    """Tokenizes a stream of texts of any length in bounded memory.

    Args:
        texts: one sentence each; an empty one is `[CLS] [SEP]`.
        tokenizer: the model's.
        longest: tokens of a sentence, special ones included; what is beyond is cut off.
    """
    parts: list[Window] = []
    for chunk in _chunks(texts):
        parts.append(_tokenize(chunk, tokenizer, longest))
        if sum(len(part.lengths) for part in parts) >= _WINDOW_SENTENCES:
            yield _joined(parts)
            parts = []
    if parts:
        yield _joined(parts)


def pack_sentences(window: Window, pad_id: int, batch_tokens: int) -> Iterator[SentenceRows]:
    """The window's sentences in batches of about `batch_tokens` positions, the longest first.

    A batch has as many rows as the others of its row length; where one batch holds them all, a
    power of two.
    """
    left = np.arange(len(window.lengths))
    for row_length, shorter in pairwise([*_worthwhile(window.lengths, batch_tokens), 0]):
        order, starts = pack(window.lengths[left], row_length, most_sentences(row_length))
        firsts = window.lengths[left[order[starts[:-1]]]]  # the longest of each row, descending
        rows = int(np.count_nonzero(firsts > shorter))
        packed, left = np.split(left[order], [starts[rows]])
        full = max(batch_tokens // row_length, 1)
        batch_rows = full if rows >= full else 1 << max(rows - 1, 0).bit_length()
        for first in range(0, rows, batch_rows):
            ends = starts[first : min(first + batch_rows, rows) + 1]
            sentences = packed[ends[0] : ends[-1]]
            yield _filled(window, sentences, np.diff(ends), (batch_rows, row_length), pad_id)


def _worthwhile(lengths: np.ndarray, batch_tokens: int) -> list[int]:
    """The `row_lengths` to use for sentences of these lengths.

    A smaller one than the first is worth compiling for if the sentences that fit no row still
    smaller have the tokens of a batch.
    """
    found = row_lengths(lengths.max())
    bounds = np.array([0, *reversed(found)])
    tokens, _ = np.histogram(lengths, bounds + 1, weights=lengths)  # of the sentences in between
    worth = tokens[::-1] >= batch_tokens
    worth[0] = True
    return [length for length, kept in zip(found, worth, strict=True) if kept]


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if len(chunk) == _CHUNK_SENTENCES or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _tokenize(texts: list[str], tokenizer: Tokenizer, longest: int) -> Window:
    most = longest - 2
    encoded = tokenizer.encode_batch(texts)
    head, tail = [tokenizer.classifier_id], [tokenizer.separator_id]
    flat = chain.from_iterable(chain(head, ids[:most], tail) for ids in encoded)
    lengths = np.array([len(ids) for ids in encoded], np.int64)
    cut = int(np.count_nonzero(lengths > most))
    return Window(np.fromiter(flat, np.int32), np.minimum(lengths, most) + 2, cut)


def _joined(parts: list[Window]) -> Window:
    return Window(
        np.concatenate([part.token_ids for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        sum(part.cut for part in parts),
    )


def _filled(
    window: Window, sentences: np.ndarray, counts: np.ndarray, shape: tuple[int, int], pad_id: int
) -> SentenceRows:
    """A batch of `shape` [rows, length] with `counts` sentences in each of the first rows."""
    lengths = window.lengths[sentences]
    rows = np.repeat(np.arange(len(counts)), counts)
    slots = ranges(np.zeros_like(counts), counts)
    before = np.cumsum(lengths) - lengths  # tokens of the batch in front of each sentence
    in_row = before - np.repeat(before[np.cumsum(counts) - counts], counts)
    targets = ranges(rows * shape[1] + in_row, lengths)
    starts = np.cumsum(window.lengths) - window.lengths
    token_ids = np.full(shape, pad_id, np.int32)
    pair_ids = np.zeros(shape, np.int32)
    token_ids.flat[targets] = window.token_ids[ranges(starts[sentences], lengths)]
    pair_ids.flat[targets] = np.repeat(slots + 1, lengths)
    return SentenceRows(token_ids, pair_ids, sentences, rows, slots)
