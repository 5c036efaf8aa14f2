"""What a run writes about itself: `metrics.jsonl` and TensorBoard events, each step once."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from bertjax.errors import UserError, is_transient
from bertjax.json_text import dump_json, parse_json
from bertjax.train import events
from bertjax.train.events import EVENTS_FILE
from bertjax.train.run_folder import write_file

METRICS_FILE = "metrics.jsonl"
_log = logging.getLogger(__name__)


class MetricsLog:
    """One line and one event per call, appended to what a run has said before.

    A remote run (`gs://`) is written in a local folder and copied whole by `upload`.
    """

    def __init__(self, run: epath.Path, last_step: int, evaluated: bool = True) -> None:
        """Opens the log of `run`; what it says of steps beyond `last_step` goes.

        So does, unless that is `evaluated`, the evaluation of `last_step`: it is made again.
        """
        self._run, self._failed = run, False
        self._remote = "://" in str(run)
        self._folder = Path(tempfile.mkdtemp(prefix="bertjax-")) if self._remote else Path(run)
        lines = _kept_lines(_read(run / METRICS_FILE), last_step, evaluated)
        kept = _kept_events(_read(run / EVENTS_FILE), last_step, evaluated)
        write_file(self._folder / METRICS_FILE, lines)
        write_file(self._folder / EVENTS_FILE, kept)
        self._lines = (self._folder / METRICS_FILE).open("a")
        self._events = (self._folder / EVENTS_FILE).open("ab")

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Adds a line of figures; those that are not finite become null, as JSON has no NaN."""
        self._lines.write(dump_json({"step": step, **figures}) + "\n")
        self._lines.flush()
        scalars = {
            name.replace("validation_", "validation/"): value
            for name, value in figures.items()
            if isinstance(value, int | float)
        }
        self._events.write(events.scalars(step, time.time(), scalars))
        self._events.flush()

    def upload(self) -> bool:
        """Copies both files to a remote run; a local run has them already.

        Returns whether they are there now. A failure is warned of once: what was trained counts
        for more, and the next upload brings everything.
        """
        if not self._remote:
            return True
        try:
            for name in (METRICS_FILE, EVENTS_FILE):
                write_file(self._run / name, (self._folder / name).read_bytes())
        except Exception as error:  # each kind of storage has its own
            if not self._failed:
                _log.warning("%s; tried again at the next checkpoint, training goes on", error)
            self._failed = True
            return False
        self._failed = False
        return True

    def lines(self) -> list[dict[str, Any]]:
        """Everything written so far."""
        text = (self._folder / METRICS_FILE).read_text()
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        """Uploads and closes; the local folder of a remote run goes, unless nothing else has it."""
        uploaded = self.upload()
        self._lines.close()
        self._events.close()
        if not uploaded:
            _log.warning("the metrics since then are in %s; copy them to the run", self._folder)
        elif self._remote:
            shutil.rmtree(self._folder)


class Meter:
    """Speed and waste since the last reading: tokens per second, padding, waiting, MFU."""

    def __init__(self, peak_flops: float | None) -> None:
        """`peak_flops`: of all devices together, per second; None where it is not known."""
        self._peak_flops = peak_flops
        self.restart()

    def add(self, tokens: float, positions: float, flops: float, waited: float) -> None:
        """Counts a step: real tokens, positions, model arithmetic, seconds without data."""
        self._tokens += tokens
        self._positions += positions
        self._flops += flops
        self._waited += waited

    def leave_out(self, seconds: float) -> None:
        """Does not count `seconds` in which the run did something else than training."""
        self._start += seconds

    def read(self) -> dict[str, float | None]:
        """The figures since the last call; all None if no step has been counted."""
        if not self._positions:
            return dict.fromkeys(("tokens_per_second", "padding_share", "data_wait_share", "mfu"))
        seconds = time.perf_counter() - self._start
        peak = self._peak_flops if self._flops else None  # fine-tuning does not count its own
        figures = {
            "tokens_per_second": self._tokens / seconds,
            "padding_share": 1 - self._tokens / self._positions,
            "data_wait_share": self._waited / seconds,
            "mfu": self._flops / seconds / peak if peak else None,
        }
        self.restart()
        return figures

    def restart(self) -> None:
        """Forgets everything since the last reading."""
        self._start = time.perf_counter()
        self._tokens = self._positions = self._flops = self._waited = 0.0


def _read(path: Path | epath.Path) -> bytes:
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        if is_transient(error):
            raise
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _kept_lines(data: bytes, last_step: int, evaluated: bool) -> bytes:
    """The lines of steps up to `last_step`, up to the first that is damaged or cut short."""
    kept = []
    for line in data.splitlines(keepends=True):
        try:
            step = parse_json(line)["step"] if line.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError):
            break
        if not isinstance(step, int):
            break
        if step < last_step or (step == last_step and (evaluated or b'"validation_' not in line)):
            kept.append(line)
    return b"".join(kept)


def _kept_events(data: bytes, last_step: int, evaluated: bool) -> bytes:
    kept = [
        record
        for step, record in events.records(data)
        if step < last_step or (step == last_step and (evaluated or b"validation/" not in record))
    ]
    return b"".join(kept) or events.file_header(time.time())
