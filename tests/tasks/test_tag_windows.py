"""No piece is lost by windows, and a sentence sees its own document around it."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.tasks.tag_files import Sentence
from bertjax.tasks.tag_pieces import Pieces
from bertjax.tasks.tag_windows import TaggedSentence, windows, with_context


def sentence(ids, document=0, before=(), after=()):
    return TaggedSentence(Sentence(1, document, (), ()), Pieces(list(ids), []), before, after)


def cut(size, room, before=0, after=0):
    record = sentence(range(size), before=tuple(range(before)), after=tuple(range(after)))
    return [tuple(window) for window in windows(record, room)]


SIZES = {
    "size": st.integers(0, 300),
    "room": st.integers(4, 70),
    "before": st.integers(0, 60),
    "after": st.integers(0, 60),
}


@settings(deadline=None)
@given(**SIZES)
def test_every_piece_is_labelled_once_and_seen_where_it_is(size, room, before, after):
    found = cut(size, room, before, after)
    labelled = [place for _, _, first, last in found for place in range(first, last)]
    assert labelled == list(range(before, before + size))
    for start, end, first, last in found:
        assert 0 <= start <= first <= last <= end <= before + size + after
        assert end - start <= room


@settings(deadline=None)
@given(**SIZES)
def test_a_piece_of_a_long_sentence_has_a_quarter_of_a_window_on_either_side(
    size, room, before, after
):
    total = before + size + after
    for start, end, first, last in cut(size, room, before, after):
        if size > room:
            assert first - start >= min(room // 4, first)
            assert end - last >= min(room // 4, total - last)
            assert end - start == min(room, total)


@settings(deadline=None)
@given(**SIZES)
def test_a_sentence_that_fits_has_one_window_as_full_as_can_be(size, room, before, after):
    found = cut(size, room, before, after)
    assert (len(found) == 1) == (size <= room)
    if size <= room:
        ((start, end, first, last),) = found
        assert end - start == min(room, before + size + after)
        both = first - start, end - last
        assert abs(both[0] - both[1]) <= 1 or both[0] == before or both[1] == after


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((5, 9), [(0, 5, 0, 5)]),
        ((5, 9, 10, 10), [(8, 17, 10, 15)]),
        ((5, 9, 1, 10), [(0, 9, 1, 6)]),
        ((5, 9, 10, 1), [(7, 16, 10, 15)]),
        ((9, 9, 10, 10), [(10, 19, 10, 19)]),
        ((0, 9), [(0, 0, 0, 0)]),
        ((20, 8), [(0, 8, 0, 6), (4, 12, 6, 10), (8, 16, 10, 14), (12, 20, 14, 20)]),
        ((9, 8, 5, 5), [(3, 11, 5, 9), (7, 15, 9, 13), (11, 19, 13, 14)]),
    ],
)
def test_windows_by_hand(arguments, expected):
    assert cut(*arguments) == expected


DOCUMENTS = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=8), min_size=1, max_size=4
)  # the numbers of pieces of each document's sentences


@settings(deadline=None)
@given(DOCUMENTS, st.integers(0, 15))
def test_context_is_the_nearest_pieces_of_the_same_document(documents, size):
    given_sentences, expected, number = [], [], 0
    for document, sizes in enumerate(documents):
        bounds = [sum(sizes[:place]) for place in range(len(sizes) + 1)]
        ids = list(range(number, number + bounds[-1]))
        number += bounds[-1]
        for first, last in pairwise(bounds):
            given_sentences.append(sentence(ids[first:last], document))
            expected.append((ids[max(first - size, 0) : first], ids[last : last + size]))
    found = list(with_context(given_sentences, size))
    assert [(list(each.before), list(each.after)) for each in found] == expected
    assert [each.pieces for each in found] == [each.pieces for each in given_sentences]


@pytest.mark.parametrize(("size", "ahead"), [(0, 0), (5, 1), (6, 2), (11, 3)])
def test_sentences_are_read_no_further_ahead_than_their_context_needs(size, ahead):
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield sentence([1, 2, 3, 4, 5])

    found = with_context(endless(), size)
    for number in range(4):
        next(found)
        assert len(asked) == number + 1 + ahead
