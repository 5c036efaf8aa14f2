"""What the processes of a run decide together, and how they end together.

With one process everything here is a matter of course and costs nothing.
"""

import contextlib
import hashlib
import itertools
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from bertjax.errors import UserError

_FAILURES = "bertjax/failures/"
_LOOK_EVERY = 0.5  # seconds
_MOST_WAITED = 10_000  # milliseconds, for processes that may be gone
_DAY = 24 * 3600 * 1000  # milliseconds
_MOST_STEPS = 64
_entered = itertools.count()


def all_agree(value: bool) -> bool:
    """Whether `value` is true in every process; every process must ask."""
    if jax.process_count() == 1:
        return value
    return bool(np.all(multihost_utils.process_allgather(np.array(value))))


def same_everywhere(value: Any) -> bool:
    """Whether every process has the same `value`, which JSON can hold; every process must ask."""
    if jax.process_count() == 1:
        return True
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    found = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    return bool(np.all(found == found[0]))


def steps_of_first(steps: list[int]) -> list[int]:
    """The first process's list, cut to its last `_MOST_STEPS`; every process must ask."""
    if jax.process_count() == 1:
        return steps
    last = steps[-_MOST_STEPS:]
    padded = np.array(last + [-1] * (_MOST_STEPS - len(last)), np.int32)
    return [int(step) for step in multihost_utils.broadcast_one_to_all(padded) if step >= 0]


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """While entered, a failure of one process ends all of them; it is left by all at once.

    Without it the others would wait for that one in the next sum over all devices. The one that
    failed tells why, as the command line does, and every other one says whose failure it was. All
    have the exit status of the first failure: 2 for a UserError, 1 for a bug, 130 for Ctrl-C.
    """
    if jax.process_count() == 1:
        yield
        return
    client, number, left = _client(), next(_entered), threading.Event()
    watch = threading.Thread(target=_watch, args=(client, left), daemon=True)
    watch.start()
    stopped = None
    try:
        yield
    except SystemExit as stop:  # all of them stop after the same step
        stopped = stop
    except BaseException as error:  # told, and handed on to the others
        left.set()
        _end_all(client, error)
    client.wait_at_barrier(f"bertjax/left/{number}", _DAY)
    left.set()
    watch.join()
    if stopped is not None:
        raise stopped


def _end_all(client: Any, error: BaseException) -> NoReturn:
    """Tells an error to the user and to the other processes, and ends this one with them."""
    if isinstance(error, UserError):
        status, line = 2, str(error)
        print(f"bertjax: {line}", file=sys.stderr)
    else:
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        traceback.print_exception(error)
    with contextlib.suppress(RuntimeError):  # a process that is gone
        client.key_value_set(f"{_FAILURES}{jax.process_index()}", json.dumps([status, line]))
    _leave(client, status)


def _watch(client: Any, left: threading.Event) -> None:
    """Ends this process when another one has failed."""
    while not left.wait(_LOOK_EVERY):
        failures = client.key_value_dir_get(_FAILURES)
        if failures and not left.is_set():
            key, told = min(failures)
            status, line = json.loads(told)
            print(f"bertjax: ended by process {key.rsplit('/')[-1]}: {line}", file=sys.stderr)
            _leave(client, status)


def _leave(client: Any, status: int) -> NoReturn:
    """Ends this process at once: an orderly end would wait for the others.

    The first process, which keeps the list of failures, stays until all have read it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(RuntimeError):
        client.wait_at_barrier("bertjax/ended", _MOST_WAITED)
    if jax.process_index() == 0:
        threading.Event().wait(1)
    os._exit(status)


def _client() -> Any:
    """The key-value store of the processes, which jax has but does not export."""
    from jax._src import distributed

    return distributed.global_state.client
