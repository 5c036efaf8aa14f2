"""A labelled task as a handful of plain functions, and what is common to all of them."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bertjax.config import ModelConfig, TaskConfig
from bertjax.data.examples import Example

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

Logits = dict[str, jax.Array]
Sums = dict[str, jax.Array]
MOST_MISTAKES = 20  # that a report tells one by one


@dataclass
class Notes:
    """What was repaired or left out on reading.

    Attributes:
        counts: how often, by what it was, in words.
        first: where in the file the first of each is, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, place: str, times: int = 1) -> None:
        """Counts `what`, found `times` times at `place`."""
        self.counts[what] += times
        self.first.setdefault(what, place)


@dataclass(frozen=True)
class TextInputs:
    """How texts become tokens.

    Attributes:
        tokenizer: the model's.
        length: the most tokens of a row, special ones included.
        num_segments: of the model.
    """

    tokenizer: "Tokenizer"
    length: int
    num_segments: int


@dataclass(frozen=True)
class Task:
    """Everything that training, evaluation and prediction ask of a task.

    A *record* is what one prediction is made for: a row of a table, a sentence, a question. It is
    a frozen dataclass of the task's own.

    Attributes:
        settings: `config.task` with what the training file told, such as the labels: with these,
            the task can be made again without that file.
        heads: the parts of the model besides the encoder, of `bert.HEADS`.
        labels: what the outputs stand for (`ModelConfig.labels`); empty for a span head.
        read: (path, whether labels must be there, notes to add to) to the file's records, read as
            they are asked for. Raises UserError with the file, the row and what to do.
        examples: a record to its windows, at least one, each at most `data.length` tokens; their
            targets are empty if the record has no labels.
        logits: (params, the model's config with these labels, hidden [rows, length, hidden],
            dropout) to float32 arrays by name, [rows, examples, ...] or [rows, length, ...].
            `dropout` is a function of an array [rows, ...] that the head's input goes through.
            With `positions`, hidden is [rows, count, hidden].
        loss: (logits, batch) to the sum and the count of each of the task's losses (a name that
            ends in `_loss`) and per-batch figures.
        predict: (record, for each of its examples the logits by name: [tokens, ...] or [...]) to
            the object that `bertjax predict` writes.
        score: (records with labels, predictions) to the task's metrics; never empty.
        details: (records with labels, predictions) to more of the report, for JSON: tables by
            name, and samples of what went wrong.
        calibrate: (records of the dev file, predictions of the best step) to the settings that
            suit them best, which the run keeps, and the predictions with these; None where a task
            has nothing to settle after training.
        positions: a batch from `pack_examples` to the positions int32 [rows, count] whose hidden
            states `logits` reads; None for all of them.
    """

    settings: TaskConfig
    heads: tuple[str, ...]
    labels: tuple[str, ...]
    read: Callable[[Path, bool, Notes], Iterator[Any]]
    examples: Callable[[Any], list[Example]]
    logits: Callable[[Any, ModelConfig, jax.Array, Callable[..., jax.Array]], Logits]
    loss: Callable[[Logits, Mapping[str, jax.Array]], tuple[Sums, Sums]]
    predict: Callable[[Any, Sequence[Mapping[str, Any]]], dict[str, Any]]
    score: Callable[[Sequence[Any], Sequence[dict[str, Any]]], dict[str, float]]
    details: Callable[[Sequence[Any], Sequence[dict[str, Any]]], dict[str, Any]]
    calibrate: (
        Callable[[Sequence[Any], Sequence[dict[str, Any]]], tuple[Any, list[dict[str, Any]]]] | None
    ) = None
    positions: Callable[[Mapping[str, jax.Array]], jax.Array] | None = None


def spread_out(places: Sequence[int]) -> list[int]:
    """At most `MOST_MISTAKES` of these, at equal distances."""
    count = min(MOST_MISTAKES, len(places))
    return [places[n] for n in np.linspace(0, len(places) - 1, count).round().astype(int)]


def file_entry(file: str, records: int, notes: Notes) -> dict[str, Any]:
    """What a report says about a labelled file."""
    return {
        "file": Path(file).name,  # without the folders above it on this machine
        "records": records,
        "notes": dict(notes.counts),
        "first_places": notes.first,
    }


def tell_notes(file: Path | str, notes: Notes) -> None:
    """Says on standard error what was repaired or left out, and where the first of it is."""
    for what, count in notes.counts.items():
        print(f"bertjax: {file}: {count:,} {what}; first: {notes.first[what]}", file=sys.stderr)
