"""Draws the validation curves of runs into one PNG, by minutes of training or by steps.

    pip install matplotlib
    python scripts/benchmark/plot_curves.py OUTPUT.png minutes|step NAME=RUN [NAME=RUN ...]

Minutes say something of a machine that does nothing else. Reads each run's `metrics.jsonl`. Three
panels: mlm_loss, mlm_accuracy, nsp_accuracy.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # pyright: ignore[reportMissingImports]

mpl.use("Agg")
from matplotlib import pyplot as plt  # pyright: ignore[reportMissingImports]

PANELS = ("mlm_loss", "mlm_accuracy", "nsp_accuracy")


def validation_curve(run: Path) -> dict[str, list[float]]:
    """Lists of equal length: `minutes` of training, `step`, and every figure in PANELS."""
    curve: dict[str, list[float]] = {name: [] for name in ("minutes", "step", *PANELS)}
    minutes = 0.0
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        minutes = entry.get("seconds", minutes * 60) / 60
        if "validation_mlm_loss" in entry:
            curve["minutes"].append(minutes)
            curve["step"].append(entry["step"])
            for name in PANELS:
                curve[name].append(entry[f"validation_{name}"])
    return curve


def main(output: str, by: str, runs: list[str]) -> None:
    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 3.8), layout="constrained")
    for text in runs:
        name, _, folder = text.partition("=")
        curve = validation_curve(Path(folder))
        for axis, panel in zip(axes, PANELS, strict=True):
            axis.plot(curve[by], curve[panel], label=name, linewidth=1.8)
    for axis, panel in zip(axes, PANELS, strict=True):
        axis.set(title=f"validation {panel}", xlabel=f"{by} of training")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
