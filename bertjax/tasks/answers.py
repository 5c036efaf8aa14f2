"""From logits to answers: the best spans, cut out of the text itself, against no answer at all.

As google-research/bert run_squad.py (`write_predictions`), except that the best spans are found
among all that are allowed, not among pairs of the best starts and ends.
"""

import functools
import math
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bertjax.config import QuestionAnswering
from bertjax.tasks.context_windows import Windows, most_context


class Span(NamedTuple):
    """An answer that the model could give: start and end logit added up, and its characters."""

    score: float
    start: int
    end: int


def answer(
    id: str,
    context: str,
    windows: Windows,
    logits: Sequence[np.ndarray],
    settings: QuestionAnswering,
) -> dict[str, Any]:
    """The prediction for a question.

    Args:
        id: the question's.
        context: its text.
        windows: its inputs.
        logits: float32 [tokens, 2] of each window, start and end.
        settings: the task's.

    Returns:
        `id`; `answer`, "" for none; `null_score`, how much higher the logits of `[CLS]` are than
        those of the best span, in the window where they are lowest: with `unanswerable`, the answer
        is "" where it exceeds `null_threshold`; `nbest`, the best different texts with their
        `probability` among themselves and their `start` in the context. With `unanswerable` no
        answer is one of them, its text "" and its start null. A context without any character that
        the vocabulary keeps has no span: `answer` is "" and `null_score` null.
    """
    null = min(float(window[0].sum(dtype=np.float64)) for window in logits)
    texts: dict[str, Span] = {}
    spans = _spans(context, windows, logits, settings)
    for span in sorted(spans, key=lambda span: -span.score):
        if len(texts) < settings.n_best:
            texts.setdefault(cut(context, span.start, span.end), span)
    best = next(iter(texts), None)
    null_score = None if best is None else null - texts[best].score
    entries = [(span.score, text, span.start) for text, span in texts.items()]
    if settings.unanswerable:
        entries = sorted([*entries, (null, "", None)], key=lambda entry: -entry[0])
    found = {
        "id": id,
        "answer": best or "",
        "null_score": null_score,
        "nbest": _with_probabilities(entries),
    }
    return with_threshold(found, settings.null_threshold) if settings.unanswerable else found


def with_threshold(prediction: dict[str, Any], threshold: float) -> dict[str, Any]:
    """The prediction whose answer is that there is none where `null_score` exceeds `threshold`."""
    score = prediction["null_score"]
    none = score is None or score > threshold
    return prediction | {"answer": "" if none else best_text(prediction)}


def best_text(prediction: dict[str, Any]) -> str:
    """The best answer other than none; "" where there is no span."""
    return next((entry["text"] for entry in prediction["nbest"] if entry["text"]), "")


def cut(context: str, start: int, end: int) -> str:
    """The characters of a span, with the marks that belong to the last of them.

    Tokenizers that strip accents count none of them to a token where they are written apart.
    """
    while end < len(context) and unicodedata.category(context[end]).startswith("M"):
        end += 1
    return context[start:end]


def best_threshold(
    null_scores: Sequence[float | None], gains: Sequence[float]
) -> tuple[float, float]:
    """The threshold for no answer that gains most, and its gain over no answer at all.

    As SQuAD 2.0's evaluation script searches, but questions with the same null score go together.

    Args:
        null_scores: as in the predictions.
        gains: of each question, the score of its best span less that of no answer.

    Returns:
        The greatest null score that is still answered, slightly less than the least if none is; of
        equal thresholds the lowest.
    """
    known = [(s, gain) for s, gain in zip(null_scores, gains, strict=True) if s is not None]
    if not known:
        return 0.0, 0.0
    known.sort()
    best, threshold, total = 0.0, known[0][0] - 1.0, 0.0
    for place, (score, gain) in enumerate(known):
        total += gain
        last_of_equals = place + 1 == len(known) or known[place + 1][0] > score
        if last_of_equals and total > best:
            best, threshold = total, score
    return threshold, best


def without_particle(text: str, particles: tuple[str, ...]) -> str:
    """An answer's last piece without the longest particle that it ends in and is more than.

    Korean writes particles onto the word, and a vocabulary holds many words with theirs: of
    KorQuAD's answers a quarter ends inside a piece of an 8,000-piece WordPiece vocabulary. The text
    may be in NFC or NFD, whatever the particles are in.
    """
    forms = _both_forms(particles)
    endings = [p for p in forms if text.endswith(p) and len(text) > len(p) > 0]
    return text[: len(text) - max(map(len, endings), default=0)]


@functools.cache
def _both_forms(particles: tuple[str, ...]) -> frozenset[str]:
    return frozenset(unicodedata.normalize(form, p) for p in particles for form in ("NFC", "NFD"))


def _spans(
    context: str, windows: Windows, logits: Sequence[np.ndarray], settings: QuestionAnswering
) -> list[Span]:
    """The best spans of every window, window by window."""
    found = []
    most = most_context(windows.ranges)
    for window, shown, scores in zip(windows.ranges, most, logits, strict=True):
        may_end = windows.may_answer(window)
        may_start = may_end & windows.at_context(shown)
        shift = window.start - windows.context_start  # from positions to tokens of the context
        for score, first, last in _best_pairs(scores, may_start, may_end, settings):
            (start, _), (piece, end) = windows.context.spans[[first + shift, last + shift]].tolist()
            text = without_particle(context[piece:end], settings.particles)
            found.append(Span(score, start, piece + len(text)))
    return found


def _best_pairs(
    logits: np.ndarray, may_start: np.ndarray, may_end: np.ndarray, settings: QuestionAnswering
) -> list[tuple[float, int, int]]:
    """The `n_best` pairs of positions with the greatest sums, the greatest first."""
    longest = settings.max_answer_tokens
    starts, ends = np.where([may_start, may_end], logits.T.astype(np.float64), -np.inf)
    following = np.lib.stride_tricks.sliding_window_view(
        np.pad(ends, (0, longest - 1), constant_values=-np.inf), longest
    )
    sums = (starts[:, None] + following).ravel()  # [positions x lengths]
    count = min(settings.n_best, len(sums))
    best = np.argpartition(-sums, count - 1)[:count]
    best = best[np.lexsort((best, -sums[best]))]
    places = [(float(sums[i]), *divmod(int(i), longest)) for i in best if sums[i] > -math.inf]
    return [(score, first, first + more) for score, first, more in places]


def _with_probabilities(
    entries: Sequence[tuple[float, str, int | None]],
) -> list[dict[str, Any]]:
    if not entries:
        return []
    scores = np.array([score for score, _, _ in entries])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    return [
        {"text": text, "probability": float(share), "start": start}
        for share, (_, text, start) in zip(shares, entries, strict=True)
    ]
