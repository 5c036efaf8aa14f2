"""Several short pairs in one row."""

import numpy as np


def max_pairs(length: int, packing: bool) -> int:
    """The most pairs that a row of `length` positions holds, 1 without packing; a static shape."""
    return max(length // 16, 1) if packing else 1


def pack(lengths: np.ndarray, row_length: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorts pairs into rows: first-fit decreasing (Johnson 1973), one row at a time.

    A row begins with the longest pair left and takes, again and again, the longest one that still
    fits, which gives the same rows. The set of lengths left is one integer, bit by bit, so finding
    that pair is two operations.

    Args:
        lengths: integers [pairs], each at most `row_length`.
        row_length: positions of a row.
        most: the most pairs in a row.

    Returns:
        order: int64 [pairs], the pairs row by row.
        starts: int64 [rows + 1], where each row begins in `order`.
    """
    by_length = np.argsort(lengths, kind="stable")
    ends = np.cumsum(np.bincount(lengths, minlength=row_length + 1)).tolist()
    firsts = [0, *ends[:-1]]
    pool = by_length.tolist()
    up_to = [(2 << gap) - 1 for gap in range(row_length + 1)]
    left = sum(1 << size for size in range(row_length + 1) if ends[size] > firsts[size])
    order: list[int] = []
    starts = [0]
    while left:
        gap = row_length
        for _ in range(most):
            fitting = left & up_to[gap]
            if not fitting:
                break
            size = fitting.bit_length() - 1
            ends[size] -= 1
            order.append(pool[ends[size]])
            if ends[size] == firsts[size]:
                left ^= 1 << size
            gap -= size
        starts.append(len(order))
    return np.array(order, np.int64), np.array(starts, np.int64)


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`start, start + 1, ...` of every range, one after the other: int64 [sum of lengths]."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + lengths, lengths)
