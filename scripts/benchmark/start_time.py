"""How long `bertjax pretrain` takes from the start of its process to its first step.

    python -m scripts.benchmark.start_time DATA [--config tiny] [--rounds 5] [--json FILE]

DATA is a folder that `bertjax prepare` made. The first start finds an empty compilation cache, the
others what it left there; each trains in a run folder of its own and is stopped once the line of
its first step stands in metrics.jsonl. "import" is a process that imports what pretraining needs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_LIMIT = 300.0  # seconds for one start
_IMPORTS = "import bertjax.train.pretrain"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--config", default="tiny")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = lambda: first_step_seconds(parsed.config, parsed.data, Path(folder))  # noqa: E731
        found = {
            "first step, empty compilation cache": [start()],
            "first step, warm compilation cache": [start() for _ in range(parsed.rounds)],
            "import": [import_seconds() for _ in range(parsed.rounds)],
        }
    print(table(parsed.config, found))
    if parsed.json:
        Path(parsed.json).write_text(json.dumps(found, indent=1) + "\n")


def first_step_seconds(config: str, data: str, folder: Path) -> float:
    """Starts a run; its programs are kept in `folder`."""
    run = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "bertjax", "pretrain", config, "--train.log_every=1"]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, f"--data={data}", f"--run={run}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not has_line(run / "metrics.jsonl"):
            if process.poll() is not None or time.perf_counter() - started > _LIMIT:
                raise SystemExit(f"no first step: {' '.join(command)} (exit {process.poll()})")
            time.sleep(0.01)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait()


def has_line(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def import_seconds() -> float:
    started = time.perf_counter()
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", _IMPORTS], env=environment, check=True)
    return time.perf_counter() - started


def table(config: str, found: dict[str, list[float]]) -> str:
    """Markdown: medians with the smallest and the largest."""
    lines = [
        f"{config}; {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}",
        "",
        "| from the start of the process to | seconds | spread |",
        "|---|---:|---|",
    ]
    for name, seconds in found.items():
        spread = f"{min(seconds):.2f}-{max(seconds):.2f} ({len(seconds)})"
        lines.append(f"| {name} | {statistics.median(seconds):.2f} | {spread} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
