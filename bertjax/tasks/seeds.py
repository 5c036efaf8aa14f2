"""One fine-tuning with several seeds: how much they differ, and the best of them kept."""

import dataclasses
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath

from bertjax.config import Config
from bertjax.errors import UserError
from bertjax.files import SEEDS_FOLDER, located
from bertjax.tasks.finetune import finetune, write_report
from bertjax.train.initial import InitialWeights
from bertjax.train.run_folder import CONFIG_FILE, hold_run, refuse_foreign_files


def finetune_seeds(
    config: Config,
    initial: InitialWeights,
    train: Path,
    dev: Path,
    run: epath.PathLike,
    seeds: int,
    scratch: bool = False,
) -> dict[str, Any]:
    """`finetune` with `seeds` seeds from `train.seed` on, in RUN/seeds/SEED.

    RUN becomes a copy of the best one, whose seed the report names, when all are trained. Started
    again it goes on where it stopped; with more seeds, it trains those that are missing.

    Returns:
        the best one's report with, besides, `seed`, `seeds` (each one's figures), `mean` and
        `standard_deviation` (of the sample) by figure.

    Raises:
        UserError: as `finetune`, or RUN holds something else, or seeds besides these.
    """
    folder = located(run, "run folder")
    if seeds < 2:
        raise UserError(f"--seeds {seeds}: give at least 2, or leave it out")
    if not (folder / CONFIG_FILE).exists():
        refuse_foreign_files(folder)
    elif not (folder / SEEDS_FOLDER).exists():
        raise UserError(f"{run}: holds another run; give --run another folder")
    _refuse_fewer(folder / SEEDS_FOLDER, config.train.seed, seeds)
    with hold_run(folder):
        reports = {}
        for seed in range(config.train.seed, config.train.seed + seeds):
            own = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))
            place = folder / SEEDS_FOLDER / str(seed)
            reports[seed] = finetune(own, initial, train, dev, place, scratch)
        metric = config.task.metric if config.task else ""
        best = max(reports, key=lambda seed: _at_least(reports[seed]["figures"][metric]))
        report = reports[best] | {"seed": best} | _spread(reports)
        if not _is_copy_of(folder, best):
            _copy(folder / SEEDS_FOLDER / str(best), folder)
        write_report(folder, report)
    return report


def _refuse_fewer(folder: epath.Path, first: int, seeds: int) -> None:
    """The best of fewer would replace the best of all: raises UserError."""
    names = [place.name for place in folder.iterdir()] if folder.exists() else []
    there = {int(name) for name in names if name.isdecimal()}
    if left_out := sorted(there - set(range(first, first + seeds))):
        raise UserError(
            f"{folder}: holds seed {left_out[0]} too, which --seeds {seeds} with "
            f"train.seed={first} leaves out; count it in, or give --run another folder"
        )


def _at_least(metric: float | None) -> float:
    return metric if metric is not None and math.isfinite(metric) else -math.inf


def _spread(reports: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Every seed's figures, and what they are on average."""
    figures = {str(seed): report["figures"] for seed, report in reports.items()}
    names = [
        name
        for name in next(iter(figures.values()))
        if all(isinstance(own[name], float) for own in figures.values())
    ]
    values = {name: [own[name] for own in figures.values()] for name in names}
    return {
        "seeds": figures,
        "mean": {name: statistics.mean(own) for name, own in values.items()},
        "standard_deviation": {name: statistics.stdev(own) for name, own in values.items()},
    }


def _is_copy_of(folder: epath.Path, seed: int) -> bool:
    """Whether the run was made a copy of this seed's by an earlier call, which finished."""
    files = [folder / CONFIG_FILE, folder / SEEDS_FOLDER / str(seed) / CONFIG_FILE]
    return files[0].exists() and files[0].read_bytes() == files[1].read_bytes()


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Makes `target` a copy of a run; without its config, which comes last, it is none."""
    (target / CONFIG_FILE).unlink(missing_ok=True)
    (target / "checkpoints").rmtree(missing_ok=True)  # of what was the best one before
    for file in sorted(_files(source), key=lambda file: file.name == CONFIG_FILE):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.copy(place, overwrite=True)


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry
