"""Telling what a run does, a few steps late so that no step waits for the telling."""

import collections
import contextlib
import math
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import jax
from etils import epath

from bertjax.config import Config, total_steps
from bertjax.errors import UserError
from bertjax.progress import Progress
from bertjax.train.hardware import peak_flops
from bertjax.train.metrics import Meter, MetricsLog

_LATE = 2  # steps: the devices always have one more to work on while figures are fetched
_MOST_SKIPPED = 10  # steps in a row without finite gradients before the run gives up
_SHOWN = {
    "loss": "loss",
    "mlm_accuracy": "mlm",
    "nsp_accuracy": "nsp",
    "tokens_per_second": "tokens/s",
    "padding_share": "padding",
    "mfu": "MFU",
}
_MEDIANS = ("tokens_per_second", "padding_share", "data_wait_share", "mfu")


class _Pending(NamedTuple):
    step: int
    figures: dict[str, jax.Array]
    flops: float
    waited: float


class Report:
    """The log, the progress bar and the running totals of a run."""

    def __init__(
        self,
        run: epath.Path,
        config: Config,
        start: int,
        totals: dict[str, Any],
        evaluated: bool = True,
    ) -> None:
        """`start`, `totals`: of a resumed checkpoint; `evaluated`: whether it has figures."""
        self._every, self._last = config.train.log_every, total_steps(config)
        self._log = MetricsLog(run, start, evaluated) if jax.process_index() == 0 else None
        self._bar = Progress("training", total=self._last) if self._log else None
        if self._bar:
            self._bar.start_at(start)
        self._speed: dict[str, Any] = {}
        self._meter = Meter(_peak_flops())
        self._hopeless_since: int | None = None  # the step from which the run is to be given up
        self._pending: collections.deque[_Pending] = collections.deque()
        self._tokens, self._skipped = totals.get("tokens", 0), totals.get("skipped_steps", 0)
        self._started = time.perf_counter() - totals.get("seconds", 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.close()
        if self._log:
            self._log.close()

    @property
    def totals(self) -> dict[str, Any]:
        """What a checkpoint keeps to go on counting from: real tokens, seconds, skipped steps."""
        seconds = round(time.perf_counter() - self._started, 3)
        return {"tokens": self._tokens, "seconds": seconds, "skipped_steps": self._skipped}

    def step(
        self,
        step: int,
        figures: dict[str, jax.Array],
        flops: float,
        waited: float,
        compiling: float,
    ) -> None:
        """Takes the figures of a step that may still be running, and tells those that are done.

        Args:
            step, figures, flops: its number, what it gives, its model arithmetic.
            waited: seconds in which the devices had no batch for the step after it.
            compiling: seconds before it was started, which are not counted as training.

        Raises:
            UserError: ten steps in a row had gradients that were not finite.
        """
        self._pending.append(_Pending(step, figures, flops, waited))
        self._meter.leave_out(compiling)
        while self._pending and (len(self._pending) > _LATE or _is_ready(self._pending[0])):
            self._tell(self._pending.popleft())
        self._give_up_if_hopeless(step - _LATE)  # the same step on all hosts

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Tells all steps so far, then leaves out of the speed what happens inside."""
        while self._pending:
            self._tell(self._pending.popleft())
        self._give_up_if_hopeless(self._last)
        started = time.perf_counter()
        yield
        self._meter.leave_out(time.perf_counter() - started)

    def evaluation(self, step: int, figures: dict[str, Any]) -> None:
        """A line of `validation_*` figures; none where there was nothing to validate on."""
        told = [f"{name} {value:.4f}" for name, value in figures.items() if type(value) is float]
        if not told:
            return
        if self._log:
            self._log.write(step, {f"validation_{name}": figures[name] for name in figures})
        self.say(f"step {step}, validation: {', '.join(told)}")

    def say(self, line: str) -> None:
        """A line beside the progress bar."""
        if self._bar:
            self._bar.write(line)

    def upload(self) -> None:
        """Brings a remote run's log up to date."""
        if self._log:
            self._log.upload()

    def summary(self) -> dict[str, Any]:
        """Totals, and medians over the logged steps of how well the machine was used."""
        lines = self._log.lines() if self._log else []
        found = {
            name: [line[name] for line in lines if line.get(name) is not None] for name in _MEDIANS
        }
        medians = {name: statistics.median(found[name]) if found[name] else None for name in found}
        return self.totals | medians

    def _tell(self, pending: _Pending) -> None:
        fetched = jax.device_get(pending.figures)
        figures = {name: fetched[name].item() for name in ("loss", *fetched)}
        tokens, positions = figures.pop("tokens"), figures.pop("positions")
        in_a_row = figures.pop("skipped_in_a_row")
        self._tokens += int(tokens)
        self._skipped = figures["skipped_steps"]
        self._meter.add(tokens, positions, pending.flops, pending.waited)
        if pending.step % self._every == 0 or pending.step == self._last:
            self._speed = self._meter.read()
            figures |= self._speed | {"seconds": self.totals["seconds"]}
            if self._log:
                self._log.write(pending.step, figures)
        known = figures | self._speed
        shown = {label: known[name] for name, label in _SHOWN.items() if known.get(name)}
        if math.isfinite(figures["loss"]):  # what is NaN beside it is the mean over no examples
            shown = {label: value for label, value in shown.items() if math.isfinite(value)}
        if self._bar:
            self._bar.update(pending.step, **shown)
        if in_a_row >= _MOST_SKIPPED:
            self._hopeless_since = self._hopeless_since or pending.step

    def _give_up_if_hopeless(self, step: int) -> None:
        if self._hopeless_since is not None and self._hopeless_since <= step:
            raise UserError(
                f"gradients were not finite in {_MOST_SKIPPED} steps in a row, up to step "
                f"{self._hopeless_since}: lower optimizer.learning_rate or warm up longer, in a "
                "new run"
            )


def _is_ready(pending: _Pending) -> bool:
    return pending.figures["loss"].is_ready()  # pyright: ignore[reportAttributeAccessIssue]


def _peak_flops() -> float | None:
    """Of all devices together."""
    peak = peak_flops(jax.devices()[0].device_kind)
    return peak * jax.device_count() if peak else None
