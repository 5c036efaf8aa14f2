"""Exact match and F1 once more, from the published rules and in another way: run by run of
characters, word by word. What `bertjax.tasks.squad_scores` is compared with."""

import itertools
import string

_KORQUAD_SPACES = set("'\"《》<>〈〉()‘’")


def words(text, korean):
    """What counts of an answer, in order: words, in Korean with their characters in a row."""
    if korean:
        text = "".join(" " if mark in _KORQUAD_SPACES else mark for mark in text)
    text = "".join(mark for mark in text.lower() if mark not in string.punctuation)
    if not korean:
        runs = itertools.groupby(text, key=lambda mark: mark.isalnum() or mark == "_")
        pieces = ["".join(run) for _, run in runs]
        text = "".join(" " if piece in ("a", "an", "the") else piece for piece in pieces)
    return text.split()


def scores(answer, expected, korean, version_2):
    """The best exact match and the best F1 over the expected answers."""
    if version_2:
        expected = [text for text in expected if words(text, korean)] or [""]
    pairs = [
        _both(words(answer, korean), words(text, korean), korean, version_2) for text in expected
    ]
    return max(exact for exact, _ in pairs), max(overlap for _, overlap in pairs)


def _both(found, expected, korean, version_2):
    exact = float(found == expected)
    units = [list("".join(each)) if korean else list(each) for each in (found, expected)]
    if version_2 and not all(units):
        return exact, float(units[0] == units[1])
    left, shared = list(units[1]), 0
    for unit in units[0]:
        if unit in left:
            left.remove(unit)
            shared += 1
    if not shared:
        return exact, 0.0
    precision, recall = shared / len(units[0]), shared / len(units[1])
    return exact, 2 * precision * recall / (precision + recall)


def searched(questions):
    """SQuAD 2.0's search over thresholds, the surest to have an answer first.

    Args:
        questions: for each its null score, all different, whether it has an answer, the score of
            the text that would be answered, and whether that text is empty.

    Returns:
        The best sum of scores, and the threshold that gives it; None if no question is answered.
    """
    total = best = sum(not has_answer for _, has_answer, _, _ in questions)
    threshold = None
    for null_score, has_answer, score, is_empty in sorted(questions):
        total += score if has_answer else 0 if is_empty else -1
        if total > best:
            best, threshold = total, null_score
    return best, threshold
