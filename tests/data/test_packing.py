from itertools import chain, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.packing import max_pairs, pack, ranges

LENGTHS = st.lists(st.integers(1, 64), max_size=60)


def rows_of(lengths, row_length, most):
    order, starts = pack(np.array(lengths, np.int64), row_length, most)
    return [order[a:b].tolist() for a, b in pairwise(starts)]


def first_fit_decreasing(lengths, row_length, most):
    """The textbook form: each item, longest first, goes to the first row that can take it."""
    rows = []
    for length in sorted(lengths, reverse=True):
        for row in rows:
            if sum(row) + length <= row_length and len(row) < most:
                row.append(length)
                break
        else:
            rows.append([length])
    return rows


@given(LENGTHS, st.integers(1, 5))
def test_every_pair_is_in_one_row(lengths, most):
    rows = rows_of(lengths, 64, most)
    assert sorted(chain(*rows)) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 5))
def test_rows_are_those_of_first_fit_decreasing(lengths, most):
    rows = [[lengths[pair] for pair in row] for row in rows_of(lengths, 64, most)]
    assert rows == first_fit_decreasing(lengths, 64, most)


def test_a_full_length_pair_has_a_row_of_its_own():
    assert rows_of([64, 3, 64], 64, 4) == [[2], [0], [1]]


def test_a_row_of_any_length_holds_at_least_one_pair():
    assert [max_pairs(length, packing=True) for length in (8, 16, 128, 512)] == [1, 1, 8, 32]
    assert max_pairs(512, packing=False) == 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9))))
def test_ranges_are_concatenated_aranges(pieces):
    starts, lengths = np.array(pieces, np.int64).reshape(-1, 2).T
    expected = [place for start, length in pieces for place in range(start, start + length)]
    assert ranges(starts, lengths).tolist() == expected
