"""The batches of a run: one loader per phase, and the validation split on the devices."""

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding

from bertjax.config import Config, phases
from bertjax.data import loader
from bertjax.data.random_bits import fold_in
from bertjax.data.rows import SpecialIds
from bertjax.data.shards import open_split
from bertjax.train.mesh import batch_sharding, make_mesh, own_rows, put_batch

Batch = dict[str, np.ndarray]
VALIDATION_POSITIONS = 1 << 20  # puts the standard error of the loss below 0.01


class TrainingBatches:
    """The training batches of a run by step; this process's rows of them.

    Every phase has a loader of its own, with its own seed and steps counted from its start.
    """

    def __init__(self, data: str | Path, special_ids: SpecialIds, config: Config) -> None:
        self._special_ids, self._config = special_ids, config
        self._documents = open_split(data, "train")
        self._phases = phases(config)
        self._ends = list(itertools.accumulate(phase.steps for phase in self._phases))

    def __call__(self, step: int) -> Batch:
        """The batch of one step."""
        number, start = self._locate(step)
        return self._loader(number)[step - start]

    def stream(self, step: int) -> Iterator[Batch]:
        """The batches from `step` to the last, made ahead on threads of the loader."""
        while step < self._ends[-1]:
            number, start = self._locate(step)
            end = self._ends[number]
            yield from loader.prefetch(self._loader(number), step - start, end - start)
            step = end

    def _locate(self, step: int) -> tuple[int, int]:
        """The phase that a step belongs to, and that phase's first step."""
        number = min(bisect.bisect_right(self._ends, step), len(self._ends) - 1)
        return number, self._ends[number] - self._phases[number].steps

    @functools.cache  # noqa: B019 (one object per run)
    def _loader(self, number: int) -> loader.Batches:
        phase, config = self._phases[number], self._config
        return loader.Batches(
            self._documents,
            self._special_ids,
            dataclasses.replace(config.data, length=phase.length),
            phase.batch_size,
            fold_in(config.train.seed, number),
            own_rows(batch_sharding(make_mesh(config.mesh)), phase.batch_size),
        )


def validation_shortage(data: str | Path, config: Config) -> str | None:
    """Why the validation split cannot be evaluated and what to do about it; None if it can be."""
    found = int(np.count_nonzero(open_split(data, "validation").token_counts))
    needed = 2 if config.data.pairs == "nsp" else 1
    if found >= needed:
        return None
    return (
        f"the validation split of {data} has {found} document(s), data.pairs={config.data.pairs} "
        f"needs {needed}: give bertjax prepare --validation a larger share"
    )


class Validation(Sequence[dict[str, jax.Array]]):
    """The batches of the validation split, cut when first used: a run starts without them.

    In rows of the longest phase, so that every position is looked at. A batch goes to the devices
    each time it is asked for. `most_positions` cuts the split short (None: never), so that
    evaluating takes seconds on any corpus.
    """

    def __init__(
        self,
        data: str | Path,
        special_ids: SpecialIds,
        config: Config,
        sharding: NamedSharding,
        most_positions: int | None = VALIDATION_POSITIONS,
    ) -> None:
        self._data, self._special_ids, self._config = data, special_ids, config
        self._sharding, self._most_positions = sharding, most_positions

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> dict[str, jax.Array]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return put_batch(self._batches[number], self._sharding)

    @functools.cached_property
    def _batches(self) -> loader.ValidationBatches:
        train = self._config.train  # somebody else's checkpoint has no steps, and so no phases
        length = max((phase.length for phase in train.phases), default=self._config.data.length)
        documents = open_split(self._data, "validation")
        most_rows = self._most_positions and max(self._most_positions // length, 1)
        full_rows = -(-int(documents.token_counts.sum()) // length)  # as if none were padded
        batch_size = self._batch_size(length, min(full_rows, most_rows or full_rows))
        return loader.ValidationBatches(
            documents,
            self._special_ids,
            dataclasses.replace(self._config.data, length=length),
            batch_size,
            own_rows(self._sharding, batch_size),
            most_rows,
        )

    def _batch_size(self, length: int, rows: int) -> int:
        """So many rows for every device as keep it busy, or as there are; the same figures follow.

        Whatever the batches of the training: those of a pod would not fit into one device.
        """
        shards = self._sharding.num_devices // self._sharding.mesh.shape["tensor"]
        return max(min(-(-rows // shards), _device_positions() // length), 1) * shards


def _device_positions() -> int:
    """How many a device evaluates at once; more would take memory for the vocabulary's logits."""
    return 2048 if jax.default_backend() == "cpu" else 8192
