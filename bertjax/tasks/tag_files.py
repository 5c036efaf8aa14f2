"""Labelled words or characters, one to a line and a blank line between sentences.

CoNLL: columns cut by tabs, or by spaces where a line has no tab; the first is the word. A line that
begins with `-DOCSTART-` begins a document (CoNLL-2003); a file without one is a single document.

KLUE-NER: a character, a tab and its label; a space is a character too; lines that begin with `##`
are comments.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from bertjax.errors import UserError
from bertjax.task_settings import Tagging
from bertjax.tasks.entities import OUTSIDE, well_formed
from bertjax.tasks.task import Notes
from bertjax.text.normalization import composed
from bertjax.text.text_files import read_lines

REPAIRED = "labels that begin an entity with I-, read as B-"

_DOCUMENT_START = "-DOCSTART-"
_COMMENT = "##"
_LABEL = re.compile(r"O|[BI]-.+")
_Row = tuple[int, list[str]]  # a line's number and its columns

_MAX_LINE_BYTES = 1 << 20
_MAX_TOKENS = 100_000  # of a sentence, which is held in memory


@dataclass(frozen=True)
class Sentence:
    """Words or characters with a label each.

    Attributes:
        row: the line of the first token, from 1.
        document: the number of its document in the file, from 0.
        tokens: words, or single characters.
        labels: of each token, well-formed BIO; empty where they were not asked for.
    """

    row: int
    document: int
    tokens: tuple[str, ...]
    labels: tuple[str, ...]


def read_sentences(
    path: Path, settings: Tagging, labelled: bool, notes: Notes, known: tuple[str, ...] = ()
) -> Iterator[Sentence]:
    """The file's sentences, read as they are asked for.

    Args:
        path: plain text, or compressed as its suffix says.
        settings: the layout, and the column of the labels.
        labelled: whether labels are read; otherwise all columns but the first are ignored.
        notes: counts labels that had to be repaired and, where labels are not read, rows of
            several columns in a sentence that has no labels in the column of labels.
        known: the labels that there may be, in NFC, as those that are read; empty: any.

    Raises:
        UserError: no sentence, a row with too few columns, without labels one with more or fewer
            than the first, a label that is no BIO label or is not known, or a file that cannot be
            read.
    """
    found, width = False, 0
    for document, rows in _groups(path, settings):
        first, found = rows[0][0], True
        if settings.layout == "conll" and not labelled:
            width = _check_width(path, rows, width)
            _note_further_columns(rows, settings, notes)
        tokens = tuple(_token(path, row, settings) for row in rows)
        labels = tuple(_label(path, row, settings, known) for row in rows) if labelled else ()
        repaired = tuple(well_formed(labels))
        pairs = zip(rows, labels, repaired, strict=False)  # no labels where they are not read
        if strays := [number for (number, _), old, new in pairs if old != new]:
            notes.add(REPAIRED, f"line {strays[0]}", len(strays))
        yield Sentence(first, document, tokens, repaired)
    if not found:
        raise UserError(f"{path}: no sentences in it; give a file with a token on each line")


def labels_of(path: Path, settings: Tagging) -> tuple[str, ...]:
    """O, and B- and I- of every type in the file, in alphabetical order.

    Raises:
        UserError: as `read_sentences`, or there is no entity.
    """
    types = {
        label[2:]
        for sentence in read_sentences(path, settings, True, Notes())
        for label in sentence.labels
        if label != OUTSIDE
    }
    if not types:
        raise UserError(f"{path}: every label is {OUTSIDE}; there is nothing to learn from it")
    return (OUTSIDE, *(f"{part}-{name}" for name in sorted(types) for part in "BI"))


def check_labels(labels: Sequence[str]) -> None:
    """Raises UserError unless all are BIO labels, and no type has an I- alone."""
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise UserError(f"task.labels: {label!r} is neither O nor B-TYPE nor I-TYPE")
        if label.startswith("I-") and f"B-{label[2:]}" not in labels:
            raise UserError(f"task.labels: {label} without B-{label[2:]}; add it")


def _groups(path: Path, settings: Tagging) -> Iterator[tuple[int, list[_Row]]]:
    """The number of its document and the rows of every sentence."""
    lines = enumerate(read_lines(path, _MAX_LINE_BYTES, cut_long=False, strip=False), 1)
    document, rows = 0, []
    for number, line in chain(lines, [(0, "")]):
        if settings.layout == "klue" and line.startswith(_COMMENT):
            continue
        columns = _columns(line, settings)
        starts_document = settings.layout == "conll" and columns[:1] == [_DOCUMENT_START]
        if columns and not starts_document:
            rows.append((number, columns))
            if len(rows) > _MAX_TOKENS:
                raise UserError(
                    f"{path}: line {number}: no blank line in {_MAX_TOKENS:,} lines; put one "
                    "between sentences"
                )
            continue
        if rows:
            yield document, rows
        document, rows = document + starts_document, []


def _columns(line: str, settings: Tagging) -> list[str]:
    """Of a row; none for the end of a sentence."""
    if settings.layout == "klue":
        character, tab, label = line.rpartition("\t")
        return [character, label] if tab else [line] if line else []
    if not line.strip(" \t"):
        return []
    # Other white space, such as a no-break space, may stand inside a token.
    return line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]


def _check_width(path: Path, rows: Sequence[_Row], width: int) -> int:
    """The columns of every row, `width` if that is known; refuses what looks like running text."""
    for number, columns in rows:
        width = width or len(columns)
        if len(columns) != width:
            raise UserError(
                f"{path}: line {number}: {len(columns)} columns, the first row has {width}; a row "
                "is one word, and what follows it is not read"
            )
    return width


def _note_further_columns(rows: Sequence[_Row], settings: Tagging, notes: Notes) -> None:
    """Tells of columns beside the words, unless a label stands where the settings say."""
    place = slice(settings.column, settings.column + 1 or None)
    further = [number for number, columns in rows if len(columns) > 1]
    labelled = all(any(map(_LABEL.fullmatch, columns[place])) for _, columns in rows)
    if further and not labelled:
        notes.add("rows whose further columns are not read", f"line {further[0]}", len(further))


def _token(path: Path, row: _Row, settings: Tagging) -> str:
    number, columns = row
    token = columns[0]
    if settings.layout == "klue" and len(token) != 1:
        raise UserError(
            f"{path}: line {number}: {token!r} is not one character; words need task.layout=conll"
        )
    return token


def _label(path: Path, row: _Row, settings: Tagging, known: tuple[str, ...]) -> str:
    number, columns = row
    column = -1 if settings.layout == "klue" else settings.column
    where = f"{path}: line {number}"
    if len(columns) < 2 or not -len(columns) <= column < len(columns):
        raise UserError(
            f"{where}: too few columns ({len(columns)}); a row is a token and its label "
            f"(task.column={column})"
        )
    label = composed(columns[column].strip())
    if not _LABEL.fullmatch(label):
        raise UserError(
            f"{where}: the label {label!r} is neither O nor B-TYPE nor I-TYPE; "
            "task.column says where labels stand"
        )
    if known and label not in known:
        types = ", ".join(sorted({name[2:] for name in known if name != OUTSIDE}))
        raise UserError(
            f"{where}: unknown label {label!r}; the types are {types} (task.labels, or if that is "
            "not set, the training file's)"
        )
    return label
