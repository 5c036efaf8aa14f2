"""A bounded stream of work over processes that end with their parent."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from bertjax.errors import UserError

Task = TypeVar("Task")
_run: Callable[[Any], Any]


def map_unordered(
    make_function: Callable[..., Callable[[Task], Any]],
    arguments: tuple[Any, ...],
    tasks: Iterable[Task],
    workers: int,
) -> Iterator[Any]:
    """Yields the result of every task as it is done, with a bounded number of tasks in memory.

    Args:
        make_function: a module-level function that builds, once per process, what runs a task.
        arguments: its arguments.
        tasks: read as they are needed.
        workers: processes; 1 works in this one.

    Raises:
        UserError: a process died.
    """
    if workers == 1:
        yield from map(make_function(*arguments), tasks)
        return
    # "spawn", for the caller may have threads (JAX has), which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (make_function, arguments))
    try:
        yield from _submit_bounded(pool, tasks, limit=workers + 2)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, perhaps for lack of memory; run the command again to go on "
            "from here, with fewer --workers if it happens again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _submit_bounded(pool: ProcessPoolExecutor, tasks: Iterable[Task], limit: int) -> Iterator[Any]:
    pending: set[Future[Any]] = set()
    for task in tasks:
        with _main_module_hidden():
            pending.add(pool.submit(_run_task, task))
        if len(pending) >= limit:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keeps a process that starts meanwhile from running the caller's script again.

    Workers need nothing of it, and a script without the `__name__ == "__main__"` guard, or one read
    from standard input, would fail.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start_worker(make_function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _run
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["RAYON_NUM_THREADS"] = "1"  # the tokenizer's threads: one process is one core
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _run = make_function(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_task(task: Any) -> Any:
    return _run(task)
