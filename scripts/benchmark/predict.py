"""Measures `bertjax predict` on files of different sizes: rows per second, and peak memory.

    python scripts/benchmark/predict.py RUN --input test.tsv --rows 1000 10000 100000 [--json FILE]

RUN is fine-tuned on a table; the rows of the input (.tsv, .csv or .jsonl) are repeated until there
are enough. Every file is predicted by a process of its own, whose resident memory at its largest is
what counts.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--input", required=True, type=Path, metavar="FILE")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parsed = parser.parse_args()
    found = []
    print("| rows | seconds | rows/s | peak memory |\n|---:|---:|---:|---:|", flush=True)
    for rows in parsed.rows:
        found.append(measure(parsed.run, parsed.input, rows))
        print(table_row(found[-1]), flush=True)
    if parsed.json:
        Path(parsed.json).write_text(json.dumps(found, indent=1) + "\n")


def table_row(own: dict[str, Any]) -> str:
    return (
        f"| {own['rows']:,} | {own['seconds']:.1f} | {own['rows_per_second']:,.0f} | "
        f"{own['peak_memory'] / 2**20:,.0f} MiB |"
    )


def measure(run: str, source: Path, rows: int) -> dict[str, Any]:
    """Predicts so many rows; memory is in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder, f"rows{source.suffix}"), Path(folder, "found.jsonl")
        repeat_rows(source, file, rows)
        seconds, peak = run_measured(
            ["predict", run, "--input", str(file), "--output", str(output)]
        )
        with output.open() as lines:
            written = sum(1 for _ in lines)
    if written != rows:
        raise SystemExit(f"{written} predictions for {rows} rows")
    return {
        "rows": rows,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "peak_memory": peak,
    }


def repeat_rows(source: Path, target: Path, rows: int) -> None:
    """Writes the lines of a table over and over, its header once."""
    lines = source.read_text("utf-8").splitlines(keepends=True)
    header = [] if source.suffix == ".jsonl" else lines[:1]
    with target.open("w", encoding="utf-8") as file:
        file.writelines(header)
        file.writelines(itertools.islice(itertools.cycle(lines[len(header) :]), rows))


def run_measured(arguments: list[str]) -> tuple[float, int]:
    """The seconds and the largest resident memory (bytes) of a `bertjax` process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "bertjax", *arguments], stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"bertjax {' '.join(arguments)}: exit status {code}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - started, usage.ru_maxrss * unit


if __name__ == "__main__":
    main()
