import dataclasses

import pytest
from etils import epath

from bertjax.config import (
    Config,
    MeshConfig,
    ModelConfig,
    Phase,
    TrainConfig,
    from_json,
)
from bertjax.errors import UserError
from bertjax.train.run_folder import open_run, write_config, write_file

CONFIG = Config(model=ModelConfig(vocab_size=100), train=TrainConfig(steps=10))


def changed(section, **values):
    return dataclasses.replace(
        CONFIG, **{section: dataclasses.replace(getattr(CONFIG, section), **values)}
    )


def phased(steps=None, length=128):
    """A config of 700 and 300 steps, or in all of `steps`; `length`: of the second phase."""
    parts = (Phase(700, 32, 8, 1e-3, 10), Phase(300, length, 8, 1e-3, 20))
    return changed("train", steps=steps, phases=parts)


def start(run, config):
    """What pretraining does once nothing is refused; returns what it tells."""
    config, changes = open_run(run, config)
    write_config(epath.Path(run), config)
    return changes


def read_config(run):
    return from_json((run / "config.json").read_text(), "config.json")


def steps_of(run):
    return [phase.steps for phase in read_config(run).train.phases]


def test_a_new_run_keeps_its_config(tmp_path):
    assert start(tmp_path / "a" / "run", CONFIG) == []
    assert read_config(tmp_path / "a" / "run") == CONFIG


def test_opening_a_run_writes_nothing_into_it(tmp_path):
    open_run(tmp_path / "run", CONFIG)
    assert list((tmp_path / "run").iterdir()) == []


def test_the_phases_of_a_run_are_kept_as_they_are_run(tmp_path):
    start(tmp_path, phased(steps=2000))
    assert steps_of(tmp_path) == [1400, 600]
    assert start(tmp_path, phased(steps=2000)) == []


def test_more_steps_make_the_last_phase_longer_and_the_same_command_goes_on(tmp_path):
    start(tmp_path, phased())
    told = start(tmp_path, phased(steps=2000))
    assert told == [
        "train.steps: 1000 -> 2000, otherwise as the run was started",
        "train.phases: the run keeps its own, now of 700, 1300 steps with 10, 20 of warmup, "
        "otherwise as the run was started",
    ]
    assert steps_of(tmp_path) == [700, 1300]
    assert read_config(tmp_path).train.phases[1].warmup_steps == 20
    start(tmp_path, phased(steps=2000))
    assert steps_of(tmp_path) == [700, 1300]


def test_a_run_cut_short_loses_its_later_phases(tmp_path):
    start(tmp_path, phased())
    start(tmp_path, phased(steps=300))
    assert steps_of(tmp_path) == [300]
    start(tmp_path, phased(steps=300))
    assert steps_of(tmp_path) == [300]


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_a_run_of_so_few_steps_that_phases_were_left_out_goes_on(tmp_path, steps):
    parts = [Phase(count, length, 8, 1e-3, 5) for count, length in ((20, 16), (10, 32), (970, 64))]
    start(tmp_path, changed("train", steps=steps, phases=tuple(parts)))
    assert len(steps_of(tmp_path)) < 3 or steps == 10
    told = start(tmp_path, changed("train", steps=None, phases=tuple(parts)))
    assert any("of warmup" in line for line in told)
    assert sum(steps_of(tmp_path)) == 1000
    assert start(tmp_path, changed("train", steps=None, phases=tuple(parts)))


FOREIGN = ("metrics.jsonl", "report.md", "checkpoints/10/weights.pt", "tokenizer/notes.txt")


@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_run_has_written_is_not_replaced(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    with pytest.raises(UserError, match=r"holds .* and no config\.json, so it is no run"):
        open_run(tmp_path, CONFIG)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("place", [0, 1])
def test_a_phase_that_was_not_there_is_refused(tmp_path, place):
    start(tmp_path, phased())
    parts = list(phased().train.phases)
    parts.insert(place, Phase(100, 48, 8, 1e-3, 10))
    with pytest.raises(UserError, match=r"train\.phases: "):
        open_run(tmp_path, changed("train", steps=None, phases=tuple(parts)))


def test_a_phase_that_was_taken_away_is_refused(tmp_path):
    start(tmp_path, phased())
    longer = dataclasses.replace(phased().train.phases[0], steps=1000)
    with pytest.raises(UserError, match=r"train\.phases: "):
        open_run(tmp_path, changed("train", steps=None, phases=(longer,)))


def test_a_phase_left_out_at_first_does_not_hinder_any_number_of_steps(tmp_path):
    parts = (Phase(200, 16, 8, 1e-3, 5), Phase(1, 32, 8, 1e-3, 0), Phase(799, 64, 8, 1e-3, 0))
    start(tmp_path, changed("train", steps=100, phases=parts))
    assert steps_of(tmp_path) == [20, 80]
    for steps in (700, 300):
        start(tmp_path, changed("train", steps=steps, phases=parts))
        assert steps_of(tmp_path) == [20, steps - 20]


def test_a_run_that_was_killed_before_it_had_a_config_begins_again(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.txt").touch()
    (tmp_path / "tokenizer" / "wordpiece.json.host.7.tmp").touch()
    assert start(tmp_path, CONFIG) == []


def test_another_phase_is_refused_even_with_other_steps(tmp_path):
    start(tmp_path, phased())
    with pytest.raises(UserError, match=r"train\.phases: "):
        open_run(tmp_path, phased(steps=2000, length=64))


@pytest.mark.parametrize(
    "config",
    [
        changed("train", steps=20),
        changed("train", log_every=1, evaluate_every=2, checkpoint_every=3, keep_checkpoints=4),
        changed("train", patience=3),
        changed("train", profile_steps=(1, 2)),
        dataclasses.replace(CONFIG, mesh=MeshConfig(data=2, fsdp=2, tensor=2)),
        changed("model", attention="plain", epilogues="plain"),
        changed("train", accumulation=2),
        changed("model", remat=True),
    ],
    ids=["steps", "cadences", "patience", "profile", "mesh", "kernels", "accumulation", "remat"],
)
def test_steps_cadences_and_how_gradients_are_computed_may_change_and_are_told(tmp_path, config):
    start(tmp_path, CONFIG)
    assert start(tmp_path, config)
    assert start(tmp_path, config) == []


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("train", "seed", 1),
        ("model", "num_layers", 3),
        ("model", "attention_dropout", 0.2),
        ("optimizer", "learning_rate", 1.0),
        ("masking", "unit", "span"),
        ("train", "phases", (Phase(10, 128, 8, 1e-3, 0),)),
    ],
)
def test_any_other_difference_is_refused_by_name(tmp_path, section, name, value):
    start(tmp_path, CONFIG)
    with pytest.raises(UserError, match=rf"{section}\.{name}: "):
        open_run(tmp_path, changed(section, **{name: value}))
    assert read_config(tmp_path) == CONFIG


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot use the run folder"):
        open_run(tmp_path / "file" / "run", CONFIG)


def test_a_config_json_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match="not valid JSON"):
        open_run(tmp_path, CONFIG)


def test_a_data_folder_is_no_run(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="made by bertjax prepare"):
        open_run(tmp_path, CONFIG)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*config\.json: "):
        write_file(tmp_path / "config.json", b"{}")
