"""Settings: files, overrides, JSON both ways, and every mistake refused in one line."""

import configparser
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from bertjax import config as config_module
from bertjax.config import (
    Config,
    Phase,
    apply_override,
    from_json,
    load_config,
    phases,
    to_json,
    total_steps,
    validate,
)
from bertjax.errors import UserError
from tests.test_settings import TWO_PHASES

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.py"))
TASK_CONFIGS = sorted(FOLDER.glob("finetune/*.py"))


def test_configs_are_found_where_a_wheel_puts_them(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "share" / "bertjax" / "configs")
    monkeypatch.setattr(config_module, "__file__", str(tmp_path / "site" / "bertjax" / "config.py"))
    monkeypatch.setattr("sysconfig.get_path", lambda name: {"data": str(tmp_path)}[name])
    assert load_config("tiny").model.hidden_size == 128
    assert load_config("sst2").task is not None


def test_a_wheel_has_every_config():
    parser = configparser.ConfigParser()
    parser.read(FOLDER.parent / "setup.cfg")
    patterns = dict(parser["options.data_files"])
    brought = {file for pattern in patterns.values() for file in FOLDER.parent.glob(pattern)}
    assert brought == set(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("name", ["modern", "budget_24_hours"])
def test_phases_take_the_place_of_a_share_of_warmup(name):
    phase = '[{"steps":60,"length":128,"batch_size":1024,"learning_rate":5e-4,"warmup_steps":9}]'
    config = load_config(name, [f"--train.phases={phase}"])
    validate(config)
    assert phases(config)[0].warmup_steps == 9


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_file_is_valid_and_says_how_to_run_it(file):
    config = load_config(file)
    validate(config)
    assert "bertjax pretrain configs/" in file.read_text()


@pytest.mark.parametrize("file", TASK_CONFIGS, ids=lambda file: file.stem)
def test_a_fine_tuning_config_has_a_task_and_tells_its_command(file):
    config = load_config(file.stem)
    assert config.task is not None
    assert (config.train.steps is None) != (config.train.epochs is None)
    assert from_json(to_json(config), "here") == config
    assert "bertjax finetune " in file.read_text()


PHASED = [file for file in CONFIGS if load_config(file).train.phases]


@pytest.mark.parametrize("file", PHASED, ids=lambda file: file.stem)
def test_a_config_with_phases_takes_their_steps_and_makes_sense_without_them(file):
    config = load_config(file)
    assert phases(config) == config.train.phases
    plain = load_config(file, [f"--data.length={config.data.length}"])
    assert plain.train.phases == ()
    assert total_steps(plain) == total_steps(config)
    validate(plain)
    assert plain.optimizer.warmup_steps < total_steps(plain) / 10


def test_the_published_sizes():
    base, large = load_config("base").model, load_config("large").model
    assert (base.num_layers, base.hidden_size, base.num_heads) == (12, 768, 12)
    assert (large.num_layers, large.hidden_size, large.num_heads) == (24, 1024, 16)


@pytest.mark.parametrize("num_layers", [2, 4, 6, 8, 10, 12])
@pytest.mark.parametrize("hidden_size", [128, 256, 512, 768])
def test_all_24_miniatures_come_from_one_config(num_layers, hidden_size):
    model = load_config(f"miniature:num_layers={num_layers},hidden_size={hidden_size}").model
    assert (model.num_layers, model.hidden_size) == (num_layers, hidden_size)
    assert model.hidden_size // model.num_heads == 64
    assert model.intermediate_size == 4 * hidden_size


def test_a_config_survives_json():
    assert from_json(to_json(TWO_PHASES), "config.json") == TWO_PHASES


@pytest.mark.parametrize(
    ("text", "section", "field", "value"),
    [
        ("--model.num_layers=4", "model", "num_layers", 4),
        ("--model.vocab_size=30_522", "model", "vocab_size", 30522),
        ("--model.vocab_size=none", "model", "vocab_size", None),
        ("--model.remat=true", "model", "remat", True),
        ("--optimizer.learning_rate=2e-3", "optimizer", "learning_rate", 2e-3),
        ("--train.batch-size=8", "train", "batch_size", 8),
        ("--train.compute_dtype=bfloat16", "train", "compute_dtype", "bfloat16"),
        ("--masking.unit=whole_word", "masking", "unit", "whole_word"),
    ],
)
def test_an_override_changes_one_field(text, section, field, value):
    changed = apply_override(Config(), text)
    assert getattr(getattr(changed, section), field) == value
    same = dataclasses.replace(getattr(Config(), section), **{field: value})
    assert changed == dataclasses.replace(Config(), **{section: same})


def test_a_config_json_from_before_a_setting_existed_has_its_default():
    values = json.loads(to_json(Config()))
    for name in ("activation", "attention_dropout", "labels"):
        del values["model"][name]
    assert from_json(json.dumps(values), "config.json") == Config()


def test_phases_can_be_given_as_json_on_the_command_line():
    text = '[{"steps": 5, "length": 64, "batch_size": 8, "learning_rate": 1, "warmup_steps": 0}]'
    assert apply_override(Config(), f"--train.phases={text}").train.phases == (
        Phase(steps=5, length=64, batch_size=8, learning_rate=1.0, warmup_steps=0),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--model.num_layer=4", "unknown option --model.num_layer; did you mean --model.num_layer"),
        ("--modle.num_layers=4", "did you mean --model.num_layers?"),
        ("--model.num_layers=four", "expected int"),
        ("--model=4", "is a section"),
        ("--model.num_layers.x=4", "is not a section"),
        ("--masking.unit=wholeword", "choose one of token, whole_word, span"),
        ("--data.packing=yes", "expected true or false"),
        ("model.num_layers=4", "write --section.field=value"),
        ("--train.phases=[1", "expected JSON"),
        ("--model.labels=[0, 1]", 'labels: expected str, found 0; write "0"'),
    ],
)
def test_a_mistyped_override_is_refused_with_help(text, message):
    with pytest.raises(UserError, match=r".") as caught:
        apply_override(Config(), text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "line 1: invalid syntax"),
        ("x = 1", "no get_config"),
        ("get_config = 3", "no get_config"),
        ("def get_config():\n    pass", "returned None"),
    ],
)
def test_a_file_that_gives_no_config_is_refused(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(tmp_path / "mine.py")


CONFIG_FILE = "from bertjax.config import Config, TrainConfig, with_steps\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import absent", "line 2: ModuleNotFoundError: No module named 'absent'"),
        ("from bertjax.config import absent", "line 2: ImportError: cannot import name 'absent'"),
        ("import json\njson.loads('{')", "line 3: JSONDecodeError: Expecting property name"),
        ("def get_config():\n    return 1 / 0", "line 3: ZeroDivisionError: division by zero"),
        (
            "def get_config():\n    return Config(train=TrainConfig(step=3))",
            "line 3: TypeError: TrainConfig.__init__() got an unexpected keyword argument 'step'",
        ),
        ("def get_config():\n    raise ValueError('a\\nb')", "line 3: ValueError: a b"),
        ("def get_config(size):\n    return Config()", "give it as in mine.py:name=value"),
        ("\0", "null bytes"),
        (
            "def get_config():\n    return Config(train=TrainConfig(steps='9'))",
            "train: steps: expected int, found '9'",
        ),
    ],
)
def test_what_goes_wrong_in_a_config_file_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "mine.py").write_text(CONFIG_FILE + text)
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "mine.py")
    told = str(caught.value)
    assert told.startswith(f"{tmp_path}/mine.py: ")
    assert message in told
    assert "\n" not in told


def test_a_mistake_in_a_file_that_the_config_imports_is_told_with_both(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside.py").write_text("x = (\n")
    (tmp_path / "mine.py").write_text("import beside")
    with pytest.raises(UserError, match=r"mine\.py: line 1: SyntaxError: .*\(beside\.py, line 1\)"):
        load_config(tmp_path / "mine.py")


def test_a_bug_of_this_package_keeps_its_traceback(tmp_path):
    (tmp_path / "mine.py").write_text(f"{CONFIG_FILE}def get_config():\n    with_steps(None, 3)")
    with pytest.raises(AttributeError):
        load_config(tmp_path / "mine.py")


def test_an_argument_without_a_declared_type_is_text(tmp_path):
    text = "def get_config(size=3):\n    assert size == '4'\n    return Config()"
    (tmp_path / "mine.py").write_text(CONFIG_FILE + text)
    assert load_config(f"{tmp_path}/mine.py:size=4") == Config()


def test_a_file_that_is_no_python_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("text")
    with pytest.raises(UserError, match="expected a Python file"):
        load_config(tmp_path / "README.md")


def test_a_config_json_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"format_version": "\xff"}')
    with pytest.raises(UserError, match="not valid JSON"):
        load_config(tmp_path / "config.json")


def test_a_config_that_is_not_there_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"did you mean large\?"):
        load_config("configs/lagre.py")


@pytest.mark.parametrize("name", ["base", "configs/base.py", "finetune/mnli.py", "mnli"])
def test_our_configs_are_found_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (load_config(name).task is None) == ("mnli" not in name)


def test_no_other_file_of_ours_is_taken_for_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no config file scripts/tasks\.py"):
        load_config("scripts/tasks.py")


@pytest.fixture
def two_phases(tmp_path):
    """A config file with phases, and plain fields beside them."""
    (tmp_path / "config.json").write_text(to_json(TWO_PHASES))
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("override", "phase"),
    [
        ("--data.length=64", Phase(1000, 64, 256, 1e-4, 10_000)),
        ("--train.batch-size=8", Phase(1000, 128, 8, 1e-4, 10_000)),
        ("--optimizer.learning_rate=1", Phase(1000, 128, 256, 1.0, 10_000)),
        ("--optimizer.warmup_steps=7", Phase(1000, 128, 256, 1e-4, 7)),
    ],
)
def test_overriding_what_phases_say_themselves_makes_one_phase_of_the_plain_fields(
    two_phases, override, phase
):
    assert phases(load_config(two_phases, [override])) == (phase,)


def test_steps_and_epochs_on_the_command_line_replace_each_other():
    steps, epochs = "--train.steps=9", "--train.epochs=2"
    train = load_config("sst2", [steps]).train
    assert (train.steps, train.epochs) == (9, None)
    train = load_config("tiny", [epochs]).train
    assert (train.steps, train.epochs) == (None, 2)
    train = load_config("tiny", ["--train.epochs=none"]).train
    assert (train.steps, train.epochs) == (load_config("tiny").train.steps, None)
    train = load_config("sst2", [steps, epochs]).train
    assert (train.steps, train.epochs) == (9, 2)  # which whoever trains refuses


def test_other_overrides_leave_the_phases(two_phases):
    config = load_config(two_phases, ["--optimizer.beta1=0.8", "--data.packing=false"])
    assert phases(config) == TWO_PHASES.train.phases


def test_an_override_of_the_phases_brings_its_own_steps_and_wins():
    text = '[{"steps": 5, "length": 64, "batch_size": 8, "learning_rate": 1, "warmup_steps": 0}]'
    config = load_config("base_two_phase", [f"--train.phases={text}", "--data.length=64"])
    assert phases(config) == (Phase(5, 64, 8, 1.0, 0),)


@pytest.mark.parametrize("steps", [1, 3, 10, 999, 1000, 5000])
def test_a_number_of_steps_scales_the_phases_in_proportion(steps):
    config = apply_override(TWO_PHASES, f"--train.steps={steps}")
    assert total_steps(config) == steps
    first = phases(config)[0]
    assert first.steps == pytest.approx(0.9 * steps, abs=1)
    assert first.warmup_steps <= first.steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"architecture": "bert"', '"architecture": "gpt"'), "unknown architecture 'gpt'"),
        (('"objective": "mlm_nsp"', '"objective": "rtd"'), "unknown objective 'rtd'"),
        (('"format_version": 1', '"format_version": 9'), "unknown format_version 9"),
        (('"num_layers": 12', '"num_layers": "12"'), "expected int, found '12'"),
        (('"num_layers"', '"layers"'), "unknown setting 'layers'"),
        (("{", "", 1), "not valid JSON"),
    ],
)
def test_a_foreign_or_damaged_config_json_is_refused(change, message):
    with pytest.raises(UserError) as caught:
        from_json(to_json(Config()).replace(*change), "run/config.json")
    assert message in str(caught.value)
    assert "run/config.json" in str(caught.value)
