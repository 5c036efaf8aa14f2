"""A task's predictions for records: streamed in their order, in bounded memory."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import jax
import numpy as np

from bertjax.config import Config
from bertjax.data.examples import Batch, Example, pack_examples, unpack
from bertjax.tasks.sentence_rows import best_batch_tokens, row_lengths
from bertjax.tasks.task import Task
from bertjax.tasks.task_objective import task_logits
from bertjax.train.ahead import started_ahead
from bertjax.train.mesh import batch_sharding, make_mesh, put_batch, replicated
from bertjax.train.objective import compute_dtype

# A block, which is tokenized, packed and held at once, ends with the record that reaches either.
_RECORDS = 1024
_TOKENS = 1 << 18  # of all their windows

Prediction = dict[str, Any]


class Predicted(NamedTuple):
    """Predictions of consecutive records, and the sums and counts of the loss over them."""

    records: list[Any]
    predictions: list[Prediction]
    sums: dict[str, float]
    counts: dict[str, float]


class Predictor:
    """Predicts with any params of one model.

    Args:
        task: what is predicted.
        config: its model is the params', `data.length` the most tokens of a window.
        pad_id: the tokenizer's.
        labelled: whether the records have labels, so that there is a loss.
    """

    def __init__(self, task: Task, config: Config, pad_id: int, labelled: bool) -> None:
        mesh = make_mesh(config.mesh)
        self._task, self._longest, self._pad_id = task, config.data.length, pad_id
        self._mesh, self._sharding = mesh, batch_sharding(mesh)
        self._shards = mesh.shape["data"] * mesh.shape["fsdp"]
        model, dtype = config.model, compute_dtype(config)

        @functools.partial(jax.jit, out_shardings=replicated(mesh))
        def step(params: Any, batch: dict[str, jax.Array]) -> Any:
            """The logits of a packed batch, and sums and counts of its losses."""
            logits = task_logits(params, batch, task=task, config=model, dtype=dtype)
            return logits, task.loss(logits, batch) if labelled else ({}, {})

        self._step = step

    def __call__(self, params: Any, records: Iterable[Any]) -> Iterator[Predicted]:
        """Blocks of predictions, in the order of the records."""
        for block, windows in self._blocks(records):
            examples = [example for own in windows for example in own]
            outputs, sums, counts = self._run(params, examples)
            bounds = pairwise(accumulate(map(len, windows), initial=0))
            predictions = [
                self._task.predict(record, outputs[first:end])
                for record, (first, end) in zip(block, bounds, strict=True)
            ]
            yield Predicted(block, predictions, sums, counts)

    def _blocks(self, records: Iterable[Any]) -> Iterator[tuple[list[Any], list[list[Example]]]]:
        """The records with the windows of each, as many at a time as are held at once."""
        block, windows, tokens = [], [], 0
        for record in records:
            block.append(record)
            windows.append(self._task.examples(record))
            tokens += sum(len(window.token_ids) for window in windows[-1])
            if len(block) == _RECORDS or tokens >= _TOKENS:
                yield block, windows
                block, windows, tokens = [], [], 0
        if block:
            yield block, windows

    def _run(
        self, params: Any, examples: Sequence[Example]
    ) -> tuple[list[dict[str, np.ndarray]], dict[str, float], dict[str, float]]:
        """Each example's logits by name, and the sums and counts over all."""
        packed, rows = self._packed(examples)
        with jax.set_mesh(self._mesh):
            started = started_ahead(
                self._step(params, put_batch(part, self._sharding))
                for part in _slices(packed, rows)
            )
            parts = [jax.device_get(found) for found in started]
        logits = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
        by_name = {name: unpack(array, packed, len(examples)) for name, array in logits.items()}
        outputs = [{name: by_name[name][n] for name in by_name} for n in range(len(examples))]
        sums, counts = (
            {
                name: float(sum(part[1][which][name] for part in parts))
                for name in parts[0][1][which]
            }
            for which in range(2)
        )
        return outputs, sums, counts

    def _packed(self, examples: Sequence[Example]) -> tuple[Batch, int]:
        """All examples packed, and the rows of a batch, which divides theirs."""
        longest = max(len(example.token_ids) for example in examples)
        length = max(min(row_lengths(longest)[0], self._longest), longest)
        rows = max(best_batch_tokens() // length // self._shards, 1) * self._shards
        return pack_examples(examples, length, self._pad_id, rows), rows


def predict_all(
    predictor: Predictor,
    params: Any,
    records: Iterable[Any],
    told: Callable[[int], None] = lambda _: None,
) -> Predicted:
    """All blocks in one; `told` hears after each how many records are done."""
    whole = Predicted([], [], {}, {})
    for block in predictor(params, records):
        whole.records.extend(block.records)
        whole.predictions.extend(block.predictions)
        for total, own in ((whole.sums, block.sums), (whole.counts, block.counts)):
            for name, value in own.items():
                total[name] = total.get(name, 0.0) + value
        told(len(whole.records))
    return whole


def figures(task: Task, predicted: Predicted) -> dict[str, float | int | None]:
    """The task's metrics, its losses and the number of records."""
    sums, counts = predicted.sums, predicted.counts
    names = [name for name in sums if name.endswith("_loss")]
    losses = {name: sums[name] / counts[name] if counts[name] else None for name in names}
    scores = task.score(predicted.records, predicted.predictions)
    return {**scores, **losses, "examples": len(predicted.records)}


def _slices(batch: Batch, rows: int) -> Iterator[Batch]:
    for first in range(0, len(batch["pair_ids"]), rows):
        yield {name: array[first : first + rows] for name, array in batch.items()}
