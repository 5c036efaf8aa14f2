import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.config import QuestionAnswering
from bertjax.tasks.answer_report import answer_details, answer_scores, best_thresholds
from bertjax.tasks.squad_files import Answer, Question
from tests.tasks.squad_reference import scores, searched

SQUAD = QuestionAnswering()
SQUAD2 = QuestionAnswering(unanswerable=True)


def question(row, *answers):
    return Question(row, str(row), f"q{row}?", "x", tuple(Answer(text, (0, 1)) for text in answers))


def prediction(text, null_score=0.0, best=None):
    entry = {"text": text if best is None else best, "probability": 1.0, "start": 0}
    return {"id": "", "answer": text, "null_score": null_score, "nbest": [entry]}


def test_scores_are_per_cent_of_the_questions():
    questions = [question(1, "Ada"), question(2, "red fox", "fox"), question(3, "b c")]
    found = [prediction("the Ada"), prediction("fox"), prediction("b")]
    scores = answer_scores(questions, found, SQUAD)
    assert scores == {
        "exact_match": pytest.approx(200 / 3),
        "f1": pytest.approx(100 * (1 + 1 + 2 / 3) / 3),
    }


# The first and the third question gain by an answer, the second and the fourth lose by it.
QUESTIONS = [question(1, "p q"), question(2), question(3, "r s"), question(4), question(5, "t")]
PREDICTIONS = [
    prediction("q", -3.0),
    prediction("", 2.0, best="x"),
    prediction("", 1.5, best="r s"),
    prediction("", 4.0, best="y"),
    prediction("", 9.0, best="z"),
]


def test_the_best_threshold_answers_what_gains_most():
    best = best_thresholds(QUESTIONS, PREDICTIONS, SQUAD2)
    # No answer at all: 2 of 5. "r s" adds 1, and "q" for "p q" 2/3 of F1 before it.
    assert best["exact_match"] == (1.5, pytest.approx(60.0))
    assert best["f1"] == (1.5, pytest.approx(100 * (2 + 1 + 2 / 3) / 5))


NULL_SCORES = st.floats(-9, 9, allow_subnormal=False)
ASKED = st.tuples(NULL_SCORES, st.booleans(), st.sampled_from(["p q", "p x", "z"]))  # halves


@given(st.lists(ASKED, min_size=1, max_size=8, unique_by=lambda each: each[0]))
def test_the_best_thresholds_are_those_of_squads_own_search(asked):
    questions = [
        question(row, *(["p q"] if has_answer else []))
        for row, (_, has_answer, _) in enumerate(asked, 1)
    ]
    found = [prediction("", null_score, best=text) for null_score, _, text in asked]
    for place, (name, best) in enumerate(best_thresholds(questions, found, SQUAD2).items()):
        assert name == ("exact_match", "f1")[place]
        scored = [
            (null_score, has_answer, scores(text, ["p q"], False, True)[place], False)
            for null_score, has_answer, text in asked
        ]
        total, threshold = searched(scored)
        assert best.score == pytest.approx(100 * total / len(asked))
        if threshold is not None:
            assert best.null_threshold == threshold


def test_unanswerable_questions_add_the_best_scores_and_their_thresholds():
    scores = answer_scores(QUESTIONS, PREDICTIONS, SQUAD2)
    assert scores["exact_match"] == pytest.approx(40.0)
    assert scores["best_exact_match"] == pytest.approx(60.0)
    assert scores["best_f1"] > scores["f1"] == pytest.approx(100 * (2 + 2 / 3) / 5)
    assert scores["has_answer_exact_match"] == 0.0
    assert scores["has_answer_f1"] == pytest.approx(100 * (2 / 3) / 3)
    assert scores["no_answer_exact_match"] == scores["no_answer_f1"] == 100.0
    table = answer_details(QUESTIONS, PREDICTIONS, SQUAD2)["null_thresholds"]
    assert [(row["metric"], row["null_threshold"]) for row in table] == [
        ("exact_match", 1.5),
        ("f1", 1.5),
    ]


def test_questions_of_one_kind_have_no_figures_of_the_other():
    scores = answer_scores(QUESTIONS[:1], PREDICTIONS[:1], SQUAD2)
    assert "has_answer_f1" in scores
    assert "no_answer_f1" not in scores


def test_every_length_of_answer_has_a_row():
    questions = [
        question(1, "a b", "a"),
        question(2, "c d e"),
        question(3, "f g h i j"),
        question(4),
    ]
    found = [prediction("a"), prediction("c d e"), prediction("f"), prediction("")]
    rows = answer_details(questions, found, SQUAD2)["answer_lengths"]
    assert [(row["answer"], row["questions"], row["exact_match"]) for row in rows] == [
        ("no answer", 1, 100.0),
        ("1 word", 1, 0.0),
        ("3 to 5 words", 2, 50.0),
    ]


def test_samples_of_errors_come_from_all_over_the_file():
    questions = [question(row, "w", "w") for row in range(1, 101)]
    found = [prediction("w" if row % 2 else "v") for row in range(100)]
    errors = answer_details(questions, found, SQUAD)["errors"]
    assert len(errors) == 20
    assert (errors[0]["row"], errors[-1]["row"]) == (1, 99)
    assert errors[0] == {"row": 1, "question": "q1?", "expected": ["w"], "answer": "v", "f1": 0.0}
    assert answer_details(questions[1:2], found[1:2], SQUAD)["errors"] == []
