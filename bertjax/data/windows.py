"""An epoch as a stream of documents, cut into windows that give equal numbers of rows.

An epoch takes the documents in a shuffled order and cuts the stream into windows of about two
million tokens. Every window gives the same number of rows, so which window and which row a
training step needs is arithmetic: there is no plan to make, store or restore. A window that draws
more rows drops some at random; one that draws fewer draws its documents a second time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bertjax.config import DataConfig
from bertjax.data.packing import max_pairs, pack, ranges
from bertjax.data.pairs import Pairs, Sentences, draw_pairs
from bertjax.data.random_bits import fold_in, permutation
from bertjax.errors import UserError
from bertjax.text.records import TokenizedDocument

WINDOW_TOKENS = 1 << 21  # half of it leaves rows at length 512 up to 1% emptier
_CALIBRATION_WINDOWS = 4
_ORDER, _PAIRS, _ROWS = range(3)  # what a key is used for


class Documents(Protocol):
    """Tokenized documents by number; `bertjax.data.shards.open_split` gives them."""

    token_counts: np.ndarray  # uint32 [documents]

    def read(self, indices: Sequence[int]) -> list[TokenizedDocument]: ...


@dataclass(frozen=True)
class Stream:
    """One epoch: the order of the documents and where its windows begin.

    Attributes:
        order: uint32 [documents].
        places: int64 [windows + 1], the place in `order` of the document at each border.
        offsets: int64 [windows + 1], tokens of that document before the border.
        key: what everything drawn in this epoch is keyed by.
    """

    order: np.ndarray
    places: np.ndarray
    offsets: np.ndarray
    key: int


@dataclass(frozen=True)
class Window:
    """Rows that are ready to be filled.

    Attributes:
        tokens: uint16 or uint32, the token ids of all its documents.
        pairs: the pairs of all rows, row by row.
        starts: int64 [rows + 1], where each row begins in `pairs`.
        drawn: pairs that the first drawing gave, those included that found no row.
        redrawn: pairs in the rows that a further drawing gave.
    """

    tokens: np.ndarray
    pairs: Pairs
    starts: np.ndarray
    drawn: int
    redrawn: int


def count_windows(token_counts: np.ndarray, pairs: str) -> int:
    """The number of windows of an epoch.

    A window is at least three times the largest document: its borders move by half a document at
    most, so it always holds two of them.

    Raises:
        UserError: too few documents for this kind of pairs.
    """
    needed = 2 if pairs == "nsp" else 1
    if (found := np.count_nonzero(token_counts)) < needed:
        raise UserError(
            f"data.pairs={pairs} needs at least {needed} document(s) and found {found}: add text "
            "or separate the documents (a blank line in a text file)"
        )
    size = max(WINDOW_TOKENS, 3 * int(token_counts.max()))
    return max(int(token_counts.sum(dtype=np.int64)) // size, 1)


def epoch_stream(token_counts: np.ndarray, windows: int, seed: int, epoch: int) -> Stream:
    """Shuffles the documents of an epoch and finds its windows' borders."""
    key = fold_in(seed, epoch)
    order = permutation(fold_in(key, _ORDER), len(token_counts)).astype(np.uint32)
    ends = np.cumsum(token_counts[order], dtype=np.int64)
    borders = np.arange(windows + 1) * int(ends[-1]) // windows
    places = np.searchsorted(ends, borders, side="right")
    before = np.where(places > 0, ends[places - 1], 0)
    return Stream(order, places, borders - before, key)


def draw_window(
    documents: Documents, stream: Stream, number: int, data: DataConfig, rows: int | None
) -> Window:
    """Reads a window's documents and draws and packs their pairs.

    Args:
        documents: the split.
        stream: the epoch.
        number: the window within the epoch.
        data: settings.
        rows: how many rows the window must have; None takes what one drawing gives.
    """
    tokens, sentences = _read(documents, stream, number)
    key = fold_in(stream.key, _PAIRS, number)
    pairs, starts, drawn = _draw_rows(sentences, data, fold_in(key, 0), rows)
    kept = len(pairs.labels)
    attempt = 1
    while rows is not None and len(starts) <= rows:
        missing = rows + 1 - len(starts)
        more, more_starts, _ = _draw_rows(sentences, data, fold_in(key, attempt), missing)
        pairs = Pairs.concatenate([pairs, more])
        starts = np.concatenate([starts, starts[-1] + more_starts[1:]])
        attempt += 1
    redrawn = len(pairs.labels) - kept
    order = permutation(fold_in(stream.key, _ROWS, number), len(starts) - 1)
    pairs, starts = _take_rows(pairs, starts, order)
    return Window(tokens, pairs, starts, drawn, redrawn)


def rows_per_window(
    documents: Documents, windows: int, data: DataConfig, stream: Callable[[int], Stream]
) -> int:
    """The rows that a window gives on average, from four windows spread over the first epoch.

    Fewer windows are taken from as many epochs as it needs; `stream` gives an epoch's stream.
    """
    stride = max(windows // _CALIBRATION_WINDOWS, 1)
    rows = 0
    for index in range(_CALIBRATION_WINDOWS):
        epoch, number = divmod(index * stride, windows)
        rows += len(draw_window(documents, stream(epoch), number, data, None).starts) - 1
    return max(rows // _CALIBRATION_WINDOWS, 1)


def _read(documents: Documents, stream: Stream, number: int) -> tuple[np.ndarray, Sentences]:
    """The window's tokens and sentences; border documents are cut where a sentence begins."""
    first, last = stream.places[number : number + 2]
    cut_first, cut_last = stream.offsets[number : number + 2]
    read = documents.read(stream.order[first : last + (cut_last > 0)].tolist())
    tokens = [document.token_ids for document in read]
    lengths = [document.sentence_lengths for document in read]
    if cut_last:
        kept = _nearest_sentence(lengths[-1], cut_last)
        lengths[-1] = lengths[-1][:kept]
        tokens[-1] = tokens[-1][: lengths[-1].sum()]
    if cut_first:
        cut = _nearest_sentence(lengths[0], cut_first)
        tokens[0] = tokens[0][lengths[0][:cut].sum() :]
        lengths[0] = lengths[0][cut:]
    lengths = [kept for part in lengths if len(kept := part[part > 0])]
    sentences = np.concatenate([[0], *lengths]).cumsum(dtype=np.int64)
    starts = np.cumsum([0, *map(len, lengths)], dtype=np.int64)
    return np.concatenate(tokens), Sentences(sentences, starts)


def _nearest_sentence(lengths: np.ndarray, offset: int) -> int:
    """The number of whole sentences whose end lies nearest to `offset` tokens."""
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    return int(np.argmin(abs(bounds - offset)))


def _draw_rows(
    sentences: Sentences, data: DataConfig, key: int, most: int | None
) -> tuple[Pairs, np.ndarray, int]:
    """One pass over the window: at most so many rows, at random, and how many pairs it drew."""
    probability = data.short_sequence_probability
    pairs = draw_pairs(sentences, data.pairs, data.length, probability, fold_in(key, _PAIRS))
    starts = np.arange(len(pairs.labels) + 1)
    drawn = len(pairs.labels)
    if data.packing:
        order, starts = pack(pairs.lengths, data.length, max_pairs(data.length, packing=True))
        pairs = pairs.take(order)
    rows = permutation(fold_in(key, _ROWS), len(starts) - 1)[:most]
    return *_take_rows(pairs, starts, rows), drawn


def _take_rows(pairs: Pairs, starts: np.ndarray, rows: np.ndarray) -> tuple[Pairs, np.ndarray]:
    counts = np.diff(starts)[rows]
    return pairs.take(ranges(starts[rows], counts)), np.concatenate([[0], np.cumsum(counts)])
