"""Sentence pairs, drawn from the lengths of a window's sentences alone.

`nsp` is the procedure of BERT (Devlin et al. 2018, section 3.1 and appendix A.2) as
`create_pretraining_data.py` of google-research/bert defines it. `sop` is sentence order (Lan et
al. 2019, section 3.1): both segments are neighbours in one document, in half of the cases swapped.
`none` takes full sentences of one document without a pair (Liu et al. 2019, section 4.2,
"DOC-SENTENCES").

Every decision is keyed by the sentence that a pair begins with, so nothing depends on the order of
the work. All positions are those of the window's tokens, document after document.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from bertjax.data.random_bits import binomial_half, fold_in, uniform
from bertjax.errors import UserError

_DRAWS = 4  # decisions that a pair may need


@dataclass(frozen=True)
class Pairs:
    """Pairs as ranges of a window's tokens; every array is int64 [pairs].

    `b_lengths` is 0 where there is no second segment, and `labels` is then -1. Otherwise a label
    is 0 for the sentences that follow and 1 for random (`nsp`) or swapped (`sop`) ones.
    """

    a_starts: np.ndarray
    a_lengths: np.ndarray
    b_starts: np.ndarray
    b_lengths: np.ndarray
    labels: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Positions that each pair takes in a row, special tokens included."""
        return self.a_lengths + self.b_lengths + 2 + (self.b_lengths > 0)

    def take(self, indices: np.ndarray) -> "Pairs":
        """The pairs of these indices, in their order."""
        return Pairs(*(getattr(self, field.name)[indices] for field in fields(self)))

    @staticmethod
    def concatenate(parts: list["Pairs"]) -> "Pairs":
        """All pairs of several drawings of one window."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(Pairs))
        return Pairs(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class Sentences:
    """Where sentences and documents of a window begin and end.

    Attributes:
        tokens: first token of each sentence, then the number of tokens: int64 [sentences + 1].
        documents: first sentence of each document, then the number of sentences:
            int64 [documents + 1].
    """

    tokens: np.ndarray
    documents: np.ndarray


def draw_pairs(
    sentences: Sentences, kind: str, length: int, short_probability: float, key: int
) -> Pairs:
    """All pairs that one pass over the documents gives.

    Args:
        sentences: no sentence and no document is empty.
        kind: `nsp`, `sop` or `none`.
        length: positions of a row, special tokens included.
        short_probability: share of the documents whose pairs aim at a random shorter length
            (`short_seq_prob`).
        key: the same key draws the same pairs.

    Raises:
        UserError: `nsp` with fewer than two documents.
    """
    limit = length - (2 if kind == "none" else 3)
    documents = len(sentences.documents) - 1
    if kind == "nsp" and documents < 2:
        raise UserError(
            "next-sentence pairs need at least two documents: add text, separate the documents "
            "(a blank line in a text file), or set data.pairs=none"
        )
    short = uniform(fold_in(key, 0), documents) < short_probability
    shorter = 2 + (uniform(fold_in(key, 1), documents) * (limit - 1)).astype(np.int64)
    targets = np.where(short, shorter, limit).tolist()
    draws = uniform(fold_in(key, 2), _DRAWS * (len(sentences.tokens) - 1))
    draw = {"nsp": _next_sentence, "sop": _sentence_order, "none": _full_sentences}[kind]
    tokens, starts = sentences.tokens.tolist(), sentences.documents.tolist()
    drawn = list(draw(tokens, starts, targets, draws.tolist()))
    a_first, a_end, b_first, b_end, labels = np.array(drawn, np.int64).reshape(-1, 5).T
    bounds = sentences.tokens
    a_starts, b_starts = bounds[a_first], bounds[b_first]
    pairs = Pairs(a_starts, bounds[a_end] - a_starts, b_starts, bounds[b_end] - b_starts, labels)
    return _truncate(pairs, limit, fold_in(key, 3))


_Ranges = Iterator[tuple[int, int, int, int, int]]  # sentences of A, sentences of B, label


def _next_sentence(
    tokens: list[int], documents: list[int], targets: list[int], draws: list[float]
) -> _Ranges:
    """A chunk of sentences is cut in two; in half of the cases B comes from another document."""
    others = len(documents) - 2
    for document, target in enumerate(targets):
        first, document_end = documents[document], documents[document + 1]
        while first < document_end:
            end = bisect_left(tokens, tokens[first] + target, first + 1, document_end)
            cut, is_random, other, start = draws[_DRAWS * first : _DRAWS * first + _DRAWS]
            a_end = first + 1 + int(cut * (end - first - 1))
            if end - first > 1 and is_random >= 0.5:
                yield first, a_end, a_end, end, 0
                first = end
                continue
            partner = int(other * others)
            partner += partner >= document
            b_first, partner_end = documents[partner], documents[partner + 1]
            b_first += int(start * (partner_end - b_first))
            b_target = target - (tokens[a_end] - tokens[first])
            b_end = bisect_left(tokens, tokens[b_first] + b_target, b_first + 1, partner_end)
            yield first, a_end, b_first, b_end, 1
            first = a_end  # the rest of the chunk is put back


def _sentence_order(
    tokens: list[int], documents: list[int], targets: list[int], draws: list[float]
) -> _Ranges:
    """A chunk of at least two sentences is cut in two; a lone last sentence stands by itself."""
    for document, target in enumerate(targets):
        first, document_end = documents[document], documents[document + 1]
        while first < document_end - 1:
            end = bisect_left(tokens, tokens[first] + target, first + 2, document_end)
            cut, is_swapped = draws[_DRAWS * first : _DRAWS * first + 2]
            middle = first + 1 + int(cut * (end - first - 1))
            if is_swapped < 0.5:
                yield middle, end, first, middle, 1
            else:
                yield first, middle, middle, end, 0
            first = end
        if first < document_end:
            yield first, document_end, first, first, -1


def _full_sentences(
    tokens: list[int], documents: list[int], targets: list[int], draws: list[float]
) -> _Ranges:
    """As many sentences of one document as the target holds, at least one."""
    del draws
    for document, target in enumerate(targets):
        first, document_end = documents[document], documents[document + 1]
        while first < document_end:
            end = bisect_left(tokens, tokens[first] + target + 1, first + 2, document_end + 1) - 1
            yield first, end, first, first, -1
            first = end


def _truncate(pairs: Pairs, limit: int, key: int) -> Pairs:
    """Shortens pairs to `limit` tokens: always the longer segment, at a random end of it.

    Token by token, as `truncate_seq_pair` does it, the longer segment loses tokens until both are
    equal, then B and A lose one in turn; each lost token is the first or the last with equal odds.
    """
    a, b = pairs.a_lengths, pairs.b_lengths
    excess = np.maximum(a + b - limit, 0)
    until_equal = np.minimum(excess, abs(a - b))
    in_turn = excess - until_equal
    lost_a = np.where(a > b, until_equal, 0) + in_turn // 2
    lost_b = np.where(a > b, 0, until_equal) + (in_turn + 1) // 2
    return Pairs(
        pairs.a_starts + binomial_half(fold_in(key, 0), lost_a),
        a - lost_a,
        pairs.b_starts + binomial_half(fold_in(key, 1), lost_b),
        b - lost_b,
        pairs.labels,
    )
