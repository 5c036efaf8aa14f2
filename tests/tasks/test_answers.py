"""N-best answers and the threshold for no answer, against brute force by the published rules."""

import json
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.config import QuestionAnswering
from bertjax.tasks.answers import answer, best_threshold, cut, without_particle
from bertjax.tasks.context_windows import most_context, windows_of
from bertjax.tasks.squad_files import Question
from tests.tasks.small_bert import TOKENIZER, WORDS

CONTEXT = "  ".join(WORDS[:12])
LENGTH = 12  # with a question of two tokens: windows of 7 tokens, 3 apart


def windows(context=CONTEXT, length=LENGTH, stride=3):
    cut_context = windows_of(TOKENIZER, length, stride, 8)
    return cut_context(Question(1, "a", f"{WORDS[20]} {WORDS[21]}", context, None))


def random_logits(inputs, seed):
    random = np.random.default_rng(seed)
    return [
        random.normal(0, 2, (len(window) + inputs.context_start + 1, 2)).astype(np.float32)
        for window in inputs.ranges
    ]


def every_span(inputs, logits, longest):
    """(score, first token, last token) of all that may be answered, the best first."""
    found = []
    for window, most, scores in zip(
        inputs.ranges, most_context(inputs.ranges), logits, strict=True
    ):
        for first in window:
            for last in range(first, min(first + longest, window.stop)):
                if most[first - window.start]:
                    shift = inputs.context_start - window.start
                    found.append((scores[first + shift, 0] + scores[last + shift, 1], first, last))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_spans_of_all_windows_are_found_in_order(seed):
    settings = QuestionAnswering(max_answer_tokens=4, n_best=6)
    inputs = windows()
    logits = random_logits(inputs, seed)
    found = answer("q7", CONTEXT, inputs, logits, settings)
    expected = every_span(inputs, logits, 4)[:6]
    spans = inputs.context.spans
    places = [(spans[first, 0], spans[last, 1]) for _, first, last in expected]
    assert [entry["text"] for entry in found["nbest"]] == [CONTEXT[a:b] for a, b in places]
    assert [entry["start"] for entry in found["nbest"]] == [start for start, _ in places]
    assert found["answer"] == found["nbest"][0]["text"]
    assert found["id"] == "q7"
    shares = [math.exp(score - expected[0][0]) for score, _, _ in expected]
    np.testing.assert_allclose(
        [entry["probability"] for entry in found["nbest"]],
        np.array(shares) / sum(shares),
        rtol=1e-5,
    )
    assert json.loads(json.dumps(found)) == found


def test_a_text_that_occurs_twice_is_one_answer():
    inputs = windows(f"{WORDS[0]} {WORDS[1]} {WORDS[0]}")
    logits = random_logits(inputs, 0)
    found = answer("a", f"{WORDS[0]} {WORDS[1]} {WORDS[0]}", inputs, logits, QuestionAnswering())
    texts = [entry["text"] for entry in found["nbest"]]
    assert len(texts) == len(set(texts)) == 5  # of six spans


def null_score(inputs, logits):
    """The least of `[CLS]` over the windows, less the best span."""
    return min(scores[0].sum() for scores in logits) - every_span(inputs, logits, 30)[0][0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("above", [False, True])
def test_no_answer_wins_where_its_score_exceeds_the_threshold(seed, above):
    inputs = windows()
    logits = random_logits(inputs, seed)
    score = null_score(inputs, logits)
    threshold = float(score) + (-0.01 if above else 0.01)
    settings = QuestionAnswering(unanswerable=True, null_threshold=threshold)
    found = answer("a", CONTEXT, inputs, logits, settings)
    assert found["null_score"] == pytest.approx(score, rel=1e-4)
    spans = [entry for entry in found["nbest"] if entry["text"]]
    (none,) = (entry for entry in found["nbest"] if not entry["text"])
    assert none["start"] is None
    assert math.log(none["probability"] / spans[0]["probability"]) == pytest.approx(score, rel=1e-4)
    assert found["answer"] == ("" if above else spans[0]["text"])


def test_without_unanswerable_questions_there_is_always_an_answer():
    inputs = windows()
    logits = [np.full_like(scores, -9.0) for scores in random_logits(inputs, 0)]
    for scores in logits:
        scores[0] = 9.0
    found = answer("a", CONTEXT, inputs, logits, QuestionAnswering())
    assert found["answer"]
    assert all(entry["text"] for entry in found["nbest"])
    assert found["null_score"] == 36.0


@pytest.mark.parametrize("unanswerable", [False, True])
def test_a_context_without_tokens_has_no_answer(unanswerable):
    inputs = windows(" \u200b ")
    settings = QuestionAnswering(unanswerable=unanswerable)
    found = answer("a", " \u200b ", inputs, random_logits(inputs, 0), settings)
    assert (found["answer"], found["null_score"]) == ("", None)
    none = [{"text": "", "probability": 1.0, "start": None}]
    assert found["nbest"] == (none if unanswerable else [])


def test_a_mark_written_apart_stays_with_its_letter():
    assert cut("cafe\u0301s", 0, 4) == "cafe\u0301"
    assert cut("cafes", 0, 4) == "cafe"
    assert cut("나e\u0301\u0323", 1, 2) == "e\u0301\u0323"


PIECES = pytest.mark.parametrize(
    ("piece", "kept"),
    [("서울은", "서울"), ("서울에서", "서울"), ("서울", "서울"), ("은", "은"), ("은은", "은")],
)


@PIECES
def test_the_longest_particle_of_the_last_piece_is_left_out_but_never_all_of_it(piece, kept):
    assert without_particle(piece, ("은", "서", "에서", "")) == kept


@PIECES
def test_particles_are_known_in_a_text_of_jamo(piece, kept):
    text, expected = (unicodedata.normalize("NFD", each) for each in (piece, kept))
    assert without_particle(text, ("은", "서", "에서", "")) == expected


SCORES = st.sampled_from([-2.0, -1.0, 0.5, 3.0]) | st.none()


@given(st.lists(st.tuples(SCORES, st.sampled_from([-1.0, 0.0, 0.4, 1.0])), min_size=1, max_size=8))
def test_no_threshold_is_better_than_the_one_that_is_found(questions):
    def gain(threshold):
        return sum(g for s, g in questions if s is not None and s <= threshold)

    threshold, best = best_threshold([s for s, _ in questions], [g for _, g in questions])
    assert gain(threshold) == pytest.approx(best)
    assert best == pytest.approx(max(gain(t) for t in (-99, -2.0, -1.0, 0.5, 3.0)))
