"""One sentence per line, or running text that has to be split first."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue]

SentenceMode = Literal["lines", "split"]

# Its rules for abbreviations; the language makes no difference to Korean text.
_LANGUAGE = "en"
_FULL_STOPS = "。！？｡"  # scripts that put no space after a sentence
_CLOSING = "\"'”’」』)）]】》〉"
_SENTENCE_END = (*".!?…", *_FULL_STOPS)
_QUOTES = r"[\"'“”‘’«»()\[\]]"
_WIDE_SPACE = re.compile(r"(?![\x00-\x7f])\s")
_FULL_STOP = re.compile(f"[{_FULL_STOPS}]+[{re.escape(_CLOSING)}]*")
_BRACKETS = ("「」", "『』", "（）", "【】", "《》", "〈〉", "“”", "‘’", "«»", "()", "[]")
_BLOCK = 4096  # characters
_SUSPICIOUS_LENGTH = 300  # characters; longer sentences may hide a quotation that never closes
_SEVERAL_SENTENCES = 0.1  # share of lines; files of one sentence per line stay below 0.06


def choose_mode(lines: Sequence[str]) -> SentenceMode:
    """Decides from a sample of consecutive lines whether they are sentences or running text.

    Running text is where more than a tenth of the lines hold several sentences, or where lines are
    broken at a fixed width.
    """
    full = [line for line in lines if line.strip()]
    if _is_wrapped(full):
        return "split"
    several = sum(len(_sentences(line)) > 1 for line in full)
    return "split" if several > _SEVERAL_SENTENCES * len(full) else "lines"


def split_sentences(lines: Sequence[str]) -> Iterator[str]:
    """Splits the running text of one document, each line a paragraph, into sentences.

    Lines broken at a fixed width are joined first. No character other than white space is lost.
    """
    paragraphs = [" ".join(lines)] if _is_wrapped(lines) else lines
    for paragraph in paragraphs:
        yield from _sentences(paragraph)


def _sentences(paragraph: str) -> list[str]:
    """Sentences of a paragraph, stripped, none of them empty.

    A boundary that the library sees inside a word is undone: Korean writes a particle directly
    after a quotation ("안녕."라고) and a dot between nouns.
    """
    sentences: list[str] = []
    joined = ""
    for part in _parts(paragraph):
        joined += part
        if _ends_here(part) and any(map(str.isalnum, joined)):
            sentences.append(joined.strip())
            joined = ""
    if joined.strip():
        if sentences and not any(map(str.isalnum, joined)):
            sentences[-1] = f"{sentences[-1]} {joined.strip()}"
        else:
            sentences.append(joined.strip())
    return sentences


def _parts(text: str) -> Iterator[str]:
    """The library's segments, in order, nothing lost.

    It is shown plain spaces alone: before a full stop it takes any other white space for one byte,
    and breaks down ("Plan B\u00a0.").
    """
    start = 0
    for block in _blocks(_WIDE_SPACE.sub(" ", text)):
        for part in _segments(block):
            yield text[start : start + len(part)]
            start += len(part)


def _blocks(text: str) -> Iterator[str]:
    """A text cut after full stops that need no space, each part long but the last.

    The library takes time by the square of the number of such full stops. A part ends outside
    brackets and quotations, unless one does not close for as long as a part should be.
    """
    start = 0
    for found in _FULL_STOP.finditer(text):
        part = text[start : found.end()]
        if len(part) >= _BLOCK and (len(part) >= 2 * _BLOCK or _are_closed(part)):
            yield part
            start = found.end()
    yield text[start:]


def _are_closed(part: str) -> bool:
    if part.count('"') % 2:
        return False
    return all(part.count(opening) == part.count(closing) for opening, closing in _BRACKETS)


def _segments(text: str) -> Iterator[str]:
    """The library's segments of a text.

    The library never cuts inside quotation marks or brackets, and one that is not closed can make
    a single segment of a whole page: long ones are cut again as if they held none.
    """
    for part in segment(_LANGUAGE, text):
        if len(part) <= _SUSPICIOUS_LENGTH:
            yield part
            continue
        opening_gone = re.sub(rf"(?<!\S){_QUOTES}+", lambda found: "A" * len(found[0]), part)
        start = 0
        for piece in segment(_LANGUAGE, re.sub(_QUOTES, " ", opening_gone)):
            yield part[start : start + len(piece)]
            start += len(piece)


def _ends_here(part: str) -> bool:
    return part[-1].isspace() or part.rstrip(_CLOSING).endswith(tuple(_FULL_STOPS))


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Whether lines are broken at a fixed width: similar lengths, and sentences run over them."""
    if len(lines) < 4:
        return False
    width = max(map(len, lines))
    long = sum(len(line) > 0.7 * width for line in lines)
    running = sum(not line.rstrip(_CLOSING).endswith(_SENTENCE_END) for line in lines[:-1])
    return width <= 120 and long > 0.6 * len(lines) and running > 0.5 * len(lines)
