"""The search for the most rows that fit, on a memory that can be told beforehand."""

import pytest

from bertjax.train.largest_batch import search


@pytest.mark.parametrize("start", [1, 8, 500])
@pytest.mark.parametrize("most", [1, 3, 40, 400])
def test_the_most_rows_are_found_to_a_sixteenth(start, most):
    used = lambda rows: 1000 + 10 * rows + rows**2 // 400  # noqa: E731
    found = search(used, start, used(most))
    assert most - max(most // 16, 1) <= found <= most


def test_no_rows_are_found_where_none_fit():
    assert search(lambda rows: 1000 + rows, 1, 10) == 0
