"""Kills a training run at random steps and resumes it: are its losses those of a run left alone?

    python scripts/benchmark/kill_and_resume.py --work FOLDER --steps 300 --kills 10 -- \\
        bertjax pretrain tiny --data DATA --run {run} --train.steps=300 \\
        --train.checkpoint_every=20 --train.log_every=1

or fine-tunes: `bertjax finetune CONFIG --init CHECKPOINT --train FILE --dev FILE --run {run} ...`.

`{run}` in the command is replaced by a folder; the command must log every step. Prints where each
kill struck, and exits with 1 if any figure of any step, or of a fine-tuning run's report, differs
by a bit.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TIMINGS = ("seconds", "tokens_per_second", "data_wait_share", "mfu")
_SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for both runs")
    parser.add_argument("--steps", type=int, required=True, help="how many the command trains")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND with {run} in it")
    parsed = parser.parse_args()
    command = [word for word in parsed.command if word != "--"]

    alone, killed = parsed.work / "alone", parsed.work / "killed"
    run_to_end(command, alone)
    generator = random.Random(parsed.seed)
    for step in sorted(generator.sample(range(1, parsed.steps), parsed.kills)):
        delay = generator.uniform(0.0, 0.3)  # so that kills also strike between steps, and saves
        reached = run_until(command, killed, step, delay)
        print(f"killed when {reached} of {parsed.steps} steps were logged", flush=True)
    run_to_end(command, killed)
    return compare(figures(alone), figures(killed), parsed.kills)


def run_to_end(command: list[str], run: Path) -> None:
    subprocess.run(with_run(command, run), check=True, **_SILENT)


def run_until(command: list[str], run: Path, step: int, delay: float) -> int:
    """Starts the command and kills it (-9) once `step` is logged; the last step logged then."""
    with subprocess.Popen(with_run(command, run), **_SILENT) as process:
        while process.poll() is None and last_step(run) < step:
            time.sleep(0.02)
        time.sleep(delay)
        if process.poll() is not None:
            raise SystemExit(f"the command ended by itself, with status {process.returncode}")
        process.kill()
    return last_step(run)


def with_run(command: list[str], run: Path) -> list[str]:
    return [word.replace("{run}", str(run)) for word in command]


def figures(run: Path) -> list[dict[str, Any]]:
    """Every line of the log, and the report, without what depends on the clock."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    if (report := run / "report.json").exists():
        lines.append(report.read_text())
    found = map(json.loads, lines)
    return [{name: line[name] for name in line if name not in TIMINGS} for line in found]


def last_step(run: Path) -> int:
    file = run / "metrics.jsonl"
    whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
    return json.loads(whole.splitlines()[-1])["step"] if whole else 0


def compare(wanted: list[dict[str, Any]], found: list[dict[str, Any]], kills: int) -> int:
    if found == wanted:
        print(f"{len(wanted)} lines, {kills} kills: every figure is bit-identical")
        return 0
    pairs = zip(wanted, found, strict=False)
    difference = next(((a, b) for a, b in pairs if a != b), (len(wanted), len(found)))
    print(f"the runs differ, first here:\n  alone   {difference[0]}\n  resumed {difference[1]}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
