"""Files of SQuAD 1.1, SQuAD 2.0 and KorQuAD 1.0: questions, contexts, where the answers stand."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bertjax.errors import UserError
from bertjax.json_text import parse_json, whole_characters
from bertjax.tasks.task import Notes
from bertjax.text.text_files import read_lines

MOVED = "answers moved to where their text stands"
BLANK = "answers without a text (left out)"
NOT_FOUND = "answers whose text is not in the context (scored, not trained on)"

_MAX_BYTES = 1 << 32  # of a line; published files are one line
_KINDS = {str: "a text", list: "a list", int: "a whole number", bool: "true or false"}
_Value = TypeVar("_Value", str, list, int, bool)


class Answer(NamedTuple):
    """A right answer, and its (start, end) characters in the context; None: it is not in there."""

    text: str
    span: tuple[int, int] | None


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        row: its number in the file, from 1.
        id: the file's own name for it.
        text: what is asked.
        context: where the answer stands; one object for all questions on it.
        answers: the right ones, none if the context has no answer; None if labels were not read.
    """

    row: int
    id: str
    text: str
    context: str
    answers: tuple[Answer, ...] | None


def read_questions(
    path: Path, labelled: bool, unanswerable: bool, notes: Notes
) -> Iterator[Question]:
    """The questions of a file in their order.

    JSON is parsed as a whole. An answer whose offset points elsewhere is looked for: the
    occurrence nearest to the offset counts, and if there is none, one with other white space or in
    another Unicode normal form, which is then the answer.

    Args:
        path: JSON in SQuAD's layout, or `.jsonl` with a question a line; may be compressed.
        labelled: whether to read the answers, which must be there then.
        unanswerable: whether a question may be without an answer (SQuAD 2.0).
        notes: counts the answers that were moved, not found or blank.

    Raises:
        UserError: not such a file, or no question in it; a question without an answer that may not
            be; the message gives the place.
    """
    row = 0
    entries = _entries_of_lines(path) if ".jsonl" in path.suffixes[-2:] else _entries(path)
    for row, (place, context, entry) in enumerate(entries, 1):
        text, name = _value(entry, "question", str, place), _id(entry, place)
        asked = f"question {row} ({name})"
        answers = _answers(entry, context, place, asked, notes) if labelled else None
        if answers == () and not unanswerable:
            raise UserError(
                f"{place}: the question has no answer; "
                "such a file takes a run fine-tuned with --task.unanswerable=true"
            )
        yield Question(row, name, text, context, answers)
    if not row:
        raise UserError(f"{path}: no question in it")


def _entries(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Every question of SQuAD's layout: its place in the file, its context, and what it is."""
    articles = _value(_parse(path), "data", list, str(path))
    for first, article in enumerate(articles):
        place = f"{path}: data[{first}]"
        for second, paragraph in enumerate(_value(article, "paragraphs", list, place)):
            here = f"{place}.paragraphs[{second}]"
            context = _value(paragraph, "context", str, here)
            for number, entry in enumerate(_value(paragraph, "qas", list, here)):
                yield f"{here}.qas[{number}]", context, entry


def _entries_of_lines(path: Path) -> Iterator[tuple[str, str, Any]]:
    """The same of JSON Lines, a question each, as Hugging Face's `datasets` writes them.

    There the answers are an object of two lists, `text` and `answer_start`.
    """
    context = ""
    for number, line in enumerate(read_lines(path, _MAX_BYTES, cut_long=False), 1):
        if not line.strip():
            continue
        place = f"{path}: line {number}"
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise UserError(f"{place}: not valid JSON ({error})") from error
        own = _value(entry, "context", str, place)
        context = context if own == context else own  # one object for all questions on it
        if isinstance(answers := entry.get("answers"), dict):
            names = ("text", "answer_start")
            columns = [_value(answers, name, list, f"{place}: answers") for name in names]
            if len(columns[0]) != len(columns[1]):
                raise UserError(f"{place}: answers: as many texts as starts must be there")
            rows = zip(*columns, strict=True)
            entry["answers"] = [dict(zip(names, row, strict=True)) for row in rows]
        yield place, context, entry


def _parse(path: Path) -> Any:
    text = "\n".join(read_lines(path, _MAX_BYTES, cut_long=False))
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        near = text[max(error.pos - 20, 0) : error.pos + 20]
        raise UserError(
            f"{path}: line {error.lineno}: not valid JSON ({error.msg} near {near!r})"
        ) from error
    except ValueError as error:  # a number of thousands of digits, for one
        raise UserError(f"{path}: not valid JSON ({error})") from error


def _answers(
    entry: dict[str, Any], context: str, place: str, question: str, notes: Notes
) -> tuple[Answer, ...]:
    """The question's answers with their places; none where it is marked impossible."""
    if "is_impossible" in entry and _value(entry, "is_impossible", bool, place):
        return ()
    found = []
    for number, answer in enumerate(_value(entry, "answers", list, place)):
        here = f"{place}.answers[{number}]"
        text = _value(answer, "text", str, here)
        bare = text.strip()
        if not bare:
            notes.add(BLANK, question)
            continue
        start = _value(answer, "answer_start", int, here) + text.index(bare)
        span = _locate(context, bare, start, question, notes)
        there = context[slice(*span)] if span else bare
        found.append(Answer(text if there == bare else there, span))
    return tuple(found)


def _locate(
    context: str, text: str, start: int, question: str, notes: Notes
) -> tuple[int, int] | None:
    """Where the text stands: at `start`, or as near to it as it can be found."""
    if start >= 0 and context.startswith(text, start):
        return start, start + len(text)
    spans = _occurrences(context, re.escape(text)) or _occurrences(context, _loosely(text))
    notes.add(MOVED if spans else NOT_FOUND, question)
    return min(spans, key=lambda span: abs(span[0] - start)) if spans else None


def _occurrences(context: str, pattern: str) -> list[tuple[int, int]]:
    """Every span that the pattern matches, overlapping ones too."""
    return [match.span(1) for match in re.finditer(f"(?=({pattern}))", context)]


def _loosely(text: str) -> str:
    """A pattern for a text whatever its white space, as it is or in either normal form."""
    forms = (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    return "|".join(r"\s+".join(map(re.escape, form.split())) for form in dict.fromkeys(forms))


def _id(entry: dict[str, Any], place: str) -> str:
    """Some files number their questions."""
    if isinstance(entry.get("id"), int):
        return str(entry["id"])
    return _value(entry, "id", str, place)


def _value(entry: Any, name: str, kind: type[_Value], place: str) -> _Value:
    """A field of a JSON object; raises UserError if it is not there or of another type."""
    if not isinstance(entry, dict):
        raise UserError(f"{place}: expected a JSON object with {name!r}, as in SQuAD's files")
    if name not in entry:
        raise UserError(f"{place}: {name!r} is missing; expected the layout of SQuAD's files")
    if not isinstance(entry[name], kind):
        raise UserError(f"{place}: {name!r} must be {_KINDS[kind]}")
    value: Any = whole_characters(entry[name]) if kind is str else entry[name]
    return value
