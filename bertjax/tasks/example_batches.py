"""The batches of a fine-tuning run: labelled examples in an order of their own each epoch."""

import functools
import math
from collections.abc import Sequence

import jax
import numpy as np

from bertjax.config import Config
from bertjax.data.examples import (
    Batch,
    Example,
    most_examples,
    pack_examples,
    row_length,
)
from bertjax.data.packing import pack
from bertjax.data.random_bits import fold_in, permutation
from bertjax.errors import UserError
from bertjax.setting_checks import MOST_STEPS
from bertjax.train.mesh import mesh_shape

_MOST_SHAPES = 3  # different numbers of rows, about: each is compiled once
_SAMPLED_BATCHES = 100  # tell how the number of rows varies


class ExampleBatches:
    """Batches of `batch_size` examples by step.

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
        self._rows_multiple = shards * self._rows_per_shard(lengths, shards)

    def __call__(self, step: int) -> Batch:
        """The batch of one step, a pure function of the examples, the seed and the step."""
        chosen = [self._examples[number] for number in self.indices(step)]
        return pack_examples(chosen, self.length, self._pad_id, self._rows_multiple)

    def _rows_per_shard(self, lengths: np.ndarray, shards: int) -> int:
        """What the rows of a shard are rounded up to, so that few numbers of rows are left."""
        batches = [lengths[self.indices(step)] for step in range(_SAMPLED_BATCHES)]
        rows = [len(pack(own, self.length, most_examples(self.length))[1]) - 1 for own in batches]
        per_shard = [-(-count // shards) for count in rows]
        multiple = 1
        while len({-(-count // multiple) for count in per_shard}) > _MOST_SHAPES:
            multiple += 1
        return multiple

    def indices(self, step: int) -> list[int]:
        """Which examples are in a step's batch, [batch_size]."""
        numbers = range(step * self._batch_size, (step + 1) * self._batch_size)
        return [int(self._order(n // self._count)[n % self._count]) for n in numbers]

    @property
    def _count(self) -> int:
        return len(self._examples)

    @functools.lru_cache(maxsize=2)  # noqa: B019 (one object per run)
    def _order(self, epoch: int) -> np.ndarray:
        return permutation(fold_in(self._seed, epoch), self._count)


def steps_of(epochs: float, examples: int, batch_size: int) -> int:
    """The steps in which every example comes `epochs` times, rounded up.

    Raises:
        UserError: more than a run can have.
    """
    steps = epochs * examples / batch_size
    if steps > MOST_STEPS:
        raise UserError(f"train.epochs={epochs:g}: a run has at most {MOST_STEPS:,} steps")
    return math.ceil(steps)
