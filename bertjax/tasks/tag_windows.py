"""Windows of a tagged sentence: what of its document is seen around it, and long ones cut."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

from bertjax.tasks.tag_files import Sentence
from bertjax.tasks.tag_pieces import Pieces


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence in pieces, with those around it.

    Attributes:
        sentence: as it stands in the file.
        pieces: its pieces.
        before, after: ids of pieces of the sentences before and after it in its document, the
            nearest ones.
    """

    sentence: Sentence
    pieces: Pieces
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def row(self) -> int:
        """The line of its first token."""
        return self.sentence.row


class Window(NamedTuple):
    """A stretch of a sentence's pieces and its context, all numbered from the context's first.

    Attributes:
        start, end: the pieces that are seen, `end` not included.
        first, last: those among them that are labelled here, `last` not included.
    """

    start: int
    end: int
    first: int
    last: int


def with_context(sentences: Iterable[TaggedSentence], size: int) -> Iterator[TaggedSentence]:
    """The sentences with at most `size` pieces of their document on either side.

    Reads ahead no further than these need.
    """
    for _, document in groupby(sentences, key=lambda each: each.sentence.document):
        yield from _within_document(document, size)


def _within_document(sentences: Iterator[TaggedSentence], size: int) -> Iterator[TaggedSentence]:
    before: tuple[int, ...] = ()
    waiting = deque(islice(sentences, 1))
    while waiting:
        current = waiting.popleft()
        while sum(len(each.pieces.ids) for each in waiting) < size:
            if (following := next(sentences, None)) is None:
                break
            waiting.append(following)
        after = tuple(islice((index for each in waiting for index in each.pieces.ids), size))
        yield dataclasses.replace(current, before=before, after=after)
        before = (*before, *current.pieces.ids)[-size:] if size else ()
        waiting.extend(islice(sentences, 0 if waiting else 1))


def windows(sentence: TaggedSentence, room: int) -> Iterator[Window]:
    """Windows of at most `room` pieces; each piece of the sentence is labelled in one of them.

    A sentence that fits has one window, its context shared evenly between both sides. A longer one
    is cut so that every piece is labelled where a quarter of a window is seen on either side of
    it, or all that there is. `room` is at least 4.
    """
    first = len(sentence.before)
    last = first + len(sentence.pieces.ids)
    total = last + len(sentence.after)
    if (spare := room - (last - first)) >= 0:
        left = min(first, max(spare // 2, spare - (total - last)))
        right = min(total - last, spare - left)
        yield Window(first - left, last + right, first, last)
        return
    margin = room // 4
    while first < last:
        start = max(0, min(first - margin, total - room))
        end = min(total, start + room)
        labelled = last if end == total else min(last, end - margin)
        yield Window(start, end, first, labelled)
        first = labelled
