"""Stopping cleanly: SIGTERM or SIGINT lets the step finish, then the loop saves and leaves."""

import os
import signal
import threading
from types import FrameType
from typing import Self

import jax

STOPPED = 143  # the exit status of a process that SIGTERM ended: 128 + 15


class StopRequest:
    """While entered, a first SIGTERM or SIGINT is remembered instead of obeyed."""

    def __init__(self) -> None:
        self._received = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        # With several processes jax's own service hears SIGTERM and agrees on a common step.
        joined = jax.distributed.is_initialized()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT,) if joined else (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`; the same answer in every process. Call it every step."""
        if jax.distributed.is_initialized():
            from jax.experimental import multihost_utils

            return multihost_utils.reached_preemption_sync_point(step)
        return self._received

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._received = True
        if jax.distributed.is_initialized():
            os.kill(os.getpid(), signal.SIGTERM)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._previous = {}
