"""The steps of a run, one after the other; the next batch moves while a step is running."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from bertjax.config import Config, phases
from bertjax.train.mesh import batch_sharding, everywhere, put_batch
from bertjax.train.program import Program
from bertjax.train.state import State, named_key, reset_optimizer
from bertjax.train.step import Figures

Batches = Iterator[dict[str, np.ndarray]]


class Done(NamedTuple):
    """A step that was started: how many there are now, and what it will give."""

    step: int
    state: State
    figures: Figures
    waited: float  # seconds in which the devices had nothing to do for lack of data
    compiling: float  # seconds, of the first step of its shape


def run_steps(
    program: Program, config: Config, state: State, start: int, last: int, batches: Batches
) -> Iterator[Done]:
    """Takes the steps from `start` on up to `last`, and gives what each makes as it is started.

    Args:
        program: the step, compiled for its devices as it is first called.
        config: seed and phases.
        state: after `start` steps; donated.
        start, last: numbers of steps.
        batches: this process's rows for each of them.
    """
    key = everywhere(named_key(config.train.seed, "train"), program.mesh)
    sharding = batch_sharding(program.mesh)
    resets, shapes = _optimizer_resets(config), set()
    figures: Figures = {}
    batch = put_batch(next(batches), sharding) if start < last else {}
    for step in range(start, last):
        if step in resets:
            state = reset_optimizer(state, program.optimizer, program.shardings)
        new = (shape := batch["pair_ids"].shape) not in shapes
        shapes.add(shape)
        if new:  # no step is under way while it compiles: all of that time is compiling's
            jax.block_until_ready(figures)
        called = time.perf_counter()
        with jax.transfer_guard("disallow"):
            state, figures = program.step(state, batch, key)
        compiling = time.perf_counter() - called if new else 0.0
        waited = 0.0
        if step + 1 < last:
            done = _time_when_ready(figures["loss"])
            rows = next(batches)
            waited = time.perf_counter() - done[0] if done else 0.0
            batch = put_batch(rows, sharding)
        yield Done(step + 1, state, figures, waited, compiling)


def _time_when_ready(array: jax.Array) -> list[float]:
    """A list that is empty until the array is computed, and then has the time.

    The thread is no daemon: one that still waits for a device when Python ends aborts the process.
    """
    found: list[float] = []

    def wait() -> None:
        with contextlib.suppress(Exception):  # whoever reads the array is told
            array.block_until_ready()
            found.append(time.perf_counter())

    threading.Thread(target=wait).start()
    return found


def _optimizer_resets(config: Config) -> set[int]:
    """First steps of the phases that begin with a fresh optimizer."""
    parts = phases(config)
    begins = [0, *itertools.accumulate(phase.steps for phase in parts)]
    return {step for phase, step in zip(parts, begins, strict=False) if phase.reset_optimizer}
