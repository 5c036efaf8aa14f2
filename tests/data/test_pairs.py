"""Pairs against a plain transcription of the procedure, token lists and all."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.data import pairs as pairs_module
from bertjax.data.pairs import Sentences, draw_pairs
from bertjax.data.random_bits import uniform

CORPORA = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=2, max_size=8)
KEYS = st.integers(0, 2**64 - 1)


def sentences_of(corpus):
    tokens = np.cumsum([0, *(length for document in corpus for length in document)])
    return Sentences(tokens, np.cumsum([0, *map(len, corpus)]))


def drawn_in_turn(kind, sentences, targets, draws):
    """The pairs of one pass: sentences of A, sentences of B, label."""
    procedures = {
        "nsp": pairs_module._next_sentence,
        "sop": pairs_module._sentence_order,
        "none": pairs_module._full_sentences,
    }
    candidates = pairs_module._candidates(sentences, targets, draws)
    *columns, _ = pairs_module._in_turn(procedures[kind](candidates))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def document_of(sentences, token):
    sentence = np.searchsorted(sentences.sentence_starts, token, side="right") - 1
    return np.searchsorted(sentences.document_starts, sentence, side="right") - 1


def reference_pairs(corpus, targets, decisions):
    """Pairs before truncation, as lists of tokens (places in the corpus), built sentence by
    sentence. `decisions[sentence]` gives four numbers in [0, 1) for the chunk that begins there.
    """
    numbers, documents = iter(range(10**9)), []
    for lengths in corpus:
        documents.append([[next(numbers) for _ in range(length)] for length in lengths])
    before = np.cumsum([0, *map(len, documents)])
    for number, (document, target) in enumerate(zip(documents, targets, strict=True)):
        chunk, i = [], 0
        while i < len(document):
            chunk.append(document[i])
            if i == len(document) - 1 or sum(map(len, chunk)) >= target:
                first = i - len(chunk) + 1
                cut, is_random, other, start = decisions[before[number] + first]
                a_end = 1 + int(cut * (len(chunk) - 1))
                a, b = list(chain(*chunk[:a_end])), []
                label = int(len(chunk) == 1 or is_random < 0.5)
                if label:
                    others = [d for d in range(len(documents)) if d != number]
                    partner = documents[others[int(other * len(others))]]
                    for sentence in partner[int(start * len(partner)) :]:
                        b += sentence
                        if len(b) >= target - len(a):
                            break
                    i -= len(chunk) - a_end  # unused sentences are put back
                else:
                    b = list(chain(*chunk[a_end:]))
                yield a, b, label
                chunk = []
            i += 1


def reference_truncated_lengths(a, b, limit):
    while a + b > limit:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


@given(CORPORA, KEYS, st.integers(5, 60))
def test_next_sentence_pairs_are_those_of_the_published_procedure(corpus, key, target):
    sentences = sentences_of(corpus)
    draws = uniform(key, 4 * (len(sentences.sentence_starts) - 1))
    targets = [max(target - document, 2) for document in range(len(corpus))]
    drawn = drawn_in_turn("nsp", sentences, np.array(targets), draws)
    bounds = sentences.sentence_starts.tolist()
    found = [
        (list(range(bounds[a], bounds[b])), list(range(bounds[c], bounds[d])), label)
        for a, b, c, d, label in drawn
    ]
    assert found == list(reference_pairs(corpus, targets, draws.reshape(-1, 4)))


@given(CORPORA, KEYS, st.integers(8, 40))
def test_truncation_takes_from_the_longer_segment(corpus, key, length):
    sentences = sentences_of(corpus)
    whole = draw_pairs(sentences, "nsp", 10_000, 0.0, key)
    cut = pairs_module._truncate(whole, length - 3, key)
    for a, b, found_a, found_b in zip(
        whole.a_lengths, whole.b_lengths, cut.a_lengths, cut.b_lengths, strict=True
    ):
        assert (found_a, found_b) == reference_truncated_lengths(a, b, length - 3)
    for kind in "a", "b":
        start, size = getattr(whole, f"{kind}_starts"), getattr(whole, f"{kind}_lengths")
        cut_start, cut_size = getattr(cut, f"{kind}_starts"), getattr(cut, f"{kind}_lengths")
        assert (cut_start >= start).all()
        assert (cut_start + cut_size <= start + size).all()


def test_truncation_takes_either_end_with_equal_odds():
    many = np.full(5000, 100)
    whole = pairs_module.Pairs(0 * many, many, 1000 + 0 * many, many // 2, 0 * many)
    cut = pairs_module._truncate(whole, 110, 1)  # A loses 40 tokens
    assert (cut.a_lengths == 60).all()
    assert (cut.b_lengths == 50).all()
    assert abs(cut.a_starts.mean() - 20) < 4 * 10**0.5 / 5000**0.5
    assert abs(cut.a_starts.var() / 10 - 1) < 0.1


@pytest.mark.parametrize("kind", ["nsp", "sop", "none"])
@given(corpus=CORPORA, key=KEYS, length=st.integers(16, 64))
@settings(max_examples=50)
def test_no_pair_is_longer_than_a_row_and_no_segment_is_empty(kind, corpus, key, length):
    pairs = draw_pairs(sentences_of(corpus), kind, length, 0.1, key)
    assert (pairs.lengths <= length).all()
    assert (pairs.a_lengths > 0).all()
    assert ((pairs.b_lengths > 0) == (pairs.labels >= 0)).all()


@pytest.mark.parametrize("kind", ["nsp", "sop", "none"])
@given(corpus=CORPORA, key=KEYS, length=st.integers(100, 300))
@settings(max_examples=50)
def test_every_sentence_is_chosen_once(kind, corpus, key, length):
    sentences = sentences_of(corpus)
    count = len(sentences.sentence_starts) - 1
    targets, draws = np.full(len(corpus), length), uniform(key, 4 * count)
    used = []
    for a, a_end, b, b_end, label in drawn_in_turn(kind, sentences, targets, draws):
        used += range(a, a_end)
        if kind != "nsp" or label == 0:
            used += range(b, b_end)
    assert sorted(used) == list(range(count))


@given(CORPORA, KEYS)
def test_the_next_sentence_follows_and_a_random_one_is_from_another_document(corpus, key):
    sentences = sentences_of(corpus)
    pairs = draw_pairs(sentences, "nsp", 10_000, 0.1, key)
    follows = pairs.labels == 0
    a_ends = pairs.a_starts + pairs.a_lengths
    assert (a_ends == pairs.b_starts)[follows].all()
    same = document_of(sentences, pairs.a_starts) == document_of(sentences, pairs.b_starts)
    np.testing.assert_array_equal(same, follows)


@given(CORPORA, KEYS)
def test_sentence_order_pairs_are_neighbours(corpus, key):
    sentences = sentences_of(corpus)
    pairs = draw_pairs(sentences, "sop", 10_000, 0.1, key)
    swapped = pairs.labels == 1
    first = np.where(swapped, pairs.b_starts, pairs.a_starts)
    first_length = np.where(swapped, pairs.b_lengths, pairs.a_lengths)
    second = np.where(swapped, pairs.a_starts, pairs.b_starts)
    two = pairs.labels >= 0
    assert (first + first_length == second)[two].all()
    same = document_of(sentences, pairs.a_starts[two]) == document_of(sentences, second[two])
    assert same.all()


@given(CORPORA, KEYS, st.integers(20, 80))
def test_full_sentences_are_whole_unless_one_alone_is_too_long(corpus, key, length):
    sentences = sentences_of(corpus)
    pairs = draw_pairs(sentences, "none", length, 0.0, key)
    ends = pairs.a_starts + pairs.a_lengths
    whole = np.isin(pairs.a_starts, sentences.sentence_starts) & np.isin(
        ends, sentences.sentence_starts
    )
    assert (whole | (pairs.lengths == length)).all()


def test_half_of_the_choices_are_random_or_swapped():
    corpus = [[7] * 400 for _ in range(30)]
    for kind in "nsp", "sop":
        labels = draw_pairs(sentences_of(corpus), kind, 64, 0.0, 1).labels
        assert abs(labels.mean() - 0.5) < 4 * 0.5 / len(labels) ** 0.5


def test_a_share_of_the_documents_aims_at_shorter_pairs():
    sentences = sentences_of([[1] * 1000 for _ in range(400)])
    pairs = draw_pairs(sentences, "sop", 103, 0.1, 1)  # sentences of one token: no truncation
    documents = document_of(sentences, pairs.a_starts)
    longest = np.zeros(400)
    np.maximum.at(longest, documents, pairs.lengths)
    short = longest < 103
    assert abs(short.mean() - 0.1) < 4 * (0.09 / 400) ** 0.5
    assert longest[short].min() < 30
    assert longest[short].max() > 80


def test_random_partners_are_uniform_over_the_other_documents_and_their_sentences():
    sentences = sentences_of([[5] * 8 for _ in range(6)] * 300)
    pairs = draw_pairs(sentences, "nsp", 10_000, 0.0, 3)
    random = pairs.labels == 1
    starts = pairs.b_starts[random] // 5 % 8
    counts = np.bincount(starts, minlength=8)
    expected = counts.sum() / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # 7 degrees of freedom, p = 0.001
    apart = (document_of(sentences, pairs.b_starts) - document_of(sentences, pairs.a_starts)) % 1800
    quarters = np.bincount(apart[random] * 4 // 1800, minlength=4)
    expected = quarters.sum() / 4
    assert ((quarters - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom, p = 0.001


def test_keys_decide_what_is_drawn():
    sentences = sentences_of([[9] * 50, [8] * 50])
    first, again, other = (draw_pairs(sentences, "nsp", 64, 0.1, key) for key in (1, 1, 2))
    np.testing.assert_array_equal(first.a_starts, again.a_starts)
    assert first.a_lengths.tolist() != other.a_lengths.tolist()
