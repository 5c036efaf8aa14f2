"""Rows of a text or a pair of texts as inputs of the encoder (Devlin et al. 2018, section 4.1)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from bertjax.config import Classification, Regression
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.tasks.encoder_rows import joined
from bertjax.tasks.table_files import Row, read_table
from bertjax.tasks.task import Notes, TextInputs

_ROWS_AT_ONCE = 256  # are tokenized together
_MOST_CHARACTERS = 300  # of a text in a report


@dataclass(frozen=True)
class TextRecord:
    """A row of a table.

    Attributes:
        row: its line in the file.
        text, second: as they stand there; `second` is None for a single text.
        target: the number of its label, or its score; None if that was not read.
        token_ids, segment_ids: int32 [tokens], special tokens included.
    """

    row: int
    text: str
    second: str | None
    target: float | None
    token_ids: np.ndarray = field(repr=False, compare=False)
    segment_ids: np.ndarray = field(repr=False, compare=False)


def read_records(
    path: Path,
    with_targets: bool,
    notes: Notes,
    settings: Classification | Regression,
    inputs: TextInputs,
    target: Callable[[str], float],
    labels: Sequence[str] = (),
) -> Iterator[TextRecord]:
    """Yields a table's rows, tokenized a few hundred at a time.

    Args:
        path: as `read_table` takes it.
        with_targets: whether to read the label's column; without, it need not be there.
        notes: what is counted: rows with an empty text, rows cut to the length.
        settings: the names of the columns.
        inputs: what turns texts into tokens.
        target: a label's text to the number that stands for it; raises ValueError with what is
            wrong with it.
        labels: as `read_table` takes them.

    Raises:
        UserError: as `read_table`, or a label that `target` does not take.
    """
    names = {"text": settings.text, "second": settings.second, "label": settings.label}
    columns = {
        key: name
        for key, name in names.items()
        if name is not None and (with_targets or key != "label")
    }
    rows = read_table(path, columns, labels)
    while chunk := list(islice(rows, _ROWS_AT_ONCE)):
        targets = [_target(path, row, target) if with_targets else None for row in chunk]
        for row, number, ids in zip(chunk, targets, _encode(chunk, inputs, notes), strict=True):
            yield TextRecord(row.number, row.values["text"], row.values.get("second"), number, *ids)


def example_of(record: TextRecord, name: str, dtype: type[np.generic]) -> Example:
    """The record with its target called `name`, if it has one."""
    targets = {} if record.target is None else {name: np.asarray(record.target, dtype)}
    return Example(record.token_ids, record.segment_ids, targets)


def texts_of(record: TextRecord) -> dict[str, str]:
    """`text` and, of a pair, `second`, as a report shows them: their beginning if they are long."""
    texts = {"text": record.text, "second": record.second}
    return {
        name: text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
        for name, text in texts.items()
        if text is not None
    }


def kept_tokens(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept so that they fit into `room`.

    The longer one loses tokens from its end until they do, the second one first where both are of
    one length: `_truncate_seq_pair` of run_classifier.py, google-research/bert.
    """
    kept = min(first, max(room - second, (room + 1) // 2))
    return kept, min(second, room - kept)


def _target(path: Path, row: Row, target: Callable[[str], float]) -> float:
    try:
        return target(row.values["label"])
    except ValueError as error:
        raise UserError(f"{path}: row {row.number}: {error}") from error


def _encode(
    rows: Sequence[Row], inputs: TextInputs, notes: Notes
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Token ids and segment ids of each row."""
    names = [name for name in ("text", "second") if name in rows[0].values]
    texts = [row.values[name] for row in rows for name in names]
    encoded = inputs.tokenizer.encode_batch(texts, plain_text=True)
    for number, row in enumerate(rows):
        parts = encoded[number * len(names) : (number + 1) * len(names)]
        place = f"row {row.number}"
        if "" in map(row.values.get, names):
            notes.add("rows with an empty text", place)
        whole = sum(len(part) + 1 for part in parts) + 1
        if whole > inputs.length:
            notes.add(f"rows cut to {inputs.length} tokens", place)
        yield _cut(parts, inputs)


def _cut(parts: Sequence[list[int]], inputs: TextInputs) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and segment ids of a text or a pair, cut to the length."""
    room = inputs.length - 1 - len(parts)
    kept = kept_tokens(len(parts[0]), len(parts[1]), room) if len(parts) == 2 else (room,)
    cut = [part[:count] for part, count in zip(parts, kept, strict=True)]
    return joined(inputs.tokenizer, inputs.num_segments, *cut)
