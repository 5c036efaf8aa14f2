import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.tasks.context_windows import Context, most_context, token_range, windows_of
from bertjax.tasks.squad_files import Question
from tests.tasks.small_bert import TOKENIZER, WORDS, sentences


def question(context, text=WORDS[0]):
    return Question(1, "a", text, context, None)


def ranges(tokens, room, stride):
    """The windows of a context of so many tokens, with a question of one token."""
    cut = windows_of(TOKENIZER, room + 4, stride, 8)
    return cut(question(sentences([tokens])[0])).ranges


def run_squads_windows(tokens, room, stride):
    """By the rule: start every `stride` tokens until a window reaches the end."""
    found = [range(min(room, tokens))]
    while found[-1].stop < tokens:
        start = found[-1].start + stride
        found.append(range(start, min(start + room, tokens)))
    return tuple(found)


@given(st.integers(0, 60), st.integers(1, 40), st.integers(1, 20))
def test_windows_start_every_stride_until_one_reaches_the_end(tokens, room, stride):
    stride = max(min(stride, room // 2), 1)
    assert ranges(tokens, room, stride) == run_squads_windows(tokens, room, stride)


@given(st.integers(1, 60), st.integers(2, 40), st.integers(1, 99))
def test_whatever_the_stride_every_answer_of_half_a_window_lies_in_one(tokens, room, stride):
    found, size = ranges(tokens, room, stride), room - room // 2
    for start in range(max(tokens - size + 1, 1)):
        assert any(w.start <= start and start + size <= max(w.stop, size) for w in found)


@pytest.mark.parametrize(("context", "tokens"), [("", 0), (" \u200b ", 0), (WORDS[3], 1)])
def test_a_short_or_empty_context_has_one_window(context, tokens):
    assert windows_of(TOKENIZER, 40, 8, 8)(question(context)).ranges == (range(tokens),)


def test_a_long_question_is_cut_and_leaves_the_rest_to_the_context():
    cut = windows_of(TOKENIZER, 20, 8, max_question_tokens=5)
    found = cut(question(sentences([30])[0], sentences([9])[0]))
    assert found.question_ids.tolist() == TOKENIZER.encode(sentences([9])[0])[:5]
    assert len(found.ranges[0]) == 20 - 5 - 3


def test_special_tokens_in_the_texts_are_text():
    found = windows_of(TOKENIZER, 40, 8, 8)(question("[SEP]", "[CLS]"))
    specials = {TOKENIZER.separator_id, TOKENIZER.classifier_id}
    assert not specials & {*found.question_ids.tolist(), *found.context.token_ids.tolist()}


def test_a_context_is_tokenized_once_for_the_questions_on_it():
    class Counting:
        def __init__(self):
            self.calls = []
            self.encode = TOKENIZER.encode

        def encode_with_offsets(self, text, plain_text):
            self.calls.append(text)
            return TOKENIZER.encode_with_offsets(text, plain_text=plain_text)

    tokenizer = Counting()
    cut = windows_of(tokenizer, 40, 8, 8)
    found = [cut(question(context, word)) for context in ("one", "two") for word in WORDS[:5]]
    assert tokenizer.calls == ["one", "two"]
    assert found[0].context is found[4].context


def by_the_rule(windows, token):
    """The window that run_squad.py chooses: least context on either side, 0.01 of the size."""
    scores = {
        number: min(token - w.start, w.stop - 1 - token) + 0.01 * len(w)
        for number, w in enumerate(windows)
        if token in w
    }
    return max(scores, key=lambda number: (scores[number], -number))


@given(st.integers(1, 80), st.integers(2, 30), st.integers(1, 15))
def test_a_token_belongs_to_the_window_that_shows_most_around_it(tokens, room, stride):
    windows = ranges(tokens, room, stride)
    chosen = [
        {w.start + place for place in np.flatnonzero(most)}
        for w, most in zip(windows, most_context(windows), strict=True)
    ]
    for token in range(tokens):
        owners = [number for number, own in enumerate(chosen) if token in own]
        assert owners == [by_the_rule(windows, token)]


SPANS = Context(np.zeros(5, np.int32), np.array([[0, 2], [2, 2], [2, 5], [6, 7], [6, 7]]))


@pytest.mark.parametrize(
    ("span", "tokens"),
    [
        ((0, 2), range(1)),
        ((2, 5), range(2, 3)),  # the empty piece is no part of it
        ((3, 4), range(2, 3)),  # a whole token for a part of it
        ((1, 6), range(3)),
        ((6, 7), range(3, 5)),  # two pieces of one character
        ((5, 6), None),
    ],
)
def test_an_answer_is_the_tokens_that_hold_its_characters(span, tokens):
    assert token_range(SPANS, span) == tokens


def test_positions_stand_after_the_question():
    found = windows_of(TOKENIZER, 40, 8, 8)(question(f"{WORDS[1]} {WORDS[2]}", f"{WORDS[0]} x"))
    assert found.context_start == 4
    assert functools.partial(found.may_answer, range(2))().tolist() == [False] * 4 + [True] * 2 + [
        False
    ]
