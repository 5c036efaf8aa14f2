"""`bertjax finetune`: pretrained weights and a labelled file become answers, and a report."""

import contextlib
import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from etils import epath

from bertjax.config import Classification, Config, validate
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.files import SEEDS_FOLDER, located, sha256_of
from bertjax.tasks.example_batches import ExampleBatches
from bertjax.tasks.finetune_config import check_warmup, with_model, with_planned_steps, with_task
from bertjax.tasks.labelled_task import labelled_task
from bertjax.tasks.predictions import Predicted, Predictor, figures, predict_all
from bertjax.tasks.report_table import report_markdown
from bertjax.tasks.task import Notes, Task, file_entry, tell_notes
from bertjax.tasks.task_objective import task_objective
from bertjax.tasks.training_file import check_labels_of_dev, check_targets
from bertjax.train.checkpoint import Checkpoints, load_params
from bertjax.train.digest import named_leaves
from bertjax.train.initial import InitialWeights, complete_params, record_source, recorded_source
from bertjax.train.loop import fit
from bertjax.train.mesh import make_mesh, replicated, validate_mesh
from bertjax.train.pretrain import save_tokenizer, use_compilation_cache
from bertjax.train.run_folder import hold_run, open_run, write_config, write_file

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


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
class Pretrained:
    """The checkpoint that is fine-tuned.

    Attributes:
        weights: its params and what they are.
        tokenizer: its own.
        scratch: start from random weights of the same size instead: what pretraining is worth.
    """

    weights: InitialWeights
    tokenizer: "Tokenizer"
    scratch: bool = False


@dataclass(frozen=True)
class _Job:
    """A fine-tuning run, everything checked and read."""

    config: Config
    pretrained: Pretrained
    task: Task
    train: Labelled
    dev: Labelled
    run: epath.Path
    predictor: Predictor


def finetune(
    config: Config, pretrained: Pretrained, train: str | Path, dev: str | Path, run: epath.PathLike
) -> dict[str, Any]:
    """Fine-tunes a checkpoint on a labelled file in the folder RUN, or goes on with the run there.

    Args:
        config: has a `task`; of the model it says no more than dropout, remat and kernels.
        pretrained: what to start from.
        train, dev: labelled files, or `tfds:` names.
        run: a local folder or `gs://`.

    Returns:
        The report, as in `report.json`: among it the best step's figures on the dev file.

    Raises:
        UserError: config, files, checkpoint and run do not fit together.
        SystemExit: 143, after a clean stop on SIGTERM or SIGINT.
    """
    folder, train, dev = located(run, "run folder"), Path(train), Path(dev)
    if (folder / SEEDS_FOLDER).exists():
        raise UserError(f"{run}: was made with --seeds; give --seeds again, or another folder")
    config = with_model(config, pretrained.weights.config)
    planned = with_planned_steps(config, 1)
    validate(planned)  # before anything is read
    validate_mesh(planned, make_mesh(planned.mesh).size, jax.default_backend())
    task = labelled_task(config, pretrained.tokenizer, train)
    training, held_out = _read(task, train), _read(task, dev)
    examples = [window for record in training.records for window in task.examples(record)]
    check_targets(train, examples, task.labels)
    if isinstance(task.settings, Classification):
        check_labels_of_dev(train, dev, training.records, held_out.records, task.labels)
    config = with_task(with_planned_steps(config, len(examples)), task)
    validate(config)
    check_warmup(config)
    use_compilation_cache()
    with hold_run(run):
        config, changes = open_run(run, config)
        for change in changes:
            _tell(f"{change}, otherwise as the run was started")
        predictor = Predictor(task, config, pretrained.tokenizer.pad_id, labelled=True)
        job = _Job(config, pretrained, task, training, held_out, folder, predictor)
        summary = _fit(job, examples)
        report = _report(job, summary)
        write_report(folder, report)
        _write_summary(folder, summary, report)
    return report


def write_report(run: epath.Path, report: dict[str, Any]) -> None:
    """Writes a run's `report.json`, and `report.md` to be passed on: it quotes none of the data."""
    text = json.dumps(report, indent=2, ensure_ascii=False)
    write_file(run / "report.json", f"{text}\n".encode())
    write_file(run / "report.md", report_markdown(report).encode())


def _read(task: Task, file: Path) -> Labelled:
    notes = Notes()
    records = list(task.read(file, True, notes))
    if not records:
        raise UserError(f"{file}: nothing in it")
    tell_notes(file, notes)
    return Labelled(str(file), records, notes)


def _fit(job: _Job, examples: list[Example]) -> dict[str, Any]:
    """Trains to the last step, or to the end of its patience; returns the summary."""
    config, tokenizer, weights = job.config, job.pretrained.tokenizer, job.pretrained.weights
    batches = ExampleBatches(examples, config, tokenizer.pad_id)
    evaluate = lambda params: figures(  # noqa: E731
        job.task, predict_all(job.predictor, params, job.dev.records)
    )
    objective = task_objective(job.task, config, batches, evaluate)
    facts: dict[str, Any] = {"training_file": job.train.name, "training_examples": len(examples)}

    weights = _without_other_heads(weights, config.model.labels)

    def initial_params() -> Any:
        params = complete_params(weights, config, objective.init, tokenizer.digest, _tell)
        facts.update(record_source(job.run, weights.source))
        return params

    checkpoints = Checkpoints(job.run / "checkpoints", config.train.keep_checkpoints)
    with contextlib.closing(checkpoints):
        step = checkpoints.latest_step
        if step is not None:
            facts |= recorded_source(job.run, False, step, _tell)
        save_tokenizer(tokenizer, job.run / "tokenizer", step is not None)
        return fit(
            objective,
            config,
            job.run,
            checkpoints=checkpoints,
            initial_params=None if job.pretrained.scratch else initial_params,
            identity={
                "training_file_digest": _digest(job.train.name),
                "dev_file_digest": _digest(job.dev.name),
                "tokenizer_digest": tokenizer.digest,
                "initial_weights_digest": weights_digest(job.pretrained),
            },
            facts=facts,
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


def _write_summary(run: epath.Path, summary: dict[str, Any], report: dict[str, Any]) -> None:
    """Writes `summary.json` anew: the model that RUN opens at is the best step's, not the last."""
    best = {f"validation_{name}": value for name, value in report["figures"].items()}
    found = summary | {"best_step": report["best_step"]} | best
    write_file(run / "summary.json", f"{json.dumps(found, indent=2)}\n".encode())


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


def weights_digest(pretrained: Pretrained) -> str:
    """SHA-256 of what training starts from; of random weights, a word."""
    if pretrained.scratch:
        return "random"
    found = hashlib.sha256()
    for name, leaf in sorted(named_leaves(pretrained.weights.params).items()):
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


def _tell(line: str) -> None:
    print(f"bertjax: {line}", file=sys.stderr)
