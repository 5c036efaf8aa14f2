"""What is told beside the progress bar of a training run."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from bertjax.config import Config, TrainConfig
from bertjax.train.report import Report


def told(tmp_path, capsys, figures):
    counted = {"tokens": 8, "positions": 8, "skipped_steps": 0, "skipped_in_a_row": 0}
    figures = {name: jnp.asarray(value) for name, value in (counted | figures).items()}
    with Report(epath.Path(tmp_path), Config(train=TrainConfig(steps=1)), 0, {}) as report:
        report.step(1, figures, 1.0, 0.0, 0.0)
        with report.pause():
            pass
    return capsys.readouterr().err


def test_what_no_example_had_a_label_for_is_left_out(tmp_path, capsys):
    figures = {"loss": 2.5, "mlm_accuracy": 0.25, "nsp_accuracy": np.nan}
    line = told(tmp_path, capsys, figures)
    assert "loss 2.5, mlm 0.25" in line
    assert "nsp" not in line


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_told(tmp_path, capsys, loss):
    assert f"loss {loss}" in told(tmp_path, capsys, {"loss": loss})


def test_compiling_is_not_counted_as_training(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    counted = {"loss": 1.0, "tokens": 8, "positions": 8, "skipped_steps": 0, "skipped_in_a_row": 0}
    figures = {name: jnp.asarray(value) for name, value in counted.items()}
    config = Config(train=TrainConfig(steps=9, log_every=1))
    with Report(epath.Path(tmp_path), config, 0, {}) as report:
        now[0] += 10
        report.step(1, figures, 1.0, 0.0, compiling=6.0)
        with report.pause():
            pass
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert line["tokens_per_second"] == 2


def test_a_resumed_run_counts_on(tmp_path):
    totals = {"tokens": 50, "seconds": 1000.0, "skipped_steps": 3}
    with Report(epath.Path(tmp_path), Config(train=TrainConfig(steps=9)), 5, totals) as report:
        now = report.totals
    assert now["seconds"] >= 1000
    assert (now["tokens"], now["skipped_steps"]) == (50, 3)
