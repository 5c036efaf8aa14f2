"""One of several labels for a text or a pair of texts (Devlin et al. 2018, section 4.1)."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import Classification, ModelConfig
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.model.positions import classifier_positions
from bertjax.tasks.classification_scores import classification_details, classification_scores
from bertjax.tasks.table_files import read_table
from bertjax.tasks.task import Logits, Sums, Task, TextInputs
from bertjax.tasks.text_records import TextRecord, example_of, read_records
from bertjax.text.normalization import composed

HEADS = ("pooler", "classification_head")
_WEIGHTS = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def classification_task(settings: Classification, inputs: TextInputs, train: Path | None) -> Task:
    """The task of these settings; records are `TextRecord`s.

    Args:
        settings: its labels may be empty if `train` is given.
        inputs: longer texts are cut.
        train: the training file; its labels alone are read, to count them.

    Raises:
        UserError: a file that cannot be read, fewer than two labels, weights that are not theirs,
            or F1 of more than two.
    """
    settings = dataclasses.replace(settings, labels=tuple(map(composed, settings.labels)))
    counts = _count_labels(train, settings) if train else {}
    labels = settings.labels or tuple(sorted(counts))
    _check_labels(labels, settings, train)
    weights = settings.label_weights
    if settings.class_weights == "balanced" and counts and not weights:
        weights = balanced_weights([counts.get(label, 0) for label in labels])
    return Task(
        settings=dataclasses.replace(settings, labels=labels, label_weights=weights),
        heads=HEADS,
        labels=labels,
        read=functools.partial(
            read_records,
            settings=settings,
            inputs=inputs,
            target=functools.partial(_label_number, labels=labels),
            labels=labels,
        ),
        examples=lambda record: [example_of(record, "labels", np.int32)],
        logits=classifier_logits,
        positions=first_positions,
        loss=functools.partial(classification_loss, weights=weights or (1.0,) * len(labels)),
        predict=functools.partial(_predict, labels=labels),
        score=functools.partial(classification_scores, labels=labels),
        details=functools.partial(classification_details, labels=labels, training_rows=counts),
    )


def first_positions(batch: Mapping[str, jax.Array]) -> jax.Array:
    """int32 [rows, examples]: where each example of a packed batch begins, with its `[CLS]`."""
    return classifier_positions(batch["pair_ids"], batch["example_ids"].shape[1])


def classifier_logits(
    params: bert.Params,
    config: ModelConfig,
    hidden: jax.Array,
    dropout: Callable[..., jax.Array],
) -> Logits:
    """`classification`, float32 [rows, examples, labels]: pooler, dropout, one matrix product.

    As `BertForSequenceClassification` of transformers and `run_classifier.py` of
    google-research/bert.

    Args:
        params: with a pooler and a classification head.
        config: the model's, with its labels.
        hidden: [rows, examples, hidden], at `first_positions`.
        dropout: of the head's input.
    """
    pooled = bert.pooled(params, config, hidden)
    return {"classification": bert.classification_logits(params, config, dropout(pooled))}


def classification_loss(
    logits: Logits, batch: Mapping[str, jax.Array], *, weights: Sequence[float]
) -> tuple[Sums, Sums]:
    """Cross entropy weighted by class, as PyTorch's `CrossEntropyLoss(weight)`, and accuracy.

    Args:
        logits: from `classifier_logits`.
        batch: with `labels`, int32 [rows, examples].
        weights: one for each label.
    """
    outputs, labels = logits["classification"], batch["labels"]
    present = (batch["example_ids"] >= 0).astype(jnp.float32)
    chances = jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[..., None], axis=-1)[..., 0]
    weight = jnp.asarray(weights, jnp.float32)[labels] * present
    hits = (jnp.argmax(outputs, axis=-1) == labels) * present
    sums = {"classification_loss": -jnp.sum(chances * weight), "accuracy": jnp.sum(hits)}
    return sums, {"classification_loss": jnp.sum(weight), "accuracy": jnp.sum(present)}


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """With which each label weighs the same in all rows: rows / (labels x the label's rows).

    As scikit-learn's `compute_class_weight("balanced")`; a label without rows counts as one row.
    """
    sizes = np.maximum(counts, 1)
    return tuple((np.sum(counts) / (len(sizes) * sizes)).tolist())


def _count_labels(train: Path, settings: Classification) -> Counter[str]:
    """The rows of each label in the training file."""
    counts: Counter[str] = Counter()
    for row in read_table(train, {"label": settings.label}, settings.labels):
        label = composed(row.values["label"])
        try:
            _label_number(label, settings.labels or (label,))
        except ValueError as error:
            raise UserError(f"{train}: row {row.number}: {error}") from error
        counts[label] += 1
    return counts


def _label_number(label: str, labels: tuple[str, ...]) -> int:
    """Where a label stands among all of them; ValueError with what is wrong if it does not."""
    if not label:
        raise ValueError("no label; give it one or remove the row")
    if (label := composed(label)) in labels:
        return labels.index(label)
    known = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    raise ValueError(
        f"unknown label {label[:40]!r}; the labels are {known} (task.labels, or if that is not "
        "set, the training file's)"
    )


def _check_labels(labels: tuple[str, ...], settings: Classification, train: Path | None) -> None:
    if len(labels) < 2 or len(set(labels)) < len(labels):
        where = "task.labels" if settings.labels else f"{train}: column {settings.label!r}"
        found = ", ".join(labels) or "none"
        raise UserError(f"{where}: expected two different labels or more, found {found}")
    weights, (least, most) = settings.label_weights, _WEIGHTS
    if weights and (len(weights) != len(labels) or not all(least <= x <= most for x in weights)):
        raise UserError(
            f"task.label_weights={list(weights)}: expected a number from {least:.1e} to "
            f"{most:.1e}, which float32 holds, for each of the labels {', '.join(labels)}"
        )
    if settings.metric == "f1" and len(labels) != 2:
        raise UserError(
            f"task.metric=f1 is for two labels, the second the positive one, not {len(labels)}: "
            "choose macro_f1"
        )


def _predict(
    record: TextRecord, logits: Sequence[Mapping[str, Any]], *, labels: tuple[str, ...]
) -> dict[str, Any]:
    """The record's row, the likeliest label, and the probability of each."""
    outputs = np.asarray(logits[0]["classification"], np.float64)
    chances = np.exp(outputs - outputs.max())
    chances /= chances.sum()
    probabilities = dict(zip(labels, chances.tolist(), strict=True))
    label = labels[int(chances.argmax())]
    return {"row": record.row, "label": label, "probabilities": probabilities}
