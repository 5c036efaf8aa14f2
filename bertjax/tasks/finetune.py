"""`bertjax finetune`: pretrained weights and a labelled file become answers, and a report."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from bertjax.config import Classification, Config, QuestionAnswering, validate
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.files import SEEDS_FOLDER, located, sha256_of
from bertjax.json_text import dump_json
from bertjax.tasks.example_batches import ExampleBatches
from bertjax.tasks.finetune_config import check_warmup, with_model, with_planned_steps, with_task
from bertjax.tasks.labelled_task import labelled_task
from bertjax.tasks.predictions import Predicted, Predictor, figures, predict_all
from bertjax.tasks.report_table import report_markdown
from bertjax.tasks.task import Notes, Task, file_entry, tell_notes
from bertjax.tasks.task_objective import task_objective
from bertjax.tasks.training_file import check_labels_of_dev, check_scorable, check_targets
from bertjax.train.checkpoint import load_params
from bertjax.train.digest import named_leaves
from bertjax.train.initial import InitialWeights
from bertjax.train.mesh import make_mesh, replicated, validate_mesh
from bertjax.train.run import train_run, use_compilation_cache
from bertjax.train.run_folder import hold_run, open_run, write_config, write_file, write_summary


@dataclass(frozen=True)
class Labelled:
    """A labelled file, read.

    Attributes:
        name: as the user gave it.
        records: the task's own, in the file's order.
        notes: what was repaired or left out.
    """

    name: str
    records: list[Any]
    notes: Notes


@dataclass(frozen=True)
class _Job:
    """A fine-tuning run, everything checked and read."""

    config: Config
    initial: InitialWeights
    scratch: bool
    task: Task
    train: Labelled
    dev: Labelled
    run: epath.Path
    predictor: Predictor


def finetune(
    config: Config,
    initial: InitialWeights,
    train: str | Path,
    dev: str | Path,
    run: epath.PathLike,
    scratch: bool = False,
) -> dict[str, Any]:
    """Fine-tunes a checkpoint on a labelled file in the folder RUN, or goes on with the run there.

    Args:
        config: has a `task`; of the model it says no more than dropout, remat and kernels.
        initial: the checkpoint to start from.
        train, dev: labelled files, or `tfds:` names.
        run: a local folder or `gs://`.
        scratch: start from random weights of the same size instead: what pretraining is worth.

    Returns:
        The report, as in `report.json`: among it the best step's figures on the dev file.

    Raises:
        UserError: config, files, checkpoint and run do not fit together.
        SystemExit: 143, after a clean stop on SIGTERM or SIGINT.
    """
    folder, train, dev = located(run, "run folder"), Path(train), Path(dev)
    if (folder / SEEDS_FOLDER).exists():
        raise UserError(f"{run}: was made with --seeds; give --seeds again, or another folder")
    if isinstance(config.task, QuestionAnswering) and config.task.null_threshold:
        raise UserError("task.null_threshold: is found on the dev file; leave it out")
    config = with_model(config, initial.config)
    planned = with_planned_steps(config, 1)
    validate(planned)  # before anything is read
    validate_mesh(planned, make_mesh(planned.mesh).size, jax.default_backend())
    task = labelled_task(config, initial.tokenizer, train)
    training, held_out = _read(task, train), _read(task, dev)
    examples = [window for record in training.records for window in task.examples(record)]
    check_targets(train, examples, task.labels)
    check_scorable(dev, held_out.records, task.settings)
    if isinstance(task.settings, Classification):
        check_labels_of_dev(train, dev, training.records, held_out.records, task.labels)
    config = with_task(with_planned_steps(config, len(examples)), task)
    validate(config)
    check_warmup(config)
    use_compilation_cache()
    with hold_run(run):
        config, changes = open_run(run, config)
        predictor = Predictor(task, config, initial.tokenizer.pad_id, labelled=True)
        job = _Job(config, initial, scratch, task, training, held_out, folder, predictor)
        summary = _fit(job, examples, changes)
        report = _report(job, summary)
        write_report(folder, report)
        write_summary(folder, _at_best_step(summary, report))
    return report


def write_report(run: epath.Path, report: dict[str, Any]) -> None:
    """Writes a run's `report.json`, and `report.md` to be passed on: it quotes none of the data."""
    text = dump_json(report, indent=2, ensure_ascii=False)
    write_file(run / "report.json", f"{text}\n".encode())
    write_file(run / "report.md", report_markdown(report).encode())


def _read(task: Task, file: Path) -> Labelled:
    notes = Notes()
    records = list(task.read(file, True, notes))
    tell_notes(file, notes)
    return Labelled(str(file), records, notes)


def _fit(job: _Job, examples: list[Example], changes: list[str]) -> dict[str, Any]:
    """Trains to the last step, or to the end of its patience; returns the summary."""
    config, tokenizer = job.config, job.initial.tokenizer
    evaluate = lambda params: figures(  # noqa: E731
        job.task, predict_all(job.predictor, params, job.dev.records)
    )
    batches = ExampleBatches(examples, config, tokenizer.pad_id)
    initial = _without_other_heads(job.initial, config.model.labels)
    weights = "random" if job.scratch else params_digest(job.initial.params)
    return train_run(
        task_objective(job.task, config, batches, evaluate),
        config,
        job.run,
        tokenizer,
        None if job.scratch else lambda: initial,
        identity={
            "training_file_digest": _digest(job.train.name),
            "dev_file_digest": _digest(job.dev.name),
            "initial_weights_digest": weights,
        },
        facts={"training_file": job.train.name, "training_examples": len(examples)},
        remarks=changes,
    )


def _report(job: _Job, summary: dict[str, Any]) -> dict[str, Any]:
    """What the best step does on the dev file, and how it came about."""
    params, best_step = load_params(job.run, best=True)
    params = jax.device_put(params, replicated(make_mesh(job.config.mesh)))
    best = _calibrated(job, predict_all(job.predictor, params, job.dev.records))
    assert job.config.task is not None
    return {
        "task": job.config.task.kind,
        "metric": job.config.task.metric,
        "started_from": summary.get("started_from", "random weights"),
        "train": file_entry(job.train.name, len(job.train.records), job.train.notes),
        "dev": file_entry(job.dev.name, len(job.dev.records), job.dev.notes),
        "steps": summary["steps"],
        "best_step": best_step,
        "seconds": summary["seconds"],
        "figures": figures(job.task, best),
        "details": job.task.details(best.records, best.predictions),
    }


def _at_best_step(summary: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """The summary with the figures of the best step, at which the run is opened, not the last."""
    best = {f"validation_{name}": value for name, value in report["figures"].items()}
    return summary | {"best_step": report["best_step"]} | best


def _calibrated(job: _Job, found: Predicted) -> Predicted:
    """The predictions with the settings that suit the dev file best, which the run keeps."""
    if job.task.calibrate is None:
        return found
    settings, predictions = job.task.calibrate(found.records, found.predictions)
    write_config(job.run, dataclasses.replace(job.config, task=settings))
    return found._replace(predictions=predictions)


def _digest(file: str) -> str:
    """SHA-256 of a labelled file; of a `tfds:` set, of what tells its content."""
    if not file.startswith("tfds:"):
        return sha256_of(Path(file))
    from bertjax.text import tfds_source

    return hashlib.sha256(f"{file}\n{tfds_source.version(file)}".encode()).hexdigest()


def params_digest(params: Any) -> str:
    """SHA-256 of the names and values of a pytree of arrays."""
    found = hashlib.sha256()
    for name, leaf in sorted(named_leaves(params).items()):
        found.update(name.encode())
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


def _without_other_heads(weights: InitialWeights, labels: tuple[str, ...]) -> InitialWeights:
    """The weights without a head whose outputs stand for something else.

    Where the labels have the same names, fine-tuning goes on with the checkpoint's own head.
    """
    if weights.config.labels == labels:
        return weights
    heads = ("classification_head", "tagging_head")
    params = {name: part for name, part in weights.params.items() if name not in heads}
    return dataclasses.replace(weights, params=params)
