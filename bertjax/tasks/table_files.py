"""Rows of labelled tables: TSV, CSV, JSON Lines (also compressed), or a prepared `tfds:` set.

TSV has no quoting, as the published data sets are written: a quotation mark is a character like any
other. CSV has it (RFC 4180). Both begin with a line that names the columns. A JSON line is an
object whose fields are the columns.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bertjax.errors import UserError
from bertjax.json_text import parse_json, whole_characters
from bertjax.text.normalization import composed
from bertjax.text.text_files import COMPRESSED_SUFFIXES, read_lines

_MAX_LINE_BYTES = 16 << 20
_CARRIAGE_RETURNS = "its lines end in a carriage return alone; let them end in a line feed"

Columns = Mapping[str, str]
"""The name of each column to read, by the field of `config.task` that holds it."""


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        number: the line of the file that it begins on, or its place in a `tfds:` split, from 1.
        values: without surrounding white space, by the field that names the column.
    """

    number: int
    values: dict[str, str]


def read_table(path: Path, columns: Columns, labels: Sequence[str] = ()) -> Iterator[Row]:
    """Yields the rows of a table as they are asked for.

    In a TSV or CSV file of one column a line without any character is a row, with an empty text;
    elsewhere it is none.

    Args:
        path: `.tsv` or `.txt`, `.csv`, `.jsonl`, each also `.gz`, `.xz` or `.zst`; or
            `tfds:NAME[@SPLIT]`, such as `tfds:glue/sst2@validation`.
        columns: which of them to read; others are left alone.
        labels: those that there may be; empty: any. A class of a `tfds:` set, which has a name and
            a number, is given by its number if that is among these and its name is not; a label
            1.0 in JSON is 1 unless 1.0 is among them.

    Raises:
        UserError: the file cannot be read or holds no rows; a column is missing; a row has more or
            fewer fields than the header, or is no JSON object with these fields.
    """
    rows = _rows(path, columns, labels)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path}: no rows in it")
    yield first
    yield from rows


def _rows(path: Path, columns: Columns, labels: Sequence[str]) -> Iterator[Row]:
    if str(path).startswith("tfds:"):
        return _tfds_rows(path, columns, labels)
    plain = path.with_suffix("") if path.suffix in COMPRESSED_SUFFIXES else path
    match plain.suffix.lower():
        case ".tsv" | ".txt":
            return _below_header(path, _tsv_fields(path), columns)
        case ".csv":
            return _below_header(path, _csv_fields(path), columns)
        case ".jsonl":
            return _json_rows(path, columns, labels)
    raise UserError(
        f"{path}: its name does not say what it holds: expected .tsv, .csv or .jsonl (also with "
        ".gz, .xz or .zst), or tfds:NAME@SPLIT"
    )


def _lines(path: Path) -> Iterator[str]:
    return read_lines(path, _MAX_LINE_BYTES, cut_long=False, strip=False)


def _tsv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_lines(path), start=1):
        if number == 1 and "\r" in line.rstrip("\r"):
            raise UserError(f"{path}: {_CARRIAGE_RETURNS}")
        yield number, line.split("\t") if line else []


def _csv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_MAX_LINE_BYTES)
    reader = csv.reader((f"{line}\n" for line in _lines(path)), strict=True)
    number = 1
    try:
        for fields in reader:
            yield number, fields
            number = reader.line_num + 1
    except csv.Error as error:
        if number == 1 and "new-line character" in str(error):
            raise UserError(f"{path}: {_CARRIAGE_RETURNS}") from error
        # An open quote ends at the library's limit of a field's size
        raise UserError(
            f"{path}: row {number}: {error}; a field with a comma, quote or line break stands in "
            'quotes, a quote in it is written ""'
        ) from error


def _below_header(
    path: Path, rows: Iterator[tuple[int, list[str]]], columns: Columns
) -> Iterator[Row]:
    """The rows after the first, which names the columns."""
    header = next((fields for _, fields in rows if fields), [])
    names = [name.strip() for name in header]
    if not names:
        raise UserError(f"{path}: empty; its first line names the columns")
    places = _places(path, columns, names)
    for number, fields in rows:
        if not fields and len(names) > 1:
            continue
        fields = fields or [""]
        if len(fields) != len(names):
            raise UserError(
                f"{path}: row {number}: {_count(len(fields), 'field')}, but the header has "
                f"{len(names)} ({_listed(names)}); mend or remove it"
            )
        yield Row(number, {field: fields[place].strip() for field, place in places.items()})


def _json_rows(path: Path, columns: Columns, labels: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}: row {number}"
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            if number == 1 and "\r" in line.strip():
                raise UserError(f"{path}: {_CARRIAGE_RETURNS}") from error
            told = f"{error.msg} at character {error.pos + 1}"
            raise UserError(f"{where}: not valid JSON ({told}); mend or remove it") from error
        except ValueError as error:  # a number or a nesting beyond all measure
            raise UserError(f"{where}: cannot be read ({error}); mend or remove it") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected a JSON object with the columns as its fields")
        found, places = list(row.values()), _places(where, columns, list(row))
        values = {
            field: _json_text(where, name, found[places[field]]) for field, name in columns.items()
        }
        if "label" in columns:
            values["label"] = _label_text(found[places["label"]], values["label"], labels)
        yield Row(number, values)


def _label_text(value: Any, text: str, labels: Sequence[str]) -> str:
    """A label's text; 1.0, as pandas writes 1 where a column has gaps, is 1 unless 1.0 is one."""
    whole = isinstance(value, float) and value.is_integer() and text not in labels
    return str(int(value)) if whole else text


def _json_text(where: str, name: str, value: Any) -> str:
    if isinstance(value, int | float):
        return json.dumps(value)
    if not isinstance(value, str):
        told = json.dumps(value)[:40]
        raise UserError(f"{where}: {name!r} must be a string or a number; found {told}")
    return whole_characters(value).strip()


def _tfds_rows(path: Path, columns: Columns, labels: Sequence[str]) -> Iterator[Row]:
    from bertjax.text import tfds_source

    features, source = tfds_source.split(str(path))
    names = list(features)
    wanted = {field: names[place] for field, place in _places(path, columns, names).items()}
    for number, example in enumerate(tfds_source.in_order(source), start=1):
        where = f"{path}: row {number}"
        yield Row(
            number,
            {
                field: _tfds_text(where, name, features[name], example[name], labels)
                for field, name in wanted.items()
            },
        )


def _tfds_text(where: str, name: str, feature: Any, value: Any, labels: Sequence[str]) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode().strip()
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: {name!r} is not UTF-8 text at byte {error.start}") from error
    if hasattr(feature, "int2str"):
        if value < 0:  # how the sets mark a hidden label
            return ""
        called = feature.int2str(int(value))
        return str(value) if called not in labels and str(value) in labels else called
    return str(value).strip()


def _places(where: Path | str, columns: Columns, names: Sequence[str]) -> dict[str, int]:
    """Where each column stands among the names of a header or an object.

    Raises:
        UserError: it lacks one of them, or has it twice.
    """
    forms, places = [composed(name) for name in names], {}
    for field, name in columns.items():
        if (count := forms.count(composed(name))) != 1:
            told = "no column" if count == 0 else f"{count} columns"
            raise UserError(
                f"{where}: {told} {name!r}, which task.{field} names; "
                f"there are {_listed(names) or 'none'}"
            )
        places[field] = forms.index(composed(name))
    return places


def _listed(names: Sequence[str]) -> str:
    """Names for a message: on one line, and no more of them than one can take in."""
    return ", ".join(name if name.isprintable() else repr(name) for name in names)[:200]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
