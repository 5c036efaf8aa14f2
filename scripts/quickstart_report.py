"""Prints a quickstart's final figures beside the reference figures, and where everything lies.

    python scripts/quickstart_report.py DATA RUN

The reference (`quickstart_reference.json`) holds three seeds on one text. Other text, which another
Python version brings too, gives other figures: then the report says that they do not compare.
"""

import json
import platform
import sys
from pathlib import Path

FIGURES = ("mlm_loss", "mlm_accuracy", "nsp_accuracy")
REFERENCE = Path(__file__).with_name("quickstart_reference.json")


def main(data: Path, run: Path) -> None:
    manifest = json.loads((data / "manifest.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    reference = json.loads(REFERENCE.read_text())

    print(f"\n{'validation':<16}{'this run':>10}{'reference, three seeds':>32}")
    for name in FIGURES:
        found = summary[f"validation_{name}"]
        seeds = [figures[name] for figures in reference["seeds"]]
        shown = "none" if found is None else f"{found:.4f}"
        print(f"{name:<16}{shown:>10}{min(seeds):>22.4f} to {max(seeds):.4f}")
    print(
        f"text {manifest['digest'][:12]}, Python {platform.python_version()}, "
        f"{summary['steps']} steps; reference: text {reference['digest'][:12]}, "
        f"Python {reference['python']}, {reference['steps']} steps"
    )
    if manifest["digest"] != reference["digest"] or summary["steps"] != reference["steps"]:
        print("not comparable: the text or the number of steps differs")
    tell_packages(run)
    print(f"\ndata        {data}/  (manifest.json, shards, tokenizer)")
    print(f"checkpoints {run}/checkpoints/")
    print(f"figures     {run}/metrics.jsonl, {run}/summary.json")
    print(f"curves      tensorboard --logdir {run}   (pip install tensorboard)")


def tell_packages(run: Path) -> None:
    """What pretraining was worth: the labelled task with it and without."""
    folders = [run.with_name(f"{run.name}-packages-{start}") for start in ("pretrained", "scratch")]
    files = [folder / "report.json" for folder in folders]
    if not all(file.is_file() for file in files):
        return
    found, scratch = (json.loads(file.read_text()) for file in files)
    print(
        f"\npackages, learnt from {found['train']['records']} labelled paragraphs, accuracy on "
        f"{found['dev']['records']} others: pretrained {found['figures']['accuracy']:.3f}, "
        f"the same model from scratch {scratch['figures']['accuracy']:.3f}"
    )
    print(f"fine-tuned  {folders[0]}/  (report.md; bertjax predict opens it)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
