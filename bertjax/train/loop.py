"""The training loop, told in the order in which it happens.

`fit` trains any parameters with any objective (objective.py). It reads no field of the model's
settings, and leaves to `checkpoints` how a state is kept.
"""

import dataclasses
import itertools
import logging
import math
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from etils import epath

from bertjax.config import Config, total_steps
from bertjax.errors import UserError
from bertjax.train.profile import profiled
from bertjax.train.program import Program, make_program
from bertjax.train.report import Report
from bertjax.train.run_folder import write_config
from bertjax.train.signals import STOPPED, StopRequest
from bertjax.train.state import (
    State,
    initial_state,
    state_from_params,
)
from bertjax.train.stepping import Batches, Done, run_steps

if TYPE_CHECKING:
    from bertjax.train.checkpoint import Checkpoints
    from bertjax.train.objective import Objective

_PACKAGES = ("bertjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_log = logging.getLogger(__name__)


def fit(
    objective: "Objective",
    config: Config,
    run: str | os.PathLike[str],
    *,
    checkpoints: "Checkpoints",
    initial_params: Callable[[], Any] | None = None,
    stream: Callable[[int], Batches] | None = None,
    flops: Callable[[int], float] = lambda _: 0.0,
    identity: dict[str, str] | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains until the config's last step; goes on from the newest sound checkpoint, if any.

    Args:
        objective: what is trained.
        config: steps, schedule, mesh and cadences; `open_run` has accepted it for this run.
        run: the run folder; `config.json` is written once nothing is refused any more.
        checkpoints: the run's `Checkpoints`.
        initial_params: gives what to start from, not `objective.init`, if there is no checkpoint.
        stream: `objective.batch` from a step on, made ahead of its use; default: made when used.
        flops: the model's own arithmetic in the batch of a step, for MFU.
        identity: digests (of the data, of the tokenizer) that must not change within a run.
        facts: what checkpoints and the summary tell besides.

    Returns:
        The run's final figures, with how, where and by what they came about.

    Raises:
        UserError: these do not fit together, or gradients or weights are no longer finite.
        SystemExit: 143, after a clean stop on SIGTERM or SIGINT.
    """
    run = epath.Path(run)
    program = make_program(objective, config)
    start, state, kept = _restore(program, checkpoints, config, identity or {}, facts or {})
    batches = stream(start) if stream else map(objective.batch, itertools.count(start))
    with ThreadPoolExecutor(1) as beside:  # the first batch is made while the state is
        first = beside.submit(next, batches) if start < total_steps(config) else None
        state = state or _new_state(program, objective, config, initial_params)
    if first is not None:
        batches = itertools.chain([first.result()], batches)
    write_config(run, config)
    evaluated = kept["validation"] is not None
    with StopRequest() as stop, Report(run, config, start, kept["totals"], evaluated) as report:
        training = _Training(
            objective, config, run, program, checkpoints, flops, kept, stop, report
        )
        last = _train(training, start, state, batches)
        return _summary(last, kept, report)


class _Training(NamedTuple):
    """What stays the same from step to step; `kept` is what is kept with a checkpoint."""

    objective: "Objective"
    config: Config
    run: epath.Path
    program: Program
    checkpoints: "Checkpoints"
    flops: Callable[[int], float]
    kept: dict[str, Any]
    stop: StopRequest
    report: Report


def _train(training: _Training, start: int, state: State, batches: Batches) -> int:
    """Takes the steps after `start`, evaluates and saves on the way; returns the last step."""
    config, report, kept = training.config, training.report, training.kept
    checkpoints = training.checkpoints
    _evaluate_late(training, start, state)
    last = total_steps(config)
    if start < last and _out_of_patience(config, kept):
        report.say(
            f"step {start}: no better for {kept['improved']['evaluations_since']} evaluations: "
            "nothing is trained; a larger train.patience goes on"
        )
        last = start
    steps = run_steps(training.program, config, state, start, last, batches)
    for done in _profiled(training, steps, start, last):
        step, state = done.step, done.state
        report.step(step, done.figures, training.flops(step - 1), done.waited, done.compiling)
        stopping = training.stop.reached(step)
        kept |= {"validation": None, "criterion": None}
        if not stopping:  # there may be little time, so that waits for the run to go on
            last = _evaluate_if_due(training, step, state, last)
        if _due(step, config.train.checkpoint_every, last) or stopping:
            with report.pause():
                _save(checkpoints, step, state, kept, report)
        if stopping:
            checkpoints.wait()
            report.say(f"stopped after step {step}; the same command goes on from there")
            raise SystemExit(STOPPED)
        if step == last:
            break
    checkpoints.wait()
    return last


def _profiled(training: _Training, steps: Iterator[Done], start: int, last: int) -> Iterator[Done]:
    """The steps, traced where `train.profile_steps` asks for it, in the first process alone."""
    first, end = training.config.train.profile_steps or (1, 0)
    wanted = range(max(first, start + 1), min(end, last) + 1 if jax.process_index() == 0 else 0)
    if not wanted:
        return steps
    folder = training.run / "plugins" / "profile" / f"step_{wanted.start}"
    train, before = training.config.train, wanted.start - start - 1
    every = train.evaluate_every, train.checkpoint_every
    pure = not any(step % number == 0 for step in wanted[:-1] for number in every)
    return profiled(steps, before, len(wanted), folder, training.report.say, pure)


def _restore(
    program: Program,
    checkpoints: "Checkpoints",
    config: Config,
    identity: dict[str, str],
    facts: dict[str, Any],
) -> tuple[int, State | None, dict[str, Any]]:
    """Step, state and what is kept with it: the newest sound checkpoint's, or a new run's.

    Raises:
        UserError: the run was trained on other data, with another tokenizer, or for more steps.
    """
    kept = {"config": dataclasses.asdict(config), "identity": identity, "facts": facts}
    restored = checkpoints.restore(program.state)
    if restored is None:
        return 0, None, kept | {"totals": {}, "validation": None, "improved": None}
    for damage in restored.skipped:
        _log.warning("checkpoint %s; the one before is used", damage)
    for name, digest in restored.metadata["identity"].items():
        if digest != identity.get(name):
            raise UserError(
                f"this run was trained with another {name.replace('_', ' ')} "
                f"({digest[:12]}, now {identity.get(name, 'none')[:12]}): start another run"
            )
    if restored.step > (last := total_steps(config)):
        raise UserError(
            f"this run is at step {restored.step} already, train.steps={last} asks for fewer"
        )
    kept["facts"] = restored.metadata["facts"] | facts  # what it was started from stays known
    if (improved := restored.metadata["improved"]) and "evaluations_since" not in improved:
        every = restored.metadata["config"]["train"]["evaluate_every"]  # of an older version
        improved["evaluations_since"] = restored.step // every - improved["step"] // every
    return restored.step, restored.state, restored.metadata | kept


def _evaluate_if_due(training: _Training, step: int, state: State, last: int) -> int:
    """The last step: this one, if its figures are the ones that end the patience."""
    config, kept, report = training.config, training.kept, training.report
    if _due(step, config.train.evaluate_every, last):
        with report.pause():
            figures = _evaluate(training.objective, training.program, step, state, kept)
        report.evaluation(step, figures)
    if not _out_of_patience(config, kept):
        return last
    report.say(f"step {step}: no better for {config.train.patience} evaluations, done")
    return step


def _evaluate_late(training: _Training, start: int, state: State) -> None:
    """The evaluation that is due at the step to go on from; its checkpoint gets the figures.

    A run that was stopped there has left it out. The log has it before the checkpoint does: what
    is killed in between evaluates again, and the log replaces the line.
    """
    config, kept, report = training.config, training.kept, training.report
    due = start > 0 and _due(start, config.train.evaluate_every, total_steps(config))
    if due and kept["validation"] is None:
        with report.pause():
            figures = _evaluate(training.objective, training.program, start, state, kept)
        report.evaluation(start, figures)
        report.upload()
        training.checkpoints.amend(start, kept, kept["criterion"])


def _evaluate(
    objective: "Objective", program: Program, step: int, state: State, kept: dict[str, Any]
) -> dict[str, Any]:
    """The figures of a step, which are kept, and so is which were the best, and how long ago."""
    with jax.set_mesh(program.mesh):
        figures = objective.evaluate(state["params"])
    criterion, improved = objective.criterion(figures), kept["improved"]
    kept |= {"validation": figures, "criterion": criterion}
    known = criterion is not None and math.isfinite(criterion)
    if known and (improved is None or criterion < improved["criterion"]):
        kept["improved"] = {"step": step, "criterion": criterion, "evaluations_since": 0}
    elif improved is not None:
        kept["improved"] = improved | {"evaluations_since": improved["evaluations_since"] + 1}
    return figures


def _out_of_patience(config: Config, kept: dict[str, Any]) -> bool:
    """Whether `train.patience` evaluations in a row were no better than one before them."""
    patience, improved = config.train.patience, kept["improved"]
    if patience is None or improved is None or kept["validation"] is None:
        return False  # the last alternative: nothing was asked of this step
    return improved["evaluations_since"] >= patience


def _new_state(
    program: Program,
    objective: "Objective",
    config: Config,
    initial_params: Callable[[], Any] | None,
) -> State:
    """The state before step 0, from given parameters or from scratch."""
    if initial_params is None:
        seed = config.train.seed
        return initial_state(objective.init, program.optimizer, seed, program.shardings)
    return state_from_params(initial_params(), program.state, program.optimizer, program.shardings)


def _due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _save(
    checkpoints: "Checkpoints", step: int, state: State, kept: dict[str, Any], report: Report
) -> None:
    """Starts a checkpoint.

    What the log says up to it is safe before, so that a run that goes on from it lacks no step;
    where it cannot be uploaded, the next checkpoint's upload brings it.
    """
    report.upload()
    kept["totals"] = report.totals
    checkpoints.save(step, state, kept, kept["criterion"])


def _summary(steps: int, kept: dict[str, Any], report: Report) -> dict[str, Any]:
    """The run's final figures."""
    validation = {f"validation_{name}": value for name, value in kept["validation"].items()}
    versions = {name: metadata.version(name) for name in _PACKAGES}
    used = {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "versions": {"python": platform.python_version()} | versions,
    }
    known = kept["identity"] | kept["facts"]
    return {"steps": steps} | validation | report.summary() | known | used
