"""A question and its context as inputs of the encoder: long contexts in overlapping windows."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bertjax.tasks.squad_files import Question
from bertjax.text.tokenizer import Tokenizer

# Kept tokenized: the questions on a context follow one another, and what is predicted is cut into
# windows before and after the model has read it, a thousand questions at a time.
_CONTEXTS = 1024


class Context(NamedTuple):
    """A context's tokens.

    Attributes:
        token_ids: int32 [tokens].
        spans: int32 [tokens, 2], the (start, end) characters of each; equal where a token stands
            for no character of its own.
    """

    token_ids: np.ndarray
    spans: np.ndarray


@dataclass(frozen=True)
class Windows:
    """A question with every window of its context.

    Attributes:
        question_ids: int32 [question tokens].
        context: all of it.
        ranges: the context tokens in each window, at least one window.
    """

    question_ids: np.ndarray
    context: Context
    ranges: tuple[range, ...]

    @property
    def context_start(self) -> int:
        """The position of a window's first context token: after `[CLS] question [SEP]`."""
        return len(self.question_ids) + 2

    def may_answer(self, window: range) -> np.ndarray:
        """bool [tokens of the input]: the context tokens that stand for characters."""
        spans = self.context.spans[window.start : window.stop]
        return self.at_context(spans[:, 1] > spans[:, 0])

    def at_context(self, values: np.ndarray) -> np.ndarray:
        """[context tokens of a window] to [tokens of its input], 0 around them."""
        return np.pad(values, (self.context_start, 1))


def windows_of(
    tokenizer: Tokenizer, length: int, stride: int, max_question_tokens: int
) -> Callable[[Question], Windows]:
    """The function that cuts a question's context into windows.

    A context is tokenized once for questions that are near to one another. A window takes what
    `[CLS] question [SEP] context [SEP]` leaves of `length`. `stride` is cut to half of that, so
    that every answer of up to half a window lies whole in one of them.

    Args:
        tokenizer: the model's; special tokens written out in a text are read as text.
        length: the most tokens of an input, at least `max_question_tokens` + 4.
        stride: tokens from one window's start to the next.
        max_question_tokens: what a question has beyond is left out.
    """
    encode = functools.lru_cache(_CONTEXTS)(functools.partial(_encode_context, tokenizer))

    def cut(question: Question) -> Windows:
        ids = tokenizer.encode(question.text, plain_text=True)[:max_question_tokens]
        context = encode(question.context)
        room = length - len(ids) - 3
        ranges = _ranges(len(context.token_ids), room, max(min(stride, room // 2), 1))
        return Windows(np.array(ids, np.int32), context, ranges)

    return cut


def most_context(ranges: Sequence[range]) -> list[np.ndarray]:
    """Per window, bool [its context tokens]: whether it shows more around the token than others.

    The lesser of the tokens on either side counts, then the window's size; of equal windows the
    first wins (google-research/bert run_squad.py, `_check_is_max_context`).
    """
    tokens = max(window.stop for window in ranges)
    best, owner = np.full(tokens, -np.inf), np.zeros(tokens, np.int64)
    for number, window in enumerate(ranges):
        before = np.arange(len(window))
        score = np.minimum(before, before[::-1]) + 0.01 * len(window)
        own = slice(window.start, window.stop)
        owner[own] = np.where(score > best[own], number, owner[own])
        best[own] = np.maximum(score, best[own])
    return [owner[w.start : w.stop] == number for number, w in enumerate(ranges)]


def token_range(context: Context, span: tuple[int, int]) -> range | None:
    """The tokens that hold these characters, whole tokens; None where no token does."""
    starts, ends = context.spans.T
    (inside,) = np.nonzero((starts < span[1]) & (ends > span[0]) & (ends > starts))
    return range(int(inside[0]), int(inside[-1]) + 1) if len(inside) else None


def _encode_context(tokenizer: Tokenizer, text: str) -> Context:
    ids, offsets = tokenizer.encode_with_offsets(text, plain_text=True)
    return Context(np.array(ids, np.int32), np.array(offsets, np.int32).reshape(-1, 2))


def _ranges(tokens: int, room: int, stride: int) -> tuple[range, ...]:
    """Windows of at most `room` tokens; the last one ends where the context does."""
    starts = range(0, max(tokens - room, 0) + stride, stride)
    return tuple(range(start, min(start + room, tokens)) for start in starts)
