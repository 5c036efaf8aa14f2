"""How good answers are, and where they go wrong."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bertjax.config import QuestionAnswering
from bertjax.tasks.answers import best_text, best_threshold
from bertjax.tasks.squad_files import Question
from bertjax.tasks.squad_scores import exact_match, f1
from bertjax.tasks.task import spread_out

_METRICS = {"exact_match": exact_match, "f1": f1}
_LENGTHS = {  # words of the expected answer
    "no answer": range(1),
    "1 word": range(1, 2),
    "2 words": range(2, 3),
    "3 to 5 words": range(3, 6),
    "6 to 10 words": range(6, 11),
    "more words": range(11, 1 << 30),
}

Predictions = Sequence[dict[str, Any]]


class Threshold(NamedTuple):
    """A threshold for no answer, and what a metric is with it, in per cent."""

    null_threshold: float
    score: float


def answer_scores(
    questions: Sequence[Question], predictions: Predictions, settings: QuestionAnswering
) -> dict[str, float]:
    """`exact_match` and `f1` in per cent, as the published scripts print them.

    With `unanswerable` also those of the questions that have an answer, `has_answer_...`, and of
    those that have none, `no_answer_...`, where there are any, and `best_exact_match` and
    `best_f1`: with the threshold for no answer that is best for these very questions.
    """
    scores = _scores(questions, (found["answer"] for found in predictions), settings)
    figures = {name: _percent(values) for name, values in scores.items()}
    if settings.unanswerable:
        answered = np.array([bool(question.answers) for question in questions])
        for kind, chosen in (("has_answer", answered), ("no_answer", ~answered)):
            if chosen.any():
                figures |= {f"{kind}_{m}": _percent(own[chosen]) for m, own in scores.items()}
        best = best_thresholds(questions, predictions, settings)
        figures |= {f"best_{name}": found.score for name, found in best.items()}
    return figures


def answer_details(
    questions: Sequence[Question], predictions: Predictions, settings: QuestionAnswering
) -> dict[str, Any]:
    """Scores by the length of the expected answer, and wrong answers from all over the file.

    With `unanswerable` also the best threshold for each metric.
    """
    scores = _scores(questions, (found["answer"] for found in predictions), settings)
    details: dict[str, Any] = {
        "answer_lengths": _by_length(questions, scores),
        "errors": _errors(questions, predictions, scores),
    }
    if settings.unanswerable:
        best = best_thresholds(questions, predictions, settings)
        details["null_thresholds"] = [
            {"metric": name, **found._asdict()} for name, found in best.items()
        ]
    return details


def best_thresholds(
    questions: Sequence[Question], predictions: Predictions, settings: QuestionAnswering
) -> dict[str, Threshold]:
    """By metric, the best threshold for no answer, searched for as SQuAD 2.0's script does."""
    null_scores = [found["null_score"] for found in predictions]
    spans = _scores(questions, map(best_text, predictions), settings)
    nothing = _scores(questions, [""] * len(questions), settings)
    best = {}
    for name in _METRICS:
        gains = (spans[name] - nothing[name]).tolist()
        threshold, gain = best_threshold(null_scores, gains)
        score = _percent(nothing[name]) + 100 * gain / len(questions)
        best[name] = Threshold(threshold, score)
    return best


def _scores(
    questions: Sequence[Question], answers: Iterable[str], settings: QuestionAnswering
) -> dict[str, np.ndarray]:
    """By metric, float64 [questions] from 0 to 1."""
    pairs = [(found, _expected(q)) for q, found in zip(questions, answers, strict=True)]
    rules = settings.rules, settings.unanswerable
    return {
        name: np.array([metric(found, expected, *rules) for found, expected in pairs])
        for name, metric in _METRICS.items()
    }


def _expected(question: Question) -> list[str]:
    return [answer.text for answer in question.answers or ()]


def _percent(scores: np.ndarray) -> float:
    return 100 * float(scores.mean())


def _by_length(
    questions: Sequence[Question], scores: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """A row for every length that occurs; a question's is that of its shortest answer."""
    words = np.array(
        [min((len(text.split()) for text in _expected(q)), default=0) for q in questions]
    )
    table = []
    for name, lengths in _LENGTHS.items():
        chosen = (words >= lengths.start) & (words < lengths.stop)
        if count := int(chosen.sum()):
            figures = {metric: _percent(values[chosen]) for metric, values in scores.items()}
            table.append({"answer": name, "questions": count, **figures})
    return table


def _errors(
    questions: Sequence[Question], predictions: Predictions, scores: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """A few questions whose answer is not exactly right, at equal distances."""
    (wrong,) = np.nonzero(scores["exact_match"] == 0)
    return [
        {
            "row": questions[index].row,
            "question": questions[index].text,
            "expected": list(dict.fromkeys(_expected(questions[index]))),
            "answer": predictions[index]["answer"],
            "f1": float(scores["f1"][index]),
        }
        for index in spread_out(wrong.tolist())
    ]
