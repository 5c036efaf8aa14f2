"""What `bertjax plan` says of base and large on several TPU slices, as one table.

    python -m scripts.benchmark.plan_table --json plan.json > plan.md

Needs the extra aot; runs nothing. Every cell is a compilation of minutes, in a process of its own;
a cell that is in the JSON file already is not compiled again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bertjax.files import write_whole

ROWS = {"base": 16, "large": 8}  # per chip, at length 512
SLICES = ("v5e:2x4", "v5e:16x16", "v4:2x2x2", "v6e:4x4")


def main() -> None:
    """Fills in the cells that are missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=list(ROWS), metavar="CONFIG")
    parser.add_argument("--slices", nargs="+", default=list(SLICES), metavar="SLICE")
    parser.add_argument("--rows", type=int, help="per chip (default: 16 for base, 8 for large)")
    parser.add_argument("--json", required=True, type=Path, metavar="FILE", help="cells so far")
    parser.add_argument("settings", nargs="*", help="--section.field=value, after --")
    parsed = parser.parse_args()
    if not parsed.rows and (unknown := [name for name in parsed.configs if name not in ROWS]):
        parser.error(f"--configs {unknown[0]}: give --rows, the rows per chip")
    cells = json.loads(parsed.json.read_text()) if parsed.json.exists() else {}
    for name in parsed.configs:
        for topology in parsed.slices:
            rows = parsed.rows or ROWS[name]
            key = " ".join([name, topology, f"rows={rows}", *parsed.settings])
            if key not in cells:
                cells[key] = plan(name, topology, rows, parsed.settings)
                text = f"{json.dumps(cells, indent=1)}\n"
                write_whole(parsed.json, lambda path, text=text: path.write_text(text))
    print(table(cells))


def plan(name: str, topology: str, rows: int, settings: list[str]) -> dict[str, Any]:
    """The figures of one cell; of an error, its line."""
    from bertjax.train.slices import find_slice

    batch_size = rows * find_slice(topology).chips
    command = [sys.executable, "-m", "bertjax", "plan", name, "--topology", topology, "--json"]
    sizes = [f"--train.batch_size={batch_size}", "--data.length=512"]
    found = subprocess.run([*command, *sizes, *settings], capture_output=True, text=True)
    if found.returncode:
        return {"error": found.stderr.strip().splitlines()[-1]}
    return json.loads(found.stdout.splitlines()[-1])


def table(cells: dict[str, dict[str, Any]]) -> str:
    """All cells in Markdown."""
    lines = [
        "| config, slice, rows per chip | chips | memory per chip | estimated | a device sends "
        "| warnings | compiled in |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_line(key, cells[key]) for key in cells])


def _line(key: str, figures: dict[str, Any]) -> str:
    if "error" in figures:
        return f"| {key} | | {figures['error']} | | | | |"
    seconds = figures["estimated_seconds"]
    sent = sum(group["bytes"] for group in figures["collectives"])
    fits = "" if figures["fits"] else ", does not fit"
    fields = (
        key,
        str(figures["chips"]),
        f"{figures['memory_per_chip'] / 1e9:.2f} GB{fits}",
        "" if seconds is None else f"{seconds * 1e3:.1f} ms",
        f"{sent / 1e9:.2f} GB",
        str(len(figures["warnings"])),
        f"{figures['compile_seconds']:.0f} s",
    )
    return f"| {' | '.join(fields)} |"


if __name__ == "__main__":
    main()
