"""Fine-tunes one checkpoint on every task there is data for, also from scratch: one table.

    python scripts/tasks.py --init CHECKPOINT --data TASKS --output runs/tasks
    python scripts/tasks.py --init CHECKPOINT --data TASKS --output runs/tasks --task sst2 --seeds 3

TASKS has a folder for each task (`sst2/train.tsv`, `sst2/dev.tsv`, ...). The best step is chosen on
the file that is reported, so figures are a little too good. Writes `table.md` and `table.json` into
the output folder after every task; other tasks' rows stay. Safe to run again: what is finished is
not trained twice, more seeds are added to those that are there. A folder is for one checkpoint and
the same settings, such as `--train.epochs=1`, which are for all tasks. Where a config's rows are
longer than the checkpoint has positions, they are made that short; it is said, and the table's JSON
tells the length.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bertjax.cli import choose_platform
from bertjax.config import Config, load_config
from bertjax.errors import UserError
from bertjax.files import SEEDS_FOLDER, write_whole

if TYPE_CHECKING:
    from bertjax.train.initial import InitialWeights


class Files(NamedTuple):
    """What a task learns from and what it is measured on."""

    train: str
    dev: str


_TABLE = Files("train.tsv", "dev.tsv")
TASKS = {
    **dict.fromkeys(("sst2", "mrpc", "stsb", "rte", "cola", "qnli", "qqp"), _TABLE),
    "mnli": Files("train.tsv", "dev_matched.tsv"),
    "sms_spam": Files("train.tsv", "test.tsv"),
    "wnut17": Files("train.conll", "dev.conll"),
    **dict.fromkeys(("squad_en", "squad2_en"), Files("train.json", "dev.json")),
    "nsmc": Files("train.tsv", "test.tsv"),
    "klue_ner": Files("train.tsv", "test.tsv"),
    **dict.fromkeys(("korsts", "klue_nli"), _TABLE),
    "korquad": Files("train.json", "dev.json"),
}
_PER_CENT = ("squad_en", "squad2_en", "korquad")  # as their published scripts print them
_CONFIGS = {"squad_en": "squad", "squad2_en": "squad2"}  # where it is not the folder's name


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--init", required=True, metavar="CHECKPOINT")
    parser.add_argument("--data", required=True, type=Path, metavar="TASKS")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--task", action="append", choices=TASKS, help="default: all with data")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--no-scratch", action="store_true", help="leave the baseline out")
    parsed, overrides = parser.parse_known_args()

    choose_platform()  # before jax is imported
    from bertjax.api import load_initial
    from bertjax.tasks.finetune import params_digest

    there = [task for task in parsed.task or TASKS if has_data(task, parsed.data)]
    try:
        if not there:
            raise UserError(f"--data {parsed.data}: no task has data there")
        initial = load_initial(parsed.init)
    except UserError as error:
        print(f"tasks: {error}", file=sys.stderr)
        return 2
    starts = ("pretrained",) if parsed.no_scratch else ("pretrained", "scratch")
    made = {
        "started_from": initial.source,
        "weights_digest": params_digest(initial.params),
        "settings": overrides,
    }
    try:
        rows = earlier_rows(parsed.output, made)
    except UserError as error:
        print(f"tasks: {error}", file=sys.stderr)
        return 2
    wrong = wrong_settings(there, overrides)
    for message in dict.fromkeys(wrong.values()):
        names = ", ".join(task for task in wrong if wrong[task] == message)
        print(f"{names}: {message}", file=sys.stderr)
    refused = 2 if wrong else 0
    for task in (task for task in there if task not in wrong):
        row: dict[str, Any] = {"task": task} | rows.get(task, {})
        try:
            for start in starts:
                run = parsed.output / f"{task}-{start}"
                files = files_of(task, parsed.data)
                scratch = start == "scratch"
                row[start] = train(task, initial, files, run, parsed.seeds, overrides, scratch)
            rows = earlier_rows(parsed.output, made) | {task: row}  # others may write there too
        except UserError as error:  # the others need not wait for it
            print(f"{task}: {error}", file=sys.stderr)
            refused = 2
            continue
        write_tables(parsed.output, made, [rows[name] for name in TASKS if name in rows])
    return refused


def earlier_rows(folder: Path, made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The table's rows by task.

    Raises:
        UserError: the table is damaged, or of another checkpoint or other settings.
    """
    file = folder / "table.json"
    if not file.is_file():
        return {}
    try:
        table = json.loads(file.read_text())
        rows = {row["task"]: row for row in table["tasks"]}
        different = [name for name, value in made.items() if table[name] != value]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{file}: not a table that this script wrote; give --output another folder"
        ) from error
    if different:
        what = "other settings" if different == ["settings"] else "another checkpoint"
        raise UserError(f"{file}: was made with {what}; give --output another folder")
    return rows


def wrong_settings(tasks: Sequence[str], overrides: list[str]) -> dict[str, str]:
    """What is wrong with the settings, by the task whose config does not take them."""
    found = {}
    for task in tasks:
        try:
            load_config(_CONFIGS.get(task, task), overrides)
        except UserError as error:
            found[task] = str(error)
    return found


def files_of(task: str, data: Path) -> list[Path]:
    """A task's file to learn from and the one that it is measured on."""
    return [data / task / name for name in TASKS[task]]


def has_data(task: str, data: Path) -> bool:
    """Whether both files are there; says so if not."""
    files = files_of(task, data)
    found = all(file.is_file() for file in files)
    if not found:
        print(f"{task}: no {files[0]} and {files[1].name}, left out")
    return found


def train(
    task: str,
    initial: "InitialWeights",
    files: Sequence[Path],
    run: Path,
    seeds: int,
    overrides: list[str],
    scratch: bool,
) -> dict[str, Any]:
    """The figures of the best step, and over several seeds their mean and standard deviation.

    A single seed's run lies where several would lie, so that more can be added; those that are
    there already count too.
    """
    from bertjax.tasks.finetune import finetune
    from bertjax.tasks.seeds import finetune_seeds

    asked = load_config(_CONFIGS.get(task, task), overrides)
    config = with_fitting_length(asked, initial.config.max_length)
    if config != asked:
        print(f"{task}: rows of {config.data.length} tokens, the checkpoint has no more positions")
    train, dev = files
    if (run / "config.json").exists() and not (run / SEEDS_FOLDER).exists():
        raise UserError(f"{run}: holds a run that is not of this script; move it away")
    first = config.train.seed
    while (run / SEEDS_FOLDER / str(first + seeds)).exists():
        seeds += 1
    if seeds == 1:
        own = run / SEEDS_FOLDER / str(first)
        report = finetune(config, initial, train, dev, own, scratch)
    else:
        report = finetune_seeds(config, initial, train, dev, run, seeds, scratch)
    kept = ("started_from", "metric", "seconds", "figures", "seeds", "mean", "standard_deviation")
    return {"length": config.data.length} | {name: report[name] for name in kept if name in report}


def with_fitting_length(config: Config, positions: int) -> Config:
    """The config with rows no longer than the checkpoint's positions: one table fits any model."""
    length = min(config.data.length, positions)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, length=length))


def write_tables(folder: Path, made: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """`table.json` with how it was made and all figures, `table.md` with each task's own metric."""
    text = json.dumps(made | {"tasks": rows}, indent=2) + "\n"
    write_whole(folder / "table.json", lambda file: file.write_text(text))
    lines = ["| task | metric | pretrained | from scratch | minutes |", "|---|---|---:|---:|---:|"]
    for row in rows:
        own = row["pretrained"]
        metric = f"{own['metric']}, %" if row["task"] in _PER_CENT else own["metric"]
        cells = [row["task"], metric, shown(own), shown(row.get("scratch"))]
        lines.append(f"| {' | '.join(cells)} | {own['seconds'] / 60:.1f} |")
    table = "\n".join(lines) + "\n"
    write_whole(folder / "table.md", lambda file: file.write_text(table))
    print(table, flush=True)


def shown(found: dict[str, Any] | None) -> str:
    """The task's metric; over several seeds the mean and the standard deviation."""
    if found is None:
        return ""
    name = found["metric"]
    if "mean" in found:
        return f"{found['mean'][name]:.3f} ± {found['standard_deviation'][name]:.3f}"
    return f"{found['figures'][name]:.3f}"


if __name__ == "__main__":
    sys.exit(main())
