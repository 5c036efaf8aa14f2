"""Whether a training file has something to teach, and a labelled one something to score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.config import Regression, Tagging, TaskConfig
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.tasks.entities import OUTSIDE
from bertjax.tasks.text_records import TextRecord
from bertjax.train.run import tell


def check_targets(file: Path, examples: Sequence[Example], labels: Sequence[str]) -> None:
    """Refuses a training file of which nothing but a constant can be learnt.

    Args:
        file: its name, for the message.
        examples: all of its windows.
        labels: what the numbers in their targets stand for.

    Raises:
        UserError: every row has one label or one score, every tag is O, or no question has an
            answer in its context.
    """
    nothing = "there is nothing to learn from it"
    targets = [example.targets for example in examples]
    if "is_start" in targets[0] and not any(each["is_start"].any() for each in targets):
        raise UserError(f"{file}: no question has an answer that is in its context")
    if "tag_ids" in targets[0]:
        outside = labels.index(OUTSIDE) if OUTSIDE in labels else -1
        if all(np.all(each["tag_ids"][each["tag_weights"] > 0] == outside) for each in targets):
            raise UserError(f"{file}: every label is {OUTSIDE}; {nothing}")
    for name in ("labels", "scores"):
        if name in targets[0] and len(found := {each[name].item() for each in targets}) == 1:
            (only,) = found
            shown = f"the label {labels[only]!r}" if name == "labels" else f"the score {only:g}"
            raise UserError(f"{file}: every row has {shown}; {nothing}")


def check_labels_of_dev(
    train: Path,
    dev: Path,
    training: Sequence[TextRecord],
    held_out: Sequence[TextRecord],
    labels: Sequence[str],
) -> None:
    """Refuses a dev file of a classification with a label that no row of the training file has.

    Raises:
        UserError: it names the first such row.
    """
    known = {record.target for record in training}
    for record in held_out:
        if record.target not in known:
            label = labels[int(record.target or 0)]
            raise UserError(
                f"{dev}: row {record.row}: no row of {train} has the label {label!r}; "
                "mix the rows before you divide them into two files"
            )


def check_scorable(file: Path, records: Sequence[Any], settings: TaskConfig) -> None:
    """Refuses scores to which nothing correlates; tells where there is no entity to find.

    Args:
        file: its name, for the message.
        records: all of it, with labels; at least one.
        settings: of the task.

    Raises:
        UserError: every row has the same score, as where GLUE's test sets hide it.
    """
    if isinstance(settings, Regression) and len({record.target for record in records}) == 1:
        raise UserError(
            f"{file}: every row has the score {records[0].target:g}; there is nothing to correlate"
        )
    if isinstance(settings, Tagging):
        labels = {label for record in records for label in record.sentence.labels}
        if labels == {OUTSIDE}:
            tell(f"{file}: every label is {OUTSIDE}; without an entity f1 says nothing")
