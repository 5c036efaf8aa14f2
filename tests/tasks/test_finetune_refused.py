"""Settings and files that fine-tuning refuses, in one line and before it trains."""

import dataclasses

import pytest

from bertjax.config import (
    Classification,
    DataConfig,
    MaskingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    QuestionAnswering,
    Regression,
)
from bertjax.errors import UserError
from bertjax.tasks.finetune import finetune
from tests.tasks.labelled import config, pretrained, write_table


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return write_table(folder / "train.tsv", 96, 0), write_table(folder / "dev.tsv", 40, 1)


def test_a_warmup_longer_than_the_run_is_refused(files, tmp_path):
    settings = dataclasses.replace(config(1), optimizer=OptimizerConfig())  # of a million steps
    with pytest.raises(UserError, match=r"warmup_steps=10000: more than the whole run, 12; --opt"):
        finetune(settings, pretrained(), *files, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mesh": MeshConfig(data=1, tensor=-1)}, "mesh.tensor=8: model.num_heads=4 cannot"),
        ({"train": config(1, batch_size=12).train}, "batch_size=12 is not divisible by 8"),
    ],
)
def test_what_the_devices_cannot_share_is_refused_before_anything_is_read(
    changes, message, tmp_path
):
    settings = dataclasses.replace(config(1), **changes)
    files = tmp_path / "no train.tsv", tmp_path / "no dev.tsv"
    with pytest.raises(UserError, match=message):
        finetune(settings, pretrained(), *files, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_dev_file_with_a_label_that_was_not_learnt_is_refused(files, tmp_path):
    train = tmp_path / "train.tsv"
    rows = files[0].read_text().splitlines()
    train.write_text("\n".join(row for row in rows if not row.endswith("second")) + "\nx\tthird\n")
    settings = dataclasses.replace(
        config(), task=Classification(labels=("first", "second", "third"))
    )
    with pytest.raises(
        UserError, match=r"dev\.tsv: row \d+: no row of .*train\.tsv has the label 's"
    ):
        finetune(settings, pretrained(), train, files[1], tmp_path / "run")


def test_a_dev_file_to_which_nothing_correlates_is_refused(tmp_path):
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    train.write_text("sentence\tscore\nbab\t1\nkod\t2\n")
    dev.write_text("sentence\tscore\nbab\t-1\nkod\t-1\n")
    settings = dataclasses.replace(config(), task=Regression(text="sentence", second=None))
    with pytest.raises(UserError, match=r"dev\.tsv: every row has the score -1"):
        finetune(settings, pretrained(), train, dev, tmp_path / "run")


REFUSED = {
    "a config for pretraining": {"task": None},
    "model.num_layers=3: the checkpoint says": {"model": ModelConfig(num_layers=3)},
    r"model.labels=\('a', 'b'\): the check": {"model": ModelConfig(labels=("a", "b"))},
    "no masking": {"masking": MaskingConfig(rate=0.3)},
    "of data the length": {"data": DataConfig(length=32, packing=False)},
    "does not fit|do not fit": {"data": DataConfig(length=512)},
}


def test_a_threshold_is_found_and_not_given(files, tmp_path):
    task = QuestionAnswering(unanswerable=True, null_threshold=1.0)
    settings = dataclasses.replace(config(), task=task)
    with pytest.raises(UserError, match=r"task\.null_threshold: is found on the dev file"):
        finetune(settings, pretrained(), *files, tmp_path)


@pytest.mark.parametrize("message", REFUSED)
def test_settings_that_fine_tuning_does_not_take_are_refused(message, files, tmp_path):
    settings = dataclasses.replace(config(), **REFUSED[message])
    with pytest.raises(UserError, match=message):
        finetune(settings, pretrained(), *files, tmp_path)


@pytest.mark.parametrize("train", [{"epochs": None}, {"steps": 5}])
def test_either_steps_or_epochs_are_needed(train, files, tmp_path):
    with pytest.raises(UserError, match=r"train\.epochs or train\.steps"):
        finetune(config(**train), pretrained(), *files, tmp_path)


@pytest.mark.parametrize(
    "train",
    [
        {"epochs": float("nan")},
        {"epochs": float("inf")},
        {"batch_size": 0},
        {"checkpoint_every": 0},
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_read(train, tmp_path):
    nowhere = tmp_path / "nowhere.tsv"
    with pytest.raises(UserError, match="train"):
        finetune(config(**train), pretrained(), nowhere, nowhere, tmp_path / "run")
