"""Measures `bertjax prepare`: speed, memory, size, and that the result is always the same.

    python scripts/benchmark/prepare.py --corpus 'wiki/*.txt.gz' --vocab-size 30000

prepares the corpus with 1 worker, with 2, and with 2 while it is killed (-9) over and over, and
prints a table. A corpus given several times is prepared as one. Peak memory is the resident memory
of all processes together, sampled ten times a second.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from bertjax.text.prepare import PrepareSettings, prepare

_SECONDS_BETWEEN_SAMPLES = 0.1


@dataclasses.dataclass
class Run:
    """One way of preparing a corpus, measured."""

    name: str
    seconds: float
    phase_seconds: dict[str, float]
    peak_memory: int  # bytes
    kills: int
    files: dict[str, str]  # SHA-256 by path


def main() -> None:
    os.environ["PYTHONWARNINGS"] = "ignore"  # semaphores that a killed run leaves behind
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--corpus", action="append", required=True, metavar="SPEC")
    parser.add_argument("--tokenizer", default="wordpiece")
    parser.add_argument("--vocab-size", type=int, default=30_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = PrepareSettings(
            tuple(parsed.corpus), "", tokenizer=parsed.tokenizer, vocab_size=parsed.vocab_size
        )
        first = measure("1 worker", settings, Path(folder, "one"), workers=1)
        second = measure("2 workers", settings, Path(folder, "two"), workers=2)
        killed = measure(
            "2 workers, killed",
            settings,
            Path(folder, "killed"),
            workers=2,
            kill_after=kill_times(parsed.kills, second.seconds),
        )
        manifest = json.loads(Path(folder, "one", "manifest.json").read_text())
        size = sum(path.stat().st_size for path in Path(folder, "one").rglob("*") if path.is_file())
    runs = [first, second, killed]
    print_table(runs, manifest, size)
    if parsed.json:
        found = {"runs": [vars(run) for run in runs], "bytes": size} | {
            name: manifest[name] for name in ("sources", "dropped")
        }
        Path(parsed.json).write_text(json.dumps(found, indent=1) + "\n")


def kill_times(count: int, seconds: float) -> list[float]:
    """How long each doomed attempt may run."""
    rng = random.Random(0)
    return [rng.uniform(0.5, max(1.0, seconds / 2)) for _ in range(count)]


def measure(
    name: str,
    settings: PrepareSettings,
    folder: Path,
    workers: int,
    kill_after: Sequence[float] = (),
) -> Run:
    """Prepares into `folder`, killed after each of these seconds before it may finish."""
    settings = dataclasses.replace(settings, output=str(folder), workers=workers)
    start, peak, kills, phases = time.monotonic(), 0, 0, {}
    for limit in [*kill_after, float("inf")]:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=prepare_timed, args=(settings, sender)
        )
        process.start()
        sender.close()
        began = time.monotonic()
        while process.is_alive():
            peak = max(peak, tree_memory(process.pid or 0))
            if time.monotonic() - began > limit:
                process.kill()
                kills += 1
            process.join(_SECONDS_BETWEEN_SAMPLES)
        if process.exitcode == 0:
            phases = receiver.recv()
            break
    else:
        raise SystemExit(f"{name}: exit code {process.exitcode}")
    return Run(name, time.monotonic() - start, phases, peak, kills, digests(folder))


def prepare_timed(settings: PrepareSettings, sender: Connection) -> None:
    """Runs in a process of its own; sends the seconds that each phase took."""
    starts: dict[str, float] = {}

    def note(phase: str, *_: object) -> None:
        starts.setdefault(phase, time.monotonic())

    prepare(settings, note)
    ends = [*list(starts.values())[1:], time.monotonic()]
    sender.send({phase: end - starts[phase] for phase, end in zip(starts, ends, strict=True)})


def tree_memory(root: int) -> int:
    """Resident bytes of a process and all below it."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(folder.name)], sizes[int(folder.name)] = int(fields[1]), int(fields[21]) * 4096
    total, tree = 0, [root]
    for process in tree:
        total += sizes.get(process, 0)
        tree += [child for child, parent in parents.items() if parent == process]
    return total


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def print_table(runs: list[Run], manifest: dict, size: int) -> None:
    """Prints what was measured, as Markdown."""
    documents = sum(source["documents"] for source in manifest["sources"])
    text = sum(source["bytes"] for source in manifest["sources"])
    tokens = sum(source["tokens"] for source in manifest["sources"])
    print(f"{documents:,} documents, {text:,} bytes, {tokens:,} tokens; dropped:", end=" ")
    print(
        ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in manifest["dropped"].items()
        )
    )
    print(f"on disk: {size:,} bytes = {size / text:.3f} x the text\n")
    print("| run | seconds | documents/s | tokens/s | peak memory | same bytes |")
    print("|---|---:|---:|---:|---:|---|")
    for run in runs:
        name = f"{run.name} {run.kills} times" if run.kills else run.name
        same = "yes" if run.files == runs[0].files else "NO"
        print(
            f"| {name} | {run.seconds:.1f} | {documents / run.seconds:,.0f} | "
            f"{tokens / run.seconds:,.0f} | {run.peak_memory / 2**20:,.0f} MiB | {same} |"
        )
    for run in runs:
        if not run.kills:
            parts = [f"{phase} {seconds:.1f} s" for phase, seconds in run.phase_seconds.items()]
            rate = tokens / run.phase_seconds["tokenizing"]
            print(f"\n{run.name}: {', '.join(parts)}; {rate:,.0f} tokens/s while tokenizing")


if __name__ == "__main__":
    main()
