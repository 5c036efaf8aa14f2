"""Sentence pairs, drawn from the lengths of a window's sentences alone.

`nsp` is the procedure of BERT (Devlin et al. 2018, section 3.1 and appendix A.2) as
`create_pretraining_data.py` of google-research/bert defines it. `sop` is sentence order (Lan et
al. 2019, section 3.1): both segments are neighbours in one document, in half of the cases swapped.
`none` takes full sentences of one document without a pair (Liu et al. 2019, section 4.2,
"DOC-SENTENCES").

Every decision is keyed by the sentence that a pair begins with, so nothing depends on the order of
the work: it is taken for every sentence at once, as if a pair began there, and one pass over them
then finds where pairs do begin. That is many times faster than one pair after the other. All
positions are those of the window's tokens, document after document.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from bertjax.data.random_bits import binomial_half, fold_in, uniform

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
        sentence_starts: first token of each sentence, then the number of tokens:
            int64 [sentences + 1].
        document_starts: first sentence of each document, then the number of sentences:
            int64 [documents + 1].
    """

    sentence_starts: np.ndarray
    document_starts: np.ndarray


def draw_pairs(
    sentences: Sentences, kind: str, length: int, short_probability: float, key: int
) -> Pairs:
    """All pairs that one pass over the documents gives.

    Args:
        sentences: none and no document is empty; for `nsp` of two documents at least, which a
            window always has (see `count_windows`).
        kind: `nsp`, `sop` or `none`.
        length: positions of a row, special tokens included.
        short_probability: share of the documents whose pairs aim at a random shorter length
            (`short_seq_prob`).
        key: the same key draws the same pairs.
    """
    limit = length - (2 if kind == "none" else 3)
    documents = len(sentences.document_starts) - 1
    short = uniform(fold_in(key, 0), documents) < short_probability
    shorter = 2 + (uniform(fold_in(key, 1), documents) * (limit - 1)).astype(np.int64)
    targets = np.where(short, shorter, limit)
    draws = uniform(fold_in(key, 2), _DRAWS * (len(sentences.sentence_starts) - 1))
    draw = {"nsp": _next_sentence, "sop": _sentence_order, "none": _full_sentences}[kind]
    drawn = _in_turn(draw(_candidates(sentences, targets, draws)))
    bounds = sentences.sentence_starts
    a_starts, b_starts = bounds[drawn.a_first], bounds[drawn.b_first]
    a_lengths, b_lengths = bounds[drawn.a_end] - a_starts, bounds[drawn.b_end] - b_starts
    pairs = Pairs(a_starts, a_lengths, b_starts, b_lengths, drawn.label)
    return _truncate(pairs, limit, fold_in(key, 3))


class _Candidates(NamedTuple):
    """What each sentence would decide if a pair began with it; arrays are [sentences]."""

    sentence_starts: np.ndarray  # int64 [sentences + 1], as in `Sentences`
    document_starts: np.ndarray  # int64 [documents + 1], as in `Sentences`
    number: np.ndarray  # int64, the sentence's own number
    document: np.ndarray  # int64, its document
    document_end: np.ndarray  # int64, the sentence that the next document begins with
    target: np.ndarray  # int64, tokens that the pair aims at
    draws: np.ndarray  # float64 [_DRAWS, sentences], in [0, 1)


class _Drawn(NamedTuple):
    """Sentences of A, sentences of B, label and the sentence that the next pair begins with."""

    a_first: np.ndarray
    a_end: np.ndarray
    b_first: np.ndarray
    b_end: np.ndarray
    label: np.ndarray
    following: np.ndarray


def _candidates(sentences: Sentences, targets: np.ndarray, draws: np.ndarray) -> _Candidates:
    """`targets`: int64 [documents]; `draws`: float64 [sentences * _DRAWS]."""
    starts = sentences.document_starts
    document = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return _Candidates(
        sentences.sentence_starts,
        starts,
        np.arange(len(document)),
        document,
        starts[document + 1],
        targets[document],
        draws.reshape(-1, _DRAWS).T,
    )


def _in_turn(drawn: _Drawn) -> _Drawn:
    """The pairs that one pass takes: each begins where the one before it says."""
    following, taken, first = drawn.following.tolist(), [], 0
    sentences = len(following)
    while first < sentences:
        taken.append(first)
        first = following[first]
    pairs = np.array(taken, np.int64)
    return _Drawn(*(column[pairs] for column in drawn))


def _next_sentence(candidates: _Candidates) -> _Drawn:
    """A chunk of sentences is cut in two; in half of the cases B comes from another document."""
    starts, first = candidates.sentence_starts, candidates.number
    documents = candidates.document_starts
    cut, is_random, other, start = candidates.draws
    end = _reached(starts, starts[first] + candidates.target, first + 1, candidates.document_end)
    a_end = first + 1 + _share(cut, end - first - 1)
    random = (end - first == 1) | (is_random < 0.5)
    partner = _share(other, len(documents) - 2)
    partner += partner >= candidates.document
    b_first, partner_end = documents[partner], documents[partner + 1]
    b_first = b_first + _share(start, partner_end - b_first)
    b_target = candidates.target - (starts[a_end] - starts[first])
    b_end = _reached(starts, starts[b_first] + b_target, b_first + 1, partner_end)
    return _Drawn(
        first,
        a_end,
        np.where(random, b_first, a_end),
        np.where(random, b_end, end),
        random.astype(np.int64),
        np.where(random, a_end, end),  # the rest of a chunk without its own B is put back
    )


def _sentence_order(candidates: _Candidates) -> _Drawn:
    """A chunk of at least two sentences is cut in two; a lone last sentence stands by itself."""
    first, (cut, is_swapped, *_) = candidates.number, candidates.draws
    end = _reached(
        candidates.sentence_starts,
        candidates.sentence_starts[first] + candidates.target,
        first + 2,
        candidates.document_end,
    )
    middle = first + 1 + _share(cut, end - first - 1)
    alone, swapped = first + 1 == candidates.document_end, is_swapped < 0.5
    return _Drawn(
        np.where(swapped & ~alone, middle, first),
        np.where(swapped | alone, end, middle),
        np.where(swapped | alone, first, middle),
        np.where(alone, first, np.where(swapped, middle, end)),
        np.where(alone, -1, swapped),
        end,
    )


def _full_sentences(candidates: _Candidates) -> _Drawn:
    """As many sentences of one document as the target holds, at least one."""
    starts, first = candidates.sentence_starts, candidates.number
    beyond = starts[first] + candidates.target + 1
    end = _reached(starts, beyond, first + 2, candidates.document_end + 1) - 1
    return _Drawn(first, end, first, first, np.full_like(first, -1), end)


def _reached(
    starts: np.ndarray, wanted: np.ndarray, least: np.ndarray, most: np.ndarray
) -> np.ndarray:
    """The first sentence that begins at the token `wanted` or later, from `least` to `most`."""
    return np.minimum(np.maximum(np.searchsorted(starts, wanted), least), most)


def _share(draw: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """A number below `count`, from a draw in [0, 1): int64."""
    return (draw * count).astype(np.int64)


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
