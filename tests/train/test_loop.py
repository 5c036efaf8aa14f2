import dataclasses
import json
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from bertjax.config import OptimizerConfig, Phase, TrainConfig
from bertjax.errors import UserError
from bertjax.train import checkpoint
from bertjax.train.checkpoint import Checkpoints, load_params
from bertjax.train.loop import fit
from bertjax.train.record import criterion_of
from bertjax.train.report import Report
from tests.train.toy import toy_config, toy_objective

FIGURES = {
    "step", "loss", "mlm_loss", "nsp_loss", "learning_rate", "gradient_norm", "tokens_per_second",
    "padding_share", "data_wait_share", "mfu", "seconds", "skipped_steps",
}  # fmt: skip


def train(run, config, objective=None, **others):
    checkpoints = Checkpoints(run / "checkpoints", keep=config.train.keep_checkpoints)
    try:
        return fit(objective or toy_objective(), config, run, checkpoints=checkpoints, **others)
    finally:
        checkpoints.close()


def read_lines(run, key="loss"):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if key in line]


def losses(run):
    return [(line["step"], line["loss"]) for line in read_lines(run)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted")
    return run, train(run, toy_config(20), identity={"data_digest": "abc"}, facts={"parameters": 9})


def test_every_logged_step_has_every_figure(uninterrupted):
    run, _ = uninterrupted
    lines = read_lines(run)
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert all(set(line) == FIGURES for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_evaluation_lines_have_no_loss_and_come_when_due(uninterrupted):
    run, _ = uninterrupted
    lines = read_lines(run, "validation_mlm_loss")
    assert [line["step"] for line in lines] == [10, 20]
    assert all("loss" not in line for line in lines)


def test_the_summary_has_the_last_evaluation_and_the_facts(uninterrupted):
    run, summary = uninterrupted
    last = read_lines(run, "validation_mlm_loss")[-1]
    assert summary["validation_mlm_loss"] == last["validation_mlm_loss"]
    assert (summary["steps"], summary["parameters"], summary["data_digest"]) == (20, 9, "abc")
    assert summary["versions"]["jax"] == jax.__version__
    batches = [toy_objective().batch(step) for step in range(20)]
    assert summary["tokens"] == sum(np.count_nonzero(batch["pair_ids"]) for batch in batches)


def test_figures_are_logged_every_so_often_and_at_the_end(tmp_path, uninterrupted):
    train(tmp_path, toy_config(20, log_every=7))
    every_step = dict(losses(uninterrupted[0]))
    assert losses(tmp_path) == [(step, every_step[step]) for step in (7, 14, 20)]


def stop_after(step):
    """An objective whose process dies when it is asked for a batch."""
    objective = toy_objective()

    def batch(number):
        if number > step:
            raise KeyboardInterrupt
        return objective.batch(number)

    return dataclasses.replace(objective, batch=batch)


def test_a_resumed_run_has_the_very_losses_of_an_uninterrupted_one(tmp_path, uninterrupted):
    identity = {"data_digest": "abc"}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, toy_config(20), stop_after(16), identity=identity)
    assert max(losses(tmp_path))[0] > 10
    summary = train(tmp_path, toy_config(20), identity=identity, facts={"parameters": 9})
    run, expected = uninterrupted
    assert losses(tmp_path) == losses(run)
    timing = {"seconds", "tokens_per_second", "data_wait_share"}
    assert {name: summary[name] for name in summary if name not in timing} == {
        name: expected[name] for name in expected if name not in timing
    }


@pytest.mark.slow
def test_a_resumed_run_may_have_another_mesh(tmp_path, uninterrupted):
    config = toy_config(20)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, config, stop_after(11))
    mesh = dataclasses.replace(config.mesh, data=2, fsdp=2, tensor=2)
    train(tmp_path, dataclasses.replace(config, mesh=mesh))
    found, expected = (np.array(losses(run)) for run in (tmp_path, uninterrupted[0]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_finished_run_gives_its_summary_again(uninterrupted):
    run, summary = uninterrupted
    before = (run / "metrics.jsonl").read_bytes()
    again = train(run, toy_config(20), identity={"data_digest": "abc"}, facts={"parameters": 9})
    assert again["validation_mlm_loss"] == summary["validation_mlm_loss"]
    assert again["tokens"] == summary["tokens"]
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_run_of_other_data_is_refused_by_name(uninterrupted):
    run, _ = uninterrupted
    with pytest.raises(UserError, match="another data digest"):
        train(run, toy_config(30), identity={"data_digest": "xyz"})


def test_fewer_steps_than_the_run_has_done_are_refused(uninterrupted):
    run, _ = uninterrupted
    with pytest.raises(UserError, match=r"at step 20 already, train\.steps=5"):
        train(run, toy_config(5), identity={"data_digest": "abc"})


def test_given_parameters_come_before_scratch(tmp_path, uninterrupted):
    params, _ = load_params(uninterrupted[0])
    train(tmp_path, toy_config(2), initial_params=lambda: params)
    assert losses(tmp_path)[0][1] < 0.7 * losses(uninterrupted[0])[0][1]


def test_the_first_batch_is_made_beside_the_state(tmp_path):
    objective, asked = toy_objective(), threading.Event()

    def batch(step):
        asked.set()
        return objective.batch(step)

    def params():
        assert asked.wait(60)
        return objective.init(jax.random.key(0))

    train(
        tmp_path / "run",
        toy_config(1),
        dataclasses.replace(objective, batch=batch),
        initial_params=params,
    )


def test_a_first_batch_that_is_refused_ends_the_run_with_its_reason(tmp_path):
    def batch(_):
        raise UserError("too few documents")

    with pytest.raises(UserError, match="too few documents"):
        train(tmp_path, toy_config(1), dataclasses.replace(toy_objective(), batch=batch))
    assert not (tmp_path / "config.json").exists()  # the same folder may be tried again


def test_parameters_of_another_size_are_refused_by_name(tmp_path, uninterrupted):
    params, _ = load_params(uninterrupted[0])
    params["down"]["kernel"] = np.zeros(7, np.float32)
    with pytest.raises(UserError, match=r"down/kernel is \(7,\), the config asks for \(32,\)"):
        train(tmp_path, toy_config(2), initial_params=lambda: params)
    assert not (tmp_path / "config.json").exists()


def test_initial_parameters_are_not_read_for_a_run_that_has_a_checkpoint(uninterrupted):
    run, summary = uninterrupted
    identity = {"data_digest": "abc"}
    again = train(run, toy_config(20), identity=identity, initial_params=lambda: 1 / 0)
    assert again["validation_mlm_loss"] == summary["validation_mlm_loss"]


def test_a_run_without_validation_saves_and_says_null(tmp_path):
    objective = dataclasses.replace(
        toy_objective(), evaluate=lambda _: {"mlm_loss": None, "nsp_loss": None}
    )
    summary = train(tmp_path, toy_config(4), objective)
    assert summary["validation_mlm_loss"] is None
    assert read_lines(tmp_path, "validation_mlm_loss") == []
    assert load_params(tmp_path)[1] == 4


def test_ten_steps_in_a_row_without_finite_gradients_end_the_run(tmp_path):
    objective = toy_objective(poison=frozenset(range(3, 100)))
    config = toy_config(40, checkpoint_every=5, evaluate_every=100)
    with pytest.raises(UserError, match="10 steps in a row, up to step 13"):
        train(tmp_path, config, objective)
    assert read_lines(tmp_path)[4]["loss"] is None
    params, step = load_params(tmp_path)
    assert step == 10
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params))


def test_data_that_comes_late_is_told_and_nothing_is_counted_twice(tmp_path):
    objective, pause = toy_objective(), 0.5

    def batch(step):
        time.sleep(pause)
        return objective.batch(step)

    train(tmp_path, toy_config(5, evaluate_every=3), dataclasses.replace(objective, batch=batch))
    lines = read_lines(tmp_path)[:-1]  # the last step waits for no other
    assert any(line["data_wait_share"] > 0 for line in lines)
    assert all(line["data_wait_share"] <= 1 for line in lines)
    tokens = [np.count_nonzero(objective.batch(step)["pair_ids"]) for step in range(4)]
    taken = [count / line["tokens_per_second"] for count, line in zip(tokens, lines, strict=True)]
    assert sum(taken) > 4 * pause


def test_the_first_step_of_a_shape_alone_tells_how_long_it_compiled(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Report, "step", lambda *given: told.append(given[-1]))
    large, small = toy_objective(16), toy_objective(8)
    objective = dataclasses.replace(
        large, batch=lambda step: (large if step < 3 else small).batch(step)
    )
    train(tmp_path, toy_config(6, batch_size=8), objective)
    assert [seconds > 0 for seconds in told] == [True, False, False, True, False, False]


def test_a_checkpoint_between_evaluations_is_not_the_best_one(tmp_path):
    every = {"evaluate_every": 4, "checkpoint_every": 2, "keep_checkpoints": 9}
    train(tmp_path, toy_config(8, **every))
    found = [criterion_of(tmp_path / "checkpoints" / str(step)) for step in (2, 4, 6, 8)]
    assert np.isfinite(found).tolist() == [False, True, False, True]


def test_what_a_run_was_started_from_stays_known_where_nobody_says_it_again(tmp_path):
    train(tmp_path, toy_config(2), facts={"started_from": "weights of somebody"})
    assert train(tmp_path, toy_config(4))["started_from"] == "weights of somebody"


@pytest.mark.slow
@pytest.mark.process
def test_a_run_that_is_given_up_while_a_step_is_under_way_ends_with_its_line(tmp_path):
    command = [sys.executable, "-m", "tests.train.hopeless_run", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "10 steps in a row" in found.stderr.splitlines()[-1]
    assert found.returncode == 2


@pytest.mark.slow
def test_phases_follow_one_another_and_may_start_the_optimizer_afresh(tmp_path):
    def phase(**values):
        return Phase(steps=5, length=16, learning_rate=0.01, warmup_steps=0, **values)

    def run(folder, reset):
        phases = (phase(batch_size=16), phase(batch_size=8, reset_optimizer=reset))
        train_config = TrainConfig(phases=phases, log_every=1, checkpoint_every=3)
        config = dataclasses.replace(
            toy_config(), optimizer=OptimizerConfig(schedule="constant"), train=train_config
        )
        large, small = toy_objective(16), toy_objective(8)
        objective = dataclasses.replace(
            large, batch=lambda step: (large if step < 5 else small).batch(step)
        )
        train(tmp_path / folder, config, objective)
        return [loss for _, loss in losses(tmp_path / folder)]

    kept, reset = run("kept", False), run("reset", True)
    assert kept[:6] == reset[:6]  # the sixth loss is of the first step of the second phase
    assert kept[6] != reset[6]


def scored(values):
    """The toy objective with the given criteria, evaluation after evaluation."""
    waiting = list(values)
    return dataclasses.replace(toy_objective(), criterion=lambda _: waiting.pop(0))


PATIENT = {"evaluate_every": 2, "checkpoint_every": 2, "keep_checkpoints": 1, "patience": 2}


def test_a_run_ends_when_its_patience_does_and_keeps_the_best_and_the_last(tmp_path):
    summary = train(tmp_path, toy_config(20, **PATIENT), scored([5.0, 3.0, 4.0, 3.5]))
    assert summary["steps"] == 8
    steps = {int(folder.name) for folder in (tmp_path / "checkpoints").iterdir()}
    assert steps == {4, 8}
    assert load_params(tmp_path, best=True)[1] == 4
    assert load_params(tmp_path)[1] == 8


def test_a_criterion_that_is_no_number_is_never_the_best(tmp_path):
    summary = train(
        tmp_path, toy_config(12, **PATIENT), scored([float("nan"), 3.0, 2.0, *[4.0] * 9])
    )
    assert summary["steps"] == 10
    assert load_params(tmp_path, best=True)[1] == 6


def test_an_equal_evaluation_tries_the_patience_and_the_last_of_equals_is_kept(tmp_path):
    summary = train(tmp_path, toy_config(20, **PATIENT), scored([3.0] * 3))
    assert summary["steps"] == 6
    assert load_params(tmp_path, best=True)[1] == 6


def test_a_run_out_of_patience_does_not_go_on_and_tells_what_would(tmp_path, capsys):
    train(tmp_path, toy_config(20, **PATIENT), scored([5.0, 3.0, 4.0, 3.5]))
    again = train(tmp_path, toy_config(40, **PATIENT), scored([9.0]))
    assert again["steps"] == 8
    told = (
        "step 8: no better for 2 evaluations: nothing is trained; a larger train.patience goes on"
    )
    assert told in capsys.readouterr().err


def test_a_larger_patience_goes_on_with_the_count_of_the_run(tmp_path):
    train(tmp_path, toy_config(20, **PATIENT), scored([5.0, 3.0, 4.0, 3.5]))
    longer = toy_config(20, **PATIENT | {"patience": 3})
    assert train(tmp_path, longer, scored([3.2, 1.0]))["steps"] == 10


def test_patience_counts_evaluations_whatever_the_steps_between_them_were(tmp_path):
    often = toy_config(8, **PATIENT | {"patience": 6})
    train(tmp_path, often, scored([3.0, 4.0, 4.0, 4.0]))  # three in vain
    seldom = toy_config(40, **PATIENT | {"patience": 6, "evaluate_every": 1})
    assert train(tmp_path, seldom, scored([4.0] * 9))["steps"] == 11


def test_a_checkpoint_that_did_not_count_evaluations_has_those_since_its_best(
    tmp_path, monkeypatch
):
    train(tmp_path, toy_config(4, **PATIENT), scored([3.0, 4.0]))
    read_record = checkpoint.read_record

    def without_count(folder):
        record = read_record(folder)
        record.metadata["improved"].pop("evaluations_since")
        return record

    monkeypatch.setattr(checkpoint, "read_record", without_count)
    assert train(tmp_path, toy_config(20, **PATIENT), scored([4.0] * 9))["steps"] == 6
