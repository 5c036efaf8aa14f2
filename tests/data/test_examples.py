import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.examples import (
    Example,
    most_examples,
    pack_examples,
    row_length,
    unpack,
)


def example(number: int, tokens: int) -> Example:
    """Its tokens count up from 1000 times its number."""
    ids = 1000 * (number + 1) + np.arange(tokens, dtype=np.int32)
    targets = {
        "label": np.array(number, np.int32),
        "tag": (ids % 7).astype(np.float32),
    }
    return Example(ids, (np.arange(tokens) % 2).astype(np.int32), targets)


lengths_of_examples = st.lists(st.integers(1, 64), min_size=1, max_size=40)


@given(lengths_of_examples, st.integers(1, 4))
def test_every_example_is_found_again_in_its_row(lengths, rows_multiple):
    examples = [example(number, tokens) for number, tokens in enumerate(lengths)]
    batch = pack_examples(examples, 64, 0, rows_multiple)
    assert len(batch["token_ids"]) % rows_multiple == 0
    for name in ("token_ids", "segment_ids", "tag"):
        for own, found in zip(examples, unpack(batch[name], batch, len(examples)), strict=True):
            expected = own.targets["tag"] if name == "tag" else getattr(own, name)
            np.testing.assert_array_equal(found, expected)
    labels = unpack(batch["label"], batch, len(examples))
    assert [int(label) for label in labels] == list(range(len(examples)))


@given(lengths_of_examples)
def test_nothing_but_examples_is_marked_as_one(lengths):
    examples = [example(number, tokens) for number, tokens in enumerate(lengths)]
    batch = pack_examples(examples, 64, 9, 3)
    assert np.count_nonzero(batch["pair_ids"]) == sum(lengths)
    padding = batch["pair_ids"] == 0
    assert (batch["token_ids"][padding] == 9).all()
    assert (batch["tag"][padding] == 0).all()
    placed = batch["example_ids"][batch["example_ids"] >= 0]
    assert sorted(placed) == list(range(len(examples)))
    assert batch["example_ids"].shape[1] == most_examples(64)


@pytest.mark.parametrize(("longest", "expected"), [(1, 32), (32, 32), (33, 64), (100, 100)])
def test_rows_are_as_long_as_the_longest_example_rounded_up(longest, expected):
    assert row_length(np.array([3, longest]), 100) == expected
