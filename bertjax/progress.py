"""A progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from bertjax.errors import UserError

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows how far a task is, how fast it goes and when it will be done, on standard error.

        with Progress("training", total=1000, unit="step") as progress:
            progress.update(10, loss=7.1)

    Attributes:
        description: what is being done.
        total: the units there are, None if unknown.
        unit: what is counted, in the singular.
    """

    def __init__(self, description: str, total: int | None = None, unit: str = "step") -> None:
        self.description, self.total, self.unit = description, total, unit
        self._on_terminal = sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._first = self._done = 0
        self._start = self._last_line = time.monotonic()
        self._figures = ""

    def __enter__(self) -> Self:
        self._start = self._last_line = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        worth_telling = self._done > self._first and not isinstance(error, UserError)
        if error is None or self._bar is not None or worth_telling:
            self.close()  # otherwise what went wrong says it all

    def start_at(self, done: int) -> None:
        """Tells that this much was done before: it counts for the bar, not for the speed."""
        self._first = self._done = done

    def update(self, done: int, **figures: float | str) -> None:
        """Shows that `done` units are done in all, with figures such as the loss beside it."""
        self._done = done
        self._figures = ", ".join(f"{name} {_text(value)}" for name, value in figures.items())
        if self._on_terminal:
            self._update_bar()
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._print_line()

    def write(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self._on_terminal:
            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar, or prints the last line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif not self._on_terminal:
            self._print_line()

    def _update_bar(self) -> None:
        if self._bar is None:
            self._bar = tqdm(
                desc=self.description,
                total=self.total,
                initial=self._first,
                unit=" " + self.unit,
                dynamic_ncols=True,
                file=sys.stderr,
            )
        self._bar.set_postfix_str(self._figures, refresh=False)
        self._bar.update(self._done - self._bar.n)

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        seconds = max(self._last_line - self._start, 1e-9)
        speed = (self._done - self._first) / seconds
        line = f"{self.description}: {self._done:,}"
        if self.total is not None:
            line += f" of {self.total:,}"
        line += f" {self.unit}s, {speed:,.1f}/s"
        if self.total is not None and speed > 0 and self._done < self.total:
            line += f", {_duration((self.total - self._done) / speed)} left"
        else:
            line += f", {_duration(seconds)}"
        print(line + (f", {self._figures}" if self._figures else ""), file=sys.stderr, flush=True)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
