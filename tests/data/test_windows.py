from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.config import DataConfig
from bertjax.data import windows as windows_module
from bertjax.data.windows import count_windows, draw_window, epoch_stream, rows_per_window
from bertjax.errors import UserError
from tests.data.corpora import FIRST_TOKEN, numbered_documents, random_corpus

DATA = DataConfig(length=64)


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(windows_module, "WINDOW_TOKENS", 4000)


def all_windows(documents, data, rows=None, epoch=0):
    count = count_windows(documents.token_counts, data.pairs)
    stream = epoch_stream(documents.token_counts, count, 1, epoch)
    return [draw_window(documents, stream, number, data, rows) for number in range(count)]


@pytest.mark.usefixtures("small_windows")
def test_windows_share_out_every_token_once():
    documents = random_corpus(100, seed=0)
    windows = all_windows(documents, DATA)
    assert len(windows) > 5
    tokens = np.sort(np.concatenate([window.tokens for window in windows]))
    total = int(documents.token_counts.sum())
    np.testing.assert_array_equal(tokens, np.arange(FIRST_TOKEN, FIRST_TOKEN + total))


@pytest.mark.usefixtures("small_windows")
def test_a_document_is_cut_between_windows_only_where_a_sentence_begins():
    documents = random_corpus(100, seed=0)
    ends = [np.cumsum(d.sentence_lengths) + d.token_ids[0] for d in documents.documents]
    sentence_ends = set(np.concatenate(ends).tolist())
    for window in all_windows(documents, DATA):
        assert window.tokens[-1] + 1 in sentence_ends


CORPORA = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=10), min_size=2, max_size=20)


@given(CORPORA, st.integers(1, 50), st.integers(0, 5))
@settings(max_examples=50)
def test_every_window_of_any_corpus_has_a_partner_for_next_sentence_pairs(corpus, size, epoch):
    documents = numbered_documents(corpus)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_module, "WINDOW_TOKENS", size)
        for window in all_windows(documents, DATA, rows=3, epoch=epoch):
            assert len(window.starts) == 4
            assert window.pairs.lengths.max() <= 64


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.usefixtures("small_windows")
def test_every_window_has_the_number_of_rows_asked_for(packing):
    documents, data = random_corpus(100, seed=0), replace(DATA, packing=packing)
    count = count_windows(documents.token_counts, "nsp")
    streams = partial(epoch_stream, documents.token_counts, count, 1)
    rows = rows_per_window(documents, count, data, streams)
    windows = all_windows(documents, data, rows)
    assert {len(window.starts) - 1 for window in windows} == {rows}
    assert any(window.redrawn for window in windows)
    assert any(window.drawn + window.redrawn > len(window.pairs.labels) for window in windows)


def test_too_many_rows_are_drawn_from_the_same_documents_again():
    documents = numbered_documents([[5, 5], [5, 5]])
    (window,) = all_windows(documents, DATA, rows=100)
    assert len(window.starts) == 101
    assert window.redrawn > 99


def told(window):
    """Every pair of a window: where its texts begin in the corpus, how long they are, its label."""
    pairs = window.pairs
    a, b = window.tokens[pairs.a_starts], window.tokens[pairs.b_starts]
    return list(zip(a, pairs.a_lengths, b, pairs.b_lengths, pairs.labels, strict=True))


def test_rows_that_are_drawn_again_are_other_rows():
    documents = random_corpus(60, seed=0)
    (window,) = all_windows(documents, DATA)
    (twice,) = all_windows(documents, DATA, rows=2 * (len(window.starts) - 1))
    assert set(told(window)) < set(told(twice))
    assert len(set(told(twice))) > 1.8 * len(told(window))


@pytest.mark.usefixtures("small_windows")
def test_windows_of_like_documents_draw_differently():
    windows = all_windows(numbered_documents([[10] * 20] * 100), DATA)
    drawn = [
        sorted(zip(window.pairs.a_lengths, window.pairs.b_lengths, strict=True))
        for window in windows
        if len(window.tokens) == len(windows[0].tokens)
    ]
    assert len(drawn) > 2
    assert all(one != other for one, other in pairwise(drawn))


def test_rows_that_are_left_out_are_left_out_at_random():
    documents = random_corpus(200, seed=0)
    (window,) = all_windows(documents, DATA)
    (half,) = all_windows(documents, DATA, rows=(len(window.starts) - 1) // 2)
    short, of_all = (np.mean(each.pairs.lengths < 64) for each in (half, window))
    assert of_all > 0.1
    assert abs(short - of_all) < 0.05


def test_epochs_differ_in_order_and_pairs():
    documents = random_corpus(20, seed=0)
    first, second = (all_windows(documents, DATA, epoch=epoch)[0] for epoch in (0, 1))
    assert first.tokens.tolist() != second.tokens.tolist()
    first_pairs = set(zip(first.tokens[first.pairs.a_starts], first.pairs.a_lengths, strict=True))
    second_pairs = set(
        zip(second.tokens[second.pairs.a_starts], second.pairs.a_lengths, strict=True)
    )
    assert len(first_pairs & second_pairs) < 0.5 * len(first_pairs)


def test_empty_documents_and_sentences_are_passed_over():
    documents = numbered_documents([[], [4, 0, 4], [0], [6]])
    (window,) = all_windows(documents, DATA)
    assert sorted(window.tokens.tolist()) == list(range(FIRST_TOKEN, FIRST_TOKEN + 14))
    assert (window.pairs.a_lengths > 0).all()


@pytest.mark.parametrize(("corpus", "pairs"), [([[5, 5]], "nsp"), ([[5], []], "nsp"), ([], "none")])
def test_too_few_documents_are_refused(corpus, pairs):
    with pytest.raises(UserError, match=f"data.pairs={pairs} needs at least"):
        count_windows(numbered_documents(corpus).token_counts, pairs)


@pytest.mark.parametrize(("length", "share"), [(128, 0.975), (512, 0.995)])
def test_packed_rows_are_nearly_full(length, share):
    documents = random_corpus(1000, seed=2, mean_sentences=120)
    (*_, window) = all_windows(documents, DataConfig(length=length))
    rows = len(window.starts) - 1
    assert window.pairs.lengths.sum() / (rows * length) >= share
