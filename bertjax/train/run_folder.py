"""The run folder: its config, what may differ when it is resumed, and its final summary."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from etils import epath
from flax import traverse_util

from bertjax.config import (
    Config,
    Phase,
    QuestionAnswering,
    TrainConfig,
    from_json,
    phases,
    to_json,
    total_steps,
    with_steps,
)
from bertjax.errors import UserError, is_transient
from bertjax.files import LOCK, SEEDS_FOLDER, held, write_whole
from bertjax.json_text import dump_json
from bertjax.train.together import all_agree

CONFIG_FILE = "config.json"
SUMMARY_FILE = "summary.json"
_LATE_FILES = ("metrics.jsonl", SUMMARY_FILE, "report.json", "report.md")  # after config.json
_TOKENIZER_FILES = (
    *("vocab.txt", "wordpiece.json", "tokenizer.json"),
    *("tokenizer_config.json", "tokenizer.model"),
)
_FEW_STEPS = 1000  # a phase of a thousandth of the steps has one of these
_SHOWS_WITHIN = 10  # seconds: network file systems are late in showing what others wrote
_MAY_DIFFER = {
    "model.attention",
    "model.epilogues",
    "model.remat",
    "train.steps",
    "train.epochs",
    "train.patience",
    "train.accumulation",
    "train.log_every",
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.profile_steps",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
}


def open_run(run: str | os.PathLike[str], config: Config) -> tuple[Config, list[str]]:
    """Makes the folder, or checks that `config` continues the run that is there; writes nothing.

    Returns:
        The config to train with: its phases are spelled out as they are run, and those of a run
        that is continued stay what they are: another `train.steps` changes the last one alone.
        And one line per setting that differs from the run's and may: steps, patience, cadences,
        mesh, and how the same gradients are computed.

    Raises:
        UserError: another setting differs (it is named), or it cannot be a run's folder.
    """
    folder, given = epath.Path(run), config
    config = with_steps(config, total_steps(config))
    file = folder / CONFIG_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "manifest.json").exists():
            raise UserError(f"{run} is a folder made by bertjax prepare: give the run its own")
        if not file.exists():
            refuse_foreign_files(folder)
            return config, []
        old = from_json(file.read_bytes(), str(file))
    except OSError as error:
        if is_transient(error):
            raise
        raise UserError(f"cannot use the run folder {run}: {error.strerror or error}") from error
    return _continue(run, old, config, given.train)


def refuse_foreign_files(folder: epath.Path) -> None:
    """Refuses a folder without `config.json` in which a run would replace what it did not write.

    What a run writes before its `config.json`, and a copy of the best seed cut short, may stay.

    Raises:
        UserError: names the first such file.
    """
    if (folder / SEEDS_FOLDER).exists():
        return
    found = [name for name in _LATE_FILES if (folder / name).exists()]
    for part, ours in (("checkpoints", ()), ("tokenizer", _TOKENIZER_FILES)):
        if (folder / part).is_dir():
            names = sorted(entry.name for entry in (folder / part).iterdir())
            # What is written may have been cut short.
            others = [name for name in names if name not in ours and not name.endswith(".tmp")]
            found += [f"{part}/{name}" for name in others]
    if found:
        raise UserError(
            f"{folder}: holds {found[0]} and no {CONFIG_FILE}, so it is no run; training would "
            "replace it: give --run another folder"
        )


@contextlib.contextmanager
def hold_run(run: str | os.PathLike[str]) -> Iterator[None]:
    """While entered, nobody else trains in a local run; a bucket knows no locks.

    The first process of a run on several hosts holds it for all of them.

    Raises:
        UserError: somebody does already, the folder cannot be written, or is not the same folder on
            every host.
    """
    if "://" in str(run):
        yield
        return
    first = jax.process_index() == 0
    with held(Path(run), str(run)) if first else contextlib.nullcontext():
        _require_shared(Path(run))
        yield


def _require_shared(run: Path) -> None:
    """Every process must see the lock that the first one holds: raises UserError."""
    all_agree(True)  # it is there now
    until = time.monotonic() + _SHOWS_WITHIN
    while not (run / LOCK).exists() and time.monotonic() < until:
        time.sleep(0.1)
    if not all_agree((run / LOCK).exists()):
        raise UserError(
            f"{run}: not every host sees what the first one writes there; give --run a folder that "
            "they share, or gs://BUCKET/FOLDER"
        )


def write_config(run: epath.Path, config: Config) -> None:
    """Writes the `config.json` of a run, in the first process alone."""
    if jax.process_index() == 0:
        write_file(run / CONFIG_FILE, to_json(config).encode())


def write_summary(run: epath.Path, summary: dict[str, Any]) -> None:
    """Writes the `summary.json` of a run that has ended, in the first process alone."""
    if jax.process_index() == 0:
        write_file(run / SUMMARY_FILE, f"{dump_json(summary, indent=2)}\n".encode())


def _continue(
    run: str | os.PathLike[str], old: Config, config: Config, given: TrainConfig
) -> tuple[Config, list[str]]:
    old, config = with_steps(old, total_steps(old)), _with_findings(config, old)
    own, asked = with_steps(old, total_steps(config)).train.phases, config.train.phases
    if _same_course(old, own, given):
        config = _with_phases(config, own)
    changes = _differences(_with_phases(old, own), config)
    if refused := [line for name, line in changes.items() if name not in _MAY_DIFFER]:
        raise UserError(
            f"{run} was started with other settings: {'; '.join(refused)}; "
            "take them back, or start another run"
        )
    if own != asked:
        steps = ", ".join(str(phase.steps) for phase in own)
        warmups = ", ".join(str(phase.warmup_steps) for phase in own)
        told = f"the run keeps its own, now of {steps} steps with {warmups} of warmup"
        changes["train.phases"] = f"train.phases: {told}"
    return config, [f"{line}, otherwise as the run was started" for line in changes.values()]


def _with_findings(config: Config, old: Config) -> Config:
    """The config with what the run found out about its task after training."""
    task = config.task
    if isinstance(task, QuestionAnswering) and isinstance(old.task, QuestionAnswering):
        task = dataclasses.replace(task, null_threshold=old.task.null_threshold)
    return dataclasses.replace(config, task=task)


def _same_course(old: Config, own: Sequence[Phase], given: TrainConfig) -> bool:
    """Whether a run's phases and those it is to go on with differ by `train.steps` alone.

    They are the first of those given (the others come after its steps), or what so few steps as it
    once had left of them: all before the last one is then as the run has it.
    """
    if not own or not given.phases:
        return not own and not given.phases
    if len(own) <= len(given.phases) and all(map(_alike, own, given.phases)):
        return True
    *before, last = old.train.phases
    for steps in range(1, min(total_steps(old), _FEW_STEPS) + 1):
        *cut, end = phases(Config(train=dataclasses.replace(given, steps=steps)))
        if cut == before and _alike(last, end):
            return True
    return False


def _alike(before: Phase, now: Phase) -> bool:
    """Whether two phases differ in no more than what follows from `train.steps`."""
    return before == dataclasses.replace(now, steps=before.steps, warmup_steps=before.warmup_steps)


def _with_phases(config: Config, parts: tuple[Phase, ...]) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, phases=parts))


def _differences(old: Config, new: Config) -> dict[str, str]:
    """Lines such as `train.steps: 100 -> 200`, by the name of the field that differs."""
    before, after = (
        traverse_util.flatten_dict(dataclasses.asdict(config), sep=".") for config in (old, new)
    )
    return {
        name: f"{name}: {before.get(name)} -> {after.get(name)}"
        for name in before | after
        if before.get(name) != after.get(name)
    }


def write_file(path: Path | epath.Path, data: bytes) -> None:
    """Writes a file of a local or remote run: it appears whole or not at all.

    A remote object does so by itself; it can neither be renamed nor appended to.

    Raises:
        UserError: it cannot be written.
    """
    try:
        if "://" in str(path):
            path.write_bytes(data)
        else:
            write_whole(Path(path), lambda temporary: temporary.write_bytes(data))
    except OSError as error:
        if is_transient(error):
            raise
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
