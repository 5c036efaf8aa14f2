"""The report of a fine-tuning run as text for a terminal, or as Markdown."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MOST_LABELS = 12  # with more of them, the commonest confusions stand for the whole matrix
_MOST_CONFUSIONS = 20
_MOST_SAMPLES = 5  # of the mistakes; the report holds more
_SHORT = 40  # characters; longer values stand on lines of their own
_FILES = ("train", "dev", "data")  # `data`: what `bertjax evaluate` was given
_NUMBER = re.compile(r"-|-?[0-9,]+(\.[0-9]+)?")


class Table(NamedTuple):
    """What both renderings show: rows of cells, each a string.

    Attributes:
        title: what the table tells.
        header: the name of each column.
        rows: as many cells each as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def report_text(report: Mapping[str, Any]) -> str:
    """A report, as `report.json` holds it, in aligned columns, with a few of its mistakes."""
    parts = []
    for table in report_tables(report):
        lines = _listed(table) if _is_long(table) else _aligned(table)
        parts.append("\n".join([table.title, *(f"  {line}".rstrip() for line in lines)]))
    return "\n\n".join(parts) + "\n"


def report_markdown(report: Mapping[str, Any]) -> str:
    """The report in GitHub's Markdown, without mistakes, which quote the data."""
    parts = []
    for table in report_tables(report, samples=False):
        lines = _listed(table, "- ") if _is_long(table) else _piped(table)
        parts.append("\n".join([f"### {table.title}", "", *lines]))
    return "\n\n".join(parts) + "\n"


def report_tables(report: Mapping[str, Any], samples: bool = True) -> list[Table]:
    """The report's tables: what was run, its figures, what was repaired, and every detail.

    A detail is a dict of values, a list of such dicts, or a confusion matrix (`labels` and
    `counts`).
    """
    tables = [_run_table(report), _figures_table(report), _notes_table(report)]
    for name, detail in report.get("details", {}).items():
        title = name.replace("_", " ")
        if name == "errors" and not samples:
            continue
        if isinstance(detail, list):
            most = _MOST_SAMPLES if name == "errors" else len(detail)
            tables.append(_rows_table(title, detail[:most]))
        elif {"labels", "counts"} <= detail.keys():
            tables.append(_confusion_table(title, detail["labels"], detail["counts"]))
        else:
            tables.append(_rows_table(title, [detail]))
    return [table for table in tables if table.rows]


def _run_table(report: Mapping[str, Any]) -> Table:
    """The report's own values, and its labelled files."""
    rows = [
        (name.replace("_", " "), _cell(value))
        for name, value in report.items()
        if not isinstance(value, dict | list)
    ]
    for name in _FILES:
        if file := report.get(name):
            rows.append((name, f"{file['file']}, {_cell(file['records'])} records"))
    return Table("run", ("what", "value"), rows)


def _figures_table(report: Mapping[str, Any]) -> Table:
    """A row for each figure; with several seeds also their mean, spread, and each one's."""
    seeds: Mapping[str, Any] = report.get("seeds", {})
    columns: dict[str, Mapping[str, Any]] = {"value": report["figures"]}
    if seeds:
        columns = {"best": report["figures"], "mean": report["mean"]}
        columns["standard deviation"] = report["standard_deviation"]
        columns |= {f"seed {seed}": figures for seed, figures in seeds.items()}
    rows = [
        (name, *(_cell(figures.get(name)) for figures in columns.values()))
        for name in report["figures"]
    ]
    return Table("figures", ("figure", *columns), rows)


def _notes_table(report: Mapping[str, Any]) -> Table:
    """What was repaired or left out of each file."""
    rows = [
        (name, what, _cell(count), report[name].get("first_places", {}).get(what, "-"))
        for name in _FILES
        for what, count in report.get(name, {}).get("notes", {}).items()
    ]
    return Table("repaired or left out", ("file", "what", "count", "first"), rows)


def _rows_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    header = tuple(dict.fromkeys(name for row in rows for name in row))
    cells = [tuple(_cell(row.get(name)) for name in header) for row in rows]
    return Table(title, tuple(name.replace("_", " ") for name in header), cells)


def _confusion_table(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    """The matrix, a row for each true label; of many labels, what is confused most."""
    if len(labels) <= _MOST_LABELS:
        rows = [(label, *map(_cell, own)) for label, own in zip(labels, counts, strict=True)]
        return Table(f"{title}: true labels down, predicted across", ("", *labels), rows)
    pairs = [
        (count, true, predicted)
        for true, own in zip(labels, counts, strict=True)
        for predicted, count in zip(labels, own, strict=True)
        if true != predicted and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [(true, predicted, _cell(count)) for count, true, predicted in pairs[:_MOST_CONFUSIONS]]
    return Table(f"{title}: the commonest", ("true", "predicted", "count"), rows)


def _cell(value: Any) -> str:
    """A value in a few characters, on one line."""
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
    if isinstance(value, list | tuple):
        return "; ".join(map(_cell, value)) or "-"
    return " ".join(str(value).split())


def _is_long(table: Table) -> bool:
    """Whether its rows are better listed than set in columns."""
    return len(table.header) > 2 and any(len(cell) > _SHORT for row in table.rows for cell in row)


def _listed(table: Table, mark: str = "") -> list[str]:
    """A line with the short values of each row, and one below for each long column."""
    long = [
        any(len(row[place]) > _SHORT for row in table.rows) for place in range(len(table.header))
    ]
    lines = []
    for row in table.rows:
        named = list(zip(table.header, row, long, strict=True))
        short = ", ".join(f"{name} {cell}" for name, cell, is_long in named if not is_long)
        lines.append(f"{mark}{short}")
        lines += [f"  {mark}{name}: {cell}" for name, cell, is_long in named if is_long]
    return lines


def _aligned(table: Table) -> list[str]:
    rows = [table.header, *table.rows]
    widths = [max(_width(row[place]) for row in rows) for place in range(len(table.header))]
    numeric = _numeric(table)
    return [
        "  ".join(
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        for row in rows
    ]


def _piped(table: Table) -> list[str]:
    rule = ["---:" if right else "---" for right in _numeric(table)]
    rows = [table.header, *table.rows]
    head, *body = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
    return [f"| {line} |" for line in (head, " | ".join(rule), *body)]


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers alone: these stand to the right."""
    return [
        all(_NUMBER.fullmatch(cell) for cell in cells) for cells in zip(*table.rows, strict=True)
    ]


def _width(text: str) -> int:
    """Columns on a terminal, where Korean characters take two."""
    return sum(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text)
