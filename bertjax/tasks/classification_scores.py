"""How right predicted labels are, and where they are wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.tasks.task import MOST_MISTAKES
from bertjax.tasks.text_records import TextRecord, texts_of

_UNDEFINED: Any = {"zero_division": 0.0}  # what scikit-learn gives for what has no value

Predictions = Sequence[Mapping[str, Any]]


def classification_scores(
    records: Sequence[TextRecord], predictions: Predictions, *, labels: tuple[str, ...]
) -> dict[str, float]:
    """`accuracy`, `macro_f1`, `matthews`, by scikit-learn, and `f1` where there are two labels.

    F1 is that of the second label, the mean over the labels that occur in `macro_f1`. What has no
    value, such as the correlation with a single answer, is 0.

    Args:
        records: with targets.
        predictions: of each of them.
        labels: in the order of the outputs.
    """
    from sklearn import metrics

    true, found = _numbers(records, predictions, labels)
    scores = {"accuracy": metrics.accuracy_score(true, found)}
    if len(labels) == 2:
        scores["f1"] = metrics.f1_score(true, found, **_UNDEFINED)  # of number 1
    scores["macro_f1"] = metrics.f1_score(true, found, average="macro", **_UNDEFINED)
    several = len({*true, *found}) > 1
    scores["matthews"] = metrics.matthews_corrcoef(true, found) if several else 0.0
    return {name: float(value) for name, value in scores.items()}


def classification_details(
    records: Sequence[TextRecord],
    predictions: Predictions,
    *,
    labels: tuple[str, ...],
    training_rows: Mapping[str, int],
) -> dict[str, Any]:
    """Tables for the report.

    Returns:
        `f1_is_that_of`, where there are two labels: the one; `classes`: for each label its rows, in
        the training file too if that is known, how often it was predicted, and precision, recall
        and F1; `commonest_label`: the label that most records have, and the accuracy of always
        answering it; `confusion`: `labels`, and `counts` with a row for each true label and a
        column for each predicted one; `errors`: the most confident mistakes.
    """
    from sklearn import metrics

    true, found = _numbers(records, predictions, labels)
    numbers = range(len(labels))
    counts = metrics.confusion_matrix(true, found, labels=numbers)
    parts = metrics.precision_recall_fscore_support(true, found, labels=numbers, **_UNDEFINED)
    classes = [
        {"label": label}
        | ({"training_rows": training_rows.get(label, 0)} if training_rows else {})
        | {"rows": int(rows), "predicted": int(predicted)}
        | {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
        for label, predicted, precision, recall, f1, rows in zip(
            labels, counts.sum(axis=0), *np.array(parts), strict=True
        )
    ]
    commonest, rows = Counter(true).most_common(1)[0]
    f1_label = {"f1_is_that_of": {"label": labels[1]}} if len(labels) == 2 else {}
    return f1_label | {
        "classes": classes,
        "commonest_label": {"label": labels[commonest], "accuracy": rows / len(true)},
        "confusion": {"labels": list(labels), "counts": counts.tolist()},
        "errors": _errors(records, predictions, labels),
    }


def _numbers(
    records: Sequence[TextRecord], predictions: Predictions, labels: tuple[str, ...]
) -> tuple[list[int], list[int]]:
    """The numbers of the true labels and of the predicted ones."""
    number = {label: place for place, label in enumerate(labels)}
    true = [int(record.target) for record in records if record.target is not None]
    return true, [number[prediction["label"]] for prediction in predictions]


def _errors(
    records: Sequence[TextRecord], predictions: Predictions, labels: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The mistakes, the most confident first."""
    true, found = map(np.array, _numbers(records, predictions, labels))
    chances = np.array([max(each["probabilities"].values()) for each in predictions])
    wrong = np.flatnonzero(true != found)
    wrong = wrong[np.argsort(-chances[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "row": records[index].row,
            "label": labels[true[index]],
            "predicted": labels[found[index]],
            "probability": float(chances[index]),
        }
        | texts_of(records[index])
        for index in wrong
    ]
