"""A run that is stopped where an evaluation is due saves first and evaluates when it goes on."""

import dataclasses
import json

import pytest

from bertjax.train.checkpoint import Checkpoints
from bertjax.train.loop import fit
from bertjax.train.record import criterion_of
from bertjax.train.signals import STOPPED, StopRequest
from tests.train.toy import toy_config, toy_objective

CONFIG = toy_config(9, evaluate_every=3, checkpoint_every=3, keep_checkpoints=9)
TIMINGS = {"seconds", "tokens_per_second", "data_wait_share"}


def train(run, objective=None, config=CONFIG):
    checkpoints = Checkpoints(run / "checkpoints", keep=9)
    try:
        return fit(objective or toy_objective(), config, run, checkpoints=checkpoints)
    finally:
        checkpoints.close()


def stop(run, step, objective=None):
    """Trains until it is asked to stop after `step`, where it may not evaluate."""
    objective, asked = objective or toy_objective(), [0]

    def reached(_, number):
        asked.append(number)
        return number == step

    def evaluate(params):
        assert asked[-1] != step
        return objective.evaluate(params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopRequest, "reached", reached)
        with pytest.raises(SystemExit) as stopped:
            train(run, dataclasses.replace(objective, evaluate=evaluate))
    assert stopped.value.code == STOPPED
    assert (run / "checkpoints" / str(step)).is_dir()


def told(run):
    """The log without what depends on the clock."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: line[name] for name in line if name not in TIMINGS} for line in lines]


def criteria(run):
    return [criterion_of(run / "checkpoints" / str(step)) for step in (3, 6, 9)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted")
    return run, train(run)


@pytest.mark.parametrize("steps", [[6], [9], [3, 6, 9]], ids=["midway", "at the end", "always"])
def test_a_run_that_goes_on_tells_and_keeps_what_one_left_alone_does(
    tmp_path, uninterrupted, steps
):
    for step in steps:
        stop(tmp_path, step)
    train(tmp_path)
    summary = train(tmp_path)  # reads the last checkpoint again
    run, expected = uninterrupted
    assert told(tmp_path) == told(run)
    assert criteria(tmp_path) == criteria(run)
    assert summary["validation_mlm_loss"] == expected["validation_mlm_loss"]


def test_what_was_made_up_for_is_not_evaluated_again(tmp_path, uninterrupted):
    stop(tmp_path, 3)
    stop(tmp_path, 4)
    train(tmp_path)
    assert told(tmp_path) == told(uninterrupted[0])


def test_one_that_is_killed_before_its_checkpoint_has_the_figures_tells_them_once(
    tmp_path, uninterrupted, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    stop(tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "amend", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    train(tmp_path)
    assert told(tmp_path) == told(uninterrupted[0])
    assert criteria(tmp_path) == criteria(uninterrupted[0])


def test_a_step_that_was_not_evaluated_does_not_end_the_patience(tmp_path, uninterrupted):
    objective = dataclasses.replace(toy_objective(), criterion=lambda _: 1.0)  # never better
    stop(tmp_path, 7, objective)
    impatient = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, patience=1))
    assert train(tmp_path, objective, impatient)["steps"] == 9
    assert told(tmp_path)[-1] == told(uninterrupted[0])[-1]
