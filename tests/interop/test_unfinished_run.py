"""A fine-tuning that was not trained to its end says so when it is opened."""

import dataclasses
import json

import pytest

from bertjax.config import Classification, Config, QuestionAnswering, TrainConfig
from bertjax.interop.native_export import write_run
from bertjax.interop.opening import open_checkpoint
from tests.interop.checkpoints import make_checkpoint

STEP = 7  # of the checkpoint


def write(run, task, trained=True, summary_steps=None):
    """A run as training leaves it, or as `convert` writes it."""
    made = make_checkpoint(("pooler", "classification_head"))
    experiment = Config(made.config, task=task, train=TrainConfig(steps=30))
    write_run(run, dataclasses.replace(made, experiment=experiment))
    if trained:
        (run / "metrics.jsonl").touch()
    if summary_steps is not None:
        (run / "summary.json").write_text(json.dumps({"steps": summary_steps}))


@pytest.fixture
def told(tmp_path, capsys):
    def of(*arguments, **others):
        write(tmp_path, *arguments, **others)
        open_checkpoint(tmp_path)
        return capsys.readouterr().err.splitlines()

    return of


def test_a_run_without_a_summary_is_unfinished(told, tmp_path):
    assert told(Classification()) == [f"bertjax: {tmp_path}: unfinished, step 7 of 30"]


def test_the_threshold_of_questions_without_an_answer_is_still_to_be_found(told):
    (line,) = told(QuestionAnswering(unanswerable=True))
    assert line.endswith("step 7 of 30; its threshold for no answer is found at the end")


def test_a_run_that_went_on_after_its_end_is_unfinished_again(told):
    (line,) = told(Classification(), summary_steps=STEP - 1)
    assert "unfinished, step 7 of 30" in line


def test_a_run_that_ended_by_patience_is_finished(told):
    assert told(Classification(), summary_steps=STEP) == []


def test_pretraining_is_of_use_before_its_end(told):
    assert told(None) == []


def test_weights_that_were_exported_are_not_unfinished(told):
    assert told(Classification(), trained=False) == []
