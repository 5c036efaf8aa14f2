"""How many rows a chip has room for: found by compiling the step with more and fewer."""

import dataclasses
from collections.abc import Callable

from bertjax.config import Config, largest_phase
from bertjax.train.ahead_of_time import compile_step, with_phase
from bertjax.train.slices import Slice

_TRIES = 8  # compilations at most


def largest_batch(config: Config, where: Slice) -> int:
    """The most rows per chip for which the step of the config's largest phase was seen to fit.

    To about a sixteenth; 0 if none of the numbers that were tried fits.

    Args:
        config: for pretraining, its `model.vocab_size` set; its batch size is where to begin.
        where: from `find_slice`.
    """
    phase, parts = largest_phase(config), config.train.accumulation
    devices = len(where.devices)  # two a chip in tpu7x
    share = None if where.memory is None else where.memory * where.chips // devices

    def used(rows: int) -> int:
        """Bytes of a device with so many rows per device and microbatch."""
        tried = dataclasses.replace(phase, batch_size=rows * parts * devices)
        return compile_step(with_phase(config, tried), where).memory["total"]

    start = max(phase.batch_size // devices // parts, 1)
    rows = search(used, start, share) if share else start
    return rows * parts * devices // where.chips


def search(used: Callable[[int], int], start: int, share: int) -> int:
    """The largest number seen with `used(number) <= share`, or 0; within a sixteenth of the bound.

    Takes `used` to grow by about the same with every row: the line through two points says where
    to look next.
    """
    seen = {start: used(start)}
    while len(seen) < _TRIES:
        fitting = max((rows for rows in seen if seen[rows] <= share), default=0)
        failing = min((rows for rows in seen if seen[rows] > share), default=None)
        if failing is not None and failing - fitting <= max(fitting // 16, 1):
            return fitting
        rows = _next_rows(seen, fitting, failing, share)
        seen[rows] = used(rows)
    return max((rows for rows in seen if seen[rows] <= share), default=0)


def _next_rows(seen: dict[int, int], fitting: int, failing: int | None, share: int) -> int:
    """On the line through the last two points; halfway where that leads out of what is unknown."""
    if len(seen) == 1:
        return 2 * fitting if failing is None else max(failing // 2, 1)
    low, high = sorted(seen)[-2:]
    slope = max((seen[high] - seen[low]) / (high - low), 1)
    guess = max(int(low + (share - seen[low]) / slope), fitting + max(fitting // 16, 1))
    return guess if failing is None or guess < failing else (fitting + failing) // 2
