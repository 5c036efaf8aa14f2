"""The batches of a fine-tuning run: labelled examples in an order of their own each epoch."""

import functools
import math
from collections.abc import Sequence

import jax
import numpy as np

from bertjax.config import Config
from bertjax.data.examples import Batch, Example, pack_examples, row_length, shuffled
from bertjax.train.mesh import mesh_shape

_SHAPES = 5  # about so many different numbers of rows: each is compiled once


class ExampleBatches:
    """Batches of `batch_size` examples by step; this process's rows of them.

    Every example comes once an epoch; a batch may hold the end of one epoch and the start of the
    next. Examples are packed into rows, so the number of rows differs from batch to batch.

    Attributes:
        length: positions of a row.
    """

    def __init__(self, examples: Sequence[Example], config: Config, pad_id: int) -> None:
        """`config`: batch size, seed and mesh, and in `data.length` the most tokens of a row."""
        lengths = np.array([len(example.token_ids) for example in examples])
        self.length = row_length(lengths, config.data.length)
        self._examples, self._pad_id = examples, pad_id
        self._batch_size, self._seed = config.train.batch_size, config.train.seed
        data, fsdp, _ = mesh_shape(config.mesh, jax.device_count())
        shards = data * fsdp * config.train.accumulation
        rows = lengths.mean() * self._batch_size / self.length
        self._rows_multiple = shards * max(round(rows / _SHAPES / shards), 1)

    def __call__(self, step: int) -> Batch:
        """The batch of one step, a pure function of the examples, the seed and the step."""
        numbers = range(step * self._batch_size, (step + 1) * self._batch_size)
        chosen = [self._examples[self._order(n // self._count)[n % self._count]] for n in numbers]
        return own_rows(pack_examples(chosen, self.length, self._pad_id, self._rows_multiple))

    @property
    def _count(self) -> int:
        return len(self._examples)

    @functools.lru_cache(maxsize=2)  # noqa: B019 (one object per run)
    def _order(self, epoch: int) -> np.ndarray:
        return shuffled(self._count, self._seed, epoch)


def steps_of(epochs: float, examples: int, batch_size: int) -> int:
    """The steps in which every example comes `epochs` times, rounded up."""
    return math.ceil(epochs * examples / batch_size)


def own_rows(batch: Batch) -> Batch:
    """This process's block of a batch whose rows the processes divide."""
    rows = len(batch["pair_ids"]) // jax.process_count()
    first = rows * jax.process_index()
    return {name: array[first : first + rows] for name, array in batch.items()}
