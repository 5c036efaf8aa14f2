"""Results that devices compute while the host uses the ones before."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

_AHEAD = 2  # enough that a device never waits for the host
Result = TypeVar("Result")


def started_ahead(results: Iterable[Result]) -> Iterator[Result]:
    """The results in order, a few more of them started than were taken.

    Not all at once: their memory would add up, and several CPU devices of one process would wait
    for each other for ever. The start of a 33rd program waits there, on one of the few threads that
    the 32 before it need for their sums over all devices.

    Args:
        results: computed in the background from when they are asked for, as those of `jax.jit` are.
    """
    started: deque[Result] = deque()
    for result in results:
        started.append(result)
        if len(started) > _AHEAD:
            yield started.popleft()
    yield from started
