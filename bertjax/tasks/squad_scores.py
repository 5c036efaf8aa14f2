"""Exact match and F1 of answers by the rules that SQuAD and KorQuAD published with their data.

SQuAD: the evaluation scripts of versions 1.1 and 2.0 (rajpurkar/SQuAD-explorer). KorQuAD 1.0: its
evaluate-v1.0.py, which is SQuAD 1.1's with other signs taken away and characters in place of words.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

Rules = Literal["squad", "korquad"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_KORQUAD_SPACES = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))  # before punctuation goes


def normalize(text: str, rules: Rules) -> str:
    """What of an answer counts: lower case, no punctuation, single spaces.

    SQuAD takes out the articles a, an, the; KorQuAD puts a space for brackets and quotation marks.
    """
    if rules == "korquad":
        text = text.translate(_KORQUAD_SPACES)
    text = text.lower().translate(_PUNCTUATION)
    if rules == "squad":
        text = _ARTICLES.sub(" ", text)
    return " ".join(text.split())


def exact_match(answer: str, expected: Sequence[str], rules: Rules, unanswerable: bool) -> float:
    """1 if the answer is an expected one, else 0; arguments as for `f1`."""
    found = normalize(answer, rules)
    texts = _expected(expected, rules, unanswerable)
    return float(any(found == normalize(text, rules) for text in texts))


def f1(answer: str, expected: Sequence[str], rules: Rules, unanswerable: bool) -> float:
    """The best harmonic mean of precision and recall over the expected answers, from 0 to 1.

    Args:
        answer: "" says that there is none.
        expected: the right ones; none where there is no answer.
        rules: SQuAD compares words, KorQuAD characters other than spaces.
        unanswerable: the rules of SQuAD 2.0. An expected answer of which nothing counts is left
            out; two texts of which nothing counts agree, which in version 1.1 share nothing.
    """
    found = _units(answer, rules)
    texts = _expected(expected, rules, unanswerable)
    return max(_overlap(found, _units(text, rules), unanswerable) for text in texts)


def _expected(texts: Sequence[str], rules: Rules, unanswerable: bool) -> Sequence[str]:
    return [text for text in texts if not unanswerable or normalize(text, rules)] or [""]


def _units(text: str, rules: Rules) -> Counter[str]:
    words = normalize(text, rules).split()
    return Counter(words if rules == "squad" else "".join(words))


def _overlap(found: Counter[str], expected: Counter[str], empty_agree: bool) -> float:
    if empty_agree and not (found and expected):
        return float(found == expected)
    shared = (found & expected).total()
    return 2 * shared / (found.total() + expected.total()) if shared else 0.0
