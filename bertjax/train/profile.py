"""An XLA trace of a few steps, and which operations took how much of them."""

import collections
import re
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
from etils import epath

from bertjax.train.run_folder import write_file

_SHOWN = 12
_ENCLOSING = {"while", "conditional", "call"}  # their time is that of the operations within


class Operation(NamedTuple):
    """All operations of one kind in a trace."""

    kind: str  # the compiler's name without its number
    count: int
    seconds: float


def profiled(
    steps: Iterator[Any],
    before: int,
    count: int,
    folder: epath.Path,
    say: Callable[[str], None],
    pure: bool = True,
) -> Iterator[Any]:
    """Passes steps on, and traces `count` of them after the first `before`.

    Args:
        steps: runs a step each time it is asked; each has its `figures`. There are enough of them.
        before: how many to leave out.
        count: how many to trace; the last one is waited for.
        folder: where the trace is written; TensorBoard's profile plugin and xprof
            find it in RUN/plugins/profile/NAME.
        say: takes a table of the kinds of operations that took most of the time.
        pure: whether nothing else, such as an evaluation, runs between these steps.
    """
    yield from islice(steps, before)
    with tempfile.TemporaryDirectory() as local:
        with jax.profiler.trace(local):
            yield from islice(steps, count - 1)
            done = next(steps)
            jax.block_until_ready(done.figures)
        (trace,) = (file.read_bytes() for file in Path(local).rglob("*.xplane.pb"))
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "host.xplane.pb", trace)
    say(f"trace of {count} steps: {folder}\n{table(operations(trace), count)}")
    if not pure:
        say("an evaluation or a checkpoint between these steps is in these figures: take others")
    yield done
    yield from steps


def operations(trace: bytes) -> list[Operation]:
    """The kinds of XLA operations in a serialized XSpace, most time first.

    On a TPU and a GPU those of the devices, on a CPU those of its threads. What is within a loop
    or a branch counts by itself.
    """
    planes = list(jax.profiler.ProfileData.from_serialized_xspace(trace).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    seconds, counts = collections.Counter[str](), collections.Counter[str]()
    for event in _operation_events(devices or planes):
        kind = _kind(event.name)
        seconds[kind] += event.duration_ns * 1e-9
        counts[kind] += 1
    return [
        Operation(kind, counts[kind], taken)
        for kind, taken in seconds.most_common()
        if kind not in _ENCLOSING
    ]


def table(found: list[Operation], steps: int) -> str:
    """The first dozen, with their share of the time of all and what they take per step."""
    total = sum(operation.seconds for operation in found) or 1.0
    lines = [f"{'share':>6} {'ms/step':>9} {'times':>6}  operation"]
    for kind, count, seconds in found[:_SHOWN]:
        per_step = 1e3 * seconds / steps
        lines.append(f"{seconds / total:6.1%} {per_step:9.2f} {count / steps:6.0f}  {kind}")
    return "\n".join(lines)


def _operation_events(planes: list[Any]) -> Iterator[Any]:
    """A TPU has a line of its own for operations; elsewhere they carry their HLO's name."""
    for plane in planes:
        lines = list(plane.lines)
        named = [line for line in lines if line.name == "XLA Ops"]
        for line in named or lines:
            for event in line.events:
                if named or any(name == "hlo_op" for name, _ in event.stats):
                    yield event


def _kind(name: str) -> str:
    """`%fusion.12 = f32[8]{0} fusion(...)` and `fusion.12` are both `fusion`."""
    return re.sub(r"(\.\d+)+$", "", name.split(" = ")[0].lstrip("%"))
