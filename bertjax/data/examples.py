"""Labelled examples to batches, several to a row as in pretraining."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bertjax.data.packing import pack

Batch = dict[str, np.ndarray]
_SHORTEST = 8  # positions per example that a row has room for: bounds the examples of a row


class Example(NamedTuple):
    """One input of the encoder with what should come out.

    Attributes:
        token_ids, segment_ids: int32 [tokens], special tokens included.
        targets: by name, an array [tokens] with a value for every position, or [] with one for
            the example; the same names, shapes and dtypes in all examples that are batched.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    targets: Mapping[str, np.ndarray]


def most_examples(row_length: int) -> int:
    """The most examples in a row; a static shape."""
    return max(row_length // _SHORTEST, 1)


def row_length(lengths: np.ndarray, longest: int) -> int:
    """The shortest multiple of 32, at most `longest`, that holds examples of these lengths."""
    return min(-(-max(int(lengths.max(initial=1)), 1) // 32) * 32, longest)


def pack_examples(
    examples: Sequence[Example], length: int, pad_id: int, rows_multiple: int = 1
) -> Batch:
    """All examples in one batch, the number of its rows rounded up to a multiple.

    Returns:
        `token_ids`, `segment_ids`, `pair_ids` (the row's examples are 1, 2, ...; 0 is padding),
        int32 [rows, length]; `example_ids` int32 [rows, examples], the place in `examples` of each,
        -1 where a row has no more; and every target, [rows, length] or [rows, examples], 0 where
        there is none.
    """
    lengths = np.array([len(example.token_ids) for example in examples])
    order, starts = pack(lengths, length, most_examples(length))
    rows = -(-(len(starts) - 1) // rows_multiple) * rows_multiple
    batch = _empty_batch(examples[0], rows, length, pad_id)
    for row, (first, end) in enumerate(pairwise(starts)):
        offset = 0
        for slot, index in enumerate(order[first:end]):
            _place(batch, examples[index], row, slot, offset)
            batch["example_ids"][row, slot] = index
            offset += int(lengths[index])
    return batch


def unpack(outputs: np.ndarray, batch: Batch, count: int) -> list[np.ndarray]:
    """What a program made of a packed batch, by example.

    Args:
        outputs: [rows, length, ...] or [rows, examples, ...].
        batch: from `pack_examples`.
        count: the number of its examples.

    Returns:
        Per example, [tokens, ...] or [...].
    """
    found: list[np.ndarray] = [outputs[:0]] * count
    by_position = outputs.shape[1] == batch["pair_ids"].shape[1]
    for row, slot in np.argwhere(batch["example_ids"] >= 0):
        index = batch["example_ids"][row, slot]
        own = batch["pair_ids"][row] == slot + 1
        found[index] = outputs[row, own] if by_position else outputs[row, slot]
    return found


def _empty_batch(like: Example, rows: int, length: int, pad_id: int) -> Batch:
    slots = most_examples(length)
    batch = {
        "token_ids": np.full((rows, length), pad_id, np.int32),
        "segment_ids": np.zeros((rows, length), np.int32),
        "pair_ids": np.zeros((rows, length), np.int32),
        "example_ids": np.full((rows, slots), -1, np.int32),
    }
    for name, target in like.targets.items():
        batch[name] = np.zeros((rows, length if target.ndim else slots), target.dtype)
    return batch


def _place(batch: Batch, example: Example, row: int, slot: int, offset: int) -> None:
    """Writes an example into its row, from position `offset` on."""
    span = slice(offset, offset + len(example.token_ids))
    batch["token_ids"][row, span] = example.token_ids
    batch["segment_ids"][row, span] = example.segment_ids
    batch["pair_ids"][row, span] = slot + 1
    for name, target in example.targets.items():
        batch[name][row, span if target.ndim else slot] = target
