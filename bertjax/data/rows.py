"""Rows of a window as the arrays of a batch."""

from typing import Protocol

import numpy as np

from bertjax.data.packing import ranges
from bertjax.data.windows import Window

Batch = dict[str, np.ndarray]


class SpecialIds(Protocol):
    """The ids that a row is put together with; every tokenizer has them."""

    @property
    def pad_id(self) -> int: ...
    @property
    def classifier_id(self) -> int: ...
    @property
    def separator_id(self) -> int: ...


def empty_batch(rows: int, length: int, pairs_per_row: int, special_ids: SpecialIds) -> Batch:
    """Rows of padding alone, int32.

    Returns:
        `token_ids`, `segment_ids` (0 = A, 1 = B) and `pair_ids` (1, 2, ...; 0 = padding), each
        [rows, length], and `next_sentence_labels` [rows, pairs_per_row] (-1 = absent).
    """
    return {
        "token_ids": np.full((rows, length), special_ids.pad_id, np.int32),
        "segment_ids": np.zeros((rows, length), np.int32),
        "pair_ids": np.zeros((rows, length), np.int32),
        "next_sentence_labels": np.full((rows, pairs_per_row), -1, np.int32),
    }


def fill_rows(batch: Batch, window: Window, rows: np.ndarray, special_ids: SpecialIds) -> None:
    """Writes rows of a window into an empty batch of as many rows.

    Each pair is `[CLS] A [SEP] B [SEP]` (Devlin et al. 2018, section 3), or `[CLS] A [SEP]` where
    there is no B; the pairs of a row follow one another without a gap.
    """
    counts = window.starts[rows + 1] - window.starts[rows]
    pairs = window.pairs.take(ranges(window.starts[rows], counts))
    row_of_pair = np.repeat(np.arange(len(rows)), counts)
    place_in_row = ranges(np.zeros_like(counts), counts)

    length = batch["token_ids"].shape[1]
    lengths = pairs.lengths
    before = np.cumsum(lengths) - lengths
    row_starts = before[np.cumsum(counts) - counts]
    starts = row_of_pair * length + before - row_starts[row_of_pair]  # in the flattened batch
    a_starts, b_starts = starts + 1, starts + pairs.a_lengths + 2
    has_b = pairs.b_lengths > 0

    token_ids = batch["token_ids"].reshape(-1)
    token_ids[starts] = special_ids.classifier_id
    token_ids[b_starts - 1] = special_ids.separator_id
    token_ids[starts + lengths - 1] = special_ids.separator_id
    a_tokens = window.tokens[ranges(pairs.a_starts, pairs.a_lengths)]
    token_ids[ranges(a_starts, pairs.a_lengths)] = a_tokens
    b_tokens = window.tokens[ranges(pairs.b_starts, pairs.b_lengths)]
    token_ids[ranges(b_starts, pairs.b_lengths)] = b_tokens
    batch["segment_ids"].reshape(-1)[ranges(b_starts, pairs.b_lengths + has_b)] = 1
    pair_ids = batch["pair_ids"].reshape(-1)
    pair_ids[ranges(starts, lengths)] = np.repeat(place_in_row + 1, lengths)
    batch["next_sentence_labels"][row_of_pair, place_in_row] = pairs.labels
