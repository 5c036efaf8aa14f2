"""A number for a text or a pair, such as how alike two sentences are (STS-B, section 4.1)."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import Regression
from bertjax.tasks.classification import HEADS, classifier_logits, first_positions
from bertjax.tasks.task import MOST_MISTAKES, Logits, Sums, Task, TextInputs
from bertjax.tasks.text_records import TextRecord, example_of, read_records, texts_of

_LARGEST = 1e15  # of a score: squares are summed in float32


def regression_task(settings: Regression, inputs: TextInputs) -> Task:
    """The task of these settings; records are `TextRecord`s whose target is the score.

    The score is learnt as it stands in the file, neither shifted nor scaled. Longer texts than
    `inputs` takes are cut.
    """
    return Task(
        settings=settings,
        heads=HEADS,
        labels=(settings.label,),
        read=functools.partial(read_records, settings=settings, inputs=inputs, target=_number),
        examples=lambda record: [example_of(record, "scores", np.float32)],
        logits=_logits,
        positions=first_positions,
        loss=regression_loss,
        predict=_predict,
        score=regression_scores,
        details=regression_details,
    )


def regression_loss(logits: Logits, batch: Mapping[str, jax.Array]) -> tuple[Sums, Sums]:
    """Squared error, as `BertForSequenceClassification` of transformers with one output.

    Args:
        logits: `regression`, float32 [rows, examples].
        batch: with `scores`, float32 [rows, examples].
    """
    present = (batch["example_ids"] >= 0).astype(jnp.float32)
    errors = jnp.square(logits["regression"] - batch["scores"]) * present
    return {"regression_loss": jnp.sum(errors)}, {"regression_loss": jnp.sum(present)}


def regression_scores(
    records: Sequence[TextRecord], predictions: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """`pearson` and `spearman`, by scipy; 0 where all scores or all predictions are equal."""
    from scipy import stats

    true, found = _scores(records, predictions)
    if np.ptp(true) == 0 or np.ptp(found) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    measures: dict[str, Any] = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    return {name: float(measure(true, found).statistic) for name, measure in measures.items()}


def regression_details(
    records: Sequence[TextRecord], predictions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """For the report.

    Returns:
        `scores`: mean and range of the true scores and of the predicted ones; `error`, in the
        scores' own unit; `errors`: the rows that are most wrong.
    """
    true, found = _scores(records, predictions)
    distances = np.abs(true - found)
    worst = np.argsort(-distances, kind="stable")[:MOST_MISTAKES]
    return {
        "scores": [
            {"scores": name, "mean": float(values.mean())}
            | {"least": float(values.min()), "most": float(values.max())}
            for name, values in (("true", true), ("predicted", found))
        ],
        "error": {
            "mean_absolute": float(distances.mean()),
            "root_mean_square": float(np.sqrt(np.mean(np.square(distances)))),
        },
        "errors": [
            {"row": records[index].row, "score": float(true[index])}
            | {"predicted": float(found[index])}
            | texts_of(records[index])
            for index in worst
        ],
    }


def _logits(*arguments: Any) -> Logits:
    """`regression`, float32 [rows, examples]: the one output of the classification head."""
    return {"regression": classifier_logits(*arguments)["classification"][..., 0]}


def _number(score: str) -> float:
    """A score as it stands in a file; ValueError with what is wrong with it."""
    try:
        number = float(score)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the score {score[:40]!r} is not a number; mend or remove it")
    if abs(number) > _LARGEST:
        raise ValueError(f"the score {score[:40]!r} is beyond {_LARGEST:g}; scale the scores")
    return number


def _predict(record: TextRecord, logits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"row": record.row, "score": float(logits[0]["regression"])}


def _scores(
    records: Sequence[TextRecord], predictions: Sequence[Mapping[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted scores, float64 [records]."""
    true = [record.target for record in records]
    return np.array(true, np.float64), np.array([each["score"] for each in predictions], np.float64)
