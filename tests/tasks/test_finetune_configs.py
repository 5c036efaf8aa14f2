"""The configs of configs/finetune: what they say, and that they fit the data sets they name."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bertjax.config import (
    Classification,
    ModelConfig,
    Regression,
    apply_override,
    load_config,
    to_json,
)
from bertjax.errors import UserError
from bertjax.tasks.classification import classification_task
from bertjax.tasks.finetune_config import with_model, with_planned_steps
from bertjax.tasks.regression import regression_task
from bertjax.tasks.task import Notes, TextInputs
from tests.tasks.small_bert import TOKENIZER

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob("configs/finetune/*.py"))
DATA = ROOT.parent / "shared" / "data" / "tasks"
TABLES = [
    file for file in CONFIGS if isinstance(load_config(file).task, Classification | Regression)
]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_has_a_task_and_says_how_to_run_it(file):
    config = load_config(file)
    assert config.task is not None
    assert config.train.epochs
    assert f"bertjax finetune configs/finetune/{file.name} --init" in file.read_text()


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.stem)
def test_the_columns_and_labels_are_those_of_the_data_set(file):
    held_out = [DATA / file.stem / name for name in ("dev.tsv", "test.tsv")]
    held_out = [path for path in held_out if path.is_file()]
    if not held_out:
        pytest.skip(f"no {DATA / file.stem}")
    config = load_config(file)
    inputs = TextInputs(TOKENIZER, config.data.length, 2)
    if isinstance(config.task, Classification):
        task = classification_task(config.task, inputs, None)
    else:
        assert isinstance(config.task, Regression)
        task = regression_task(config.task, inputs)
    for path in held_out:
        records = list(task.read(path, True, Notes()))
        targets = np.array([record.target for record in records])
        if isinstance(config.task, Classification):
            assert set(targets) == set(range(len(task.labels)))
        else:
            assert (targets.min(), targets.max()) == (0, 5)


GLUE = {
    "mnli": (
        "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
        "sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
        ("neutral", "entailment", "contradiction"),
        [1, 0, 2],
    ),
    "qnli": ("index question sentence label", ("not_entailment", "entailment"), [1, 0]),
    "qqp": ("id qid1 qid2 question1 question2 is_duplicate", ("1", "0"), [1, 0]),
}


@pytest.mark.parametrize("name", GLUE)
def test_the_files_of_glue_are_read_by_their_own_columns(name, tmp_path):
    columns, labels, targets = GLUE[name]
    header = columns.split(" ")
    rows = [[*(f'a "{column} text' for column in header[:-1]), label] for label in labels]
    file = tmp_path / "train.tsv"
    file.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")
    task = load_config(name).task
    assert isinstance(task, Classification)
    found = classification_task(task, TextInputs(TOKENIZER, 64, 2), None)
    assert [record.target for record in found.read(file, True, Notes())] == targets


@pytest.mark.parametrize("path", ["auto", "plain"])
def test_by_which_kernels_is_said_by_the_config_and_not_by_the_checkpoint(path):
    config = load_config("sst2", (f"--model.attention={path}", f"--model.epilogues={path}"))
    trained = ModelConfig(num_layers=3, attention="fused", epilogues="plain")
    found = with_model(config, trained).model
    assert (found.num_layers, found.attention, found.epilogues) == (3, path, path)


def test_the_config_of_a_run_is_a_fine_tuning_config_for_its_checkpoint():
    encoder = ModelConfig(num_layers=3, vocab_size=50)
    written = with_model(load_config("sst2"), encoder)  # and then the labels
    written = dataclasses.replace(
        written, model=dataclasses.replace(written.model, labels=("0", "1"))
    )
    assert with_model(written, encoder) == with_model(load_config("sst2"), encoder)


@pytest.mark.parametrize(
    ("name", "setting", "found"),
    [
        ("sms_spam", "--task.class_weights=balanced", {"label_weights": (0.6, 5.0)}),
        ("squad2", "--task.max_answer_tokens=20", {"null_threshold": 3.5}),
    ],
)
def test_what_a_run_found_out_from_its_files_is_not_taken_over_with_its_config(
    name, setting, found, tmp_path
):
    config = load_config(name, [setting])
    written = dataclasses.replace(config, task=dataclasses.replace(config.task, **found))
    (tmp_path / "config.json").write_text(to_json(written))
    assert load_config(tmp_path / "config.json") == config
    ((field, value),) = found.items()
    asked = f"--task.{field}={json.dumps(value)}"
    assert load_config(tmp_path / "config.json", [asked]) == written


def test_the_config_of_a_run_from_another_encoder_is_refused_by_name():
    written = with_model(load_config("sst2"), ModelConfig(num_layers=3))
    with pytest.raises(UserError, match=r"model.num_layers=3: the checkpoint says what it is, 4;"):
        with_model(written, ModelConfig(num_layers=4))


def test_the_steps_of_a_run_s_config_are_taken_back_by_name():
    config = load_config("sst2")
    written = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=12))
    with pytest.raises(UserError, match=r"not both; --train.steps=none takes the steps of a run's"):
        with_planned_steps(written, 1)
    assert apply_override(written, "--train.steps=none").train == config.train
