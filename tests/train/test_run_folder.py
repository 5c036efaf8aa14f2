import dataclasses

import pytest

from bertjax.config import (
    Config,
    MeshConfig,
    ModelConfig,
    Phase,
    TrainConfig,
    from_json,
)
from bertjax.errors import UserError
from bertjax.train.run_folder import open_run

CONFIG = Config(model=ModelConfig(vocab_size=100), train=TrainConfig(steps=10))


def changed(section, **values):
    return dataclasses.replace(
        CONFIG, **{section: dataclasses.replace(getattr(CONFIG, section), **values)}
    )


def test_a_new_run_keeps_its_config(tmp_path):
    assert open_run(tmp_path / "a" / "run", CONFIG) == []
    file = tmp_path / "a" / "run" / "config.json"
    assert from_json(file.read_text(), "config.json") == CONFIG


@pytest.mark.parametrize(
    "config",
    [
        changed("train", steps=20),
        changed("train", log_every=1, evaluate_every=2, checkpoint_every=3, keep_checkpoints=4),
        dataclasses.replace(CONFIG, mesh=MeshConfig(data=2, fsdp=2, tensor=2)),
    ],
    ids=["steps", "cadences", "mesh"],
)
def test_steps_cadences_and_mesh_may_change_and_are_told(tmp_path, config):
    open_run(tmp_path, CONFIG)
    assert open_run(tmp_path, config)
    assert open_run(tmp_path, config) == []


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("train", "seed", 1),
        ("train", "accumulation", 2),
        ("model", "num_layers", 3),
        ("optimizer", "learning_rate", 1.0),
        ("masking", "unit", "span"),
        ("train", "phases", (Phase(10, 128, 8, 1e-3, 0),)),
    ],
)
def test_any_other_difference_is_refused_by_name(tmp_path, section, name, value):
    open_run(tmp_path, CONFIG)
    with pytest.raises(UserError, match=rf"{section}\.{name}: "):
        open_run(tmp_path, changed(section, **{name: value}))
    assert from_json((tmp_path / "config.json").read_text(), "") == CONFIG


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the run folder"):
        open_run(tmp_path / "file" / "run", CONFIG)
