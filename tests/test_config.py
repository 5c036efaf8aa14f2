"""Settings: files, overrides, JSON both ways, and every mistake refused in one line."""

import dataclasses
from pathlib import Path

import pytest

from bertjax.config import (
    Config,
    ModelConfig,
    Phase,
    TrainConfig,
    apply_override,
    from_json,
    load_config,
    phases,
    to_json,
    total_steps,
    validate,
)
from bertjax.errors import UserError

CONFIGS = sorted(Path(__file__).parent.parent.glob("configs/*.py"))
TWO_PHASES = Config(
    train=TrainConfig(phases=(Phase(900, 128, 32, 1e-3, 100), Phase(100, 512, 8, 5e-4, 0)))
)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_file_is_valid_and_says_how_to_run_it(file):
    config = load_config(file)
    validate(config)
    assert "bertjax pretrain configs/" in file.read_text()


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
    ],
)
def test_a_mistyped_override_is_refused_with_help(text, message):
    with pytest.raises(UserError, match=r".") as caught:
        apply_override(Config(), text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--model.hidden_size=100"], "not divisible by model.num_heads=12"),
        (["--data.length=1024"], "do not fit model.max_length=512"),
        (["--train.accumulation=3"], "not divisible by train.accumulation=3"),
        (["--model.dropout=1.5"], "model.dropout=1.5"),
        (["--masking.rate=0"], "masking.rate=0.0"),
        (["--optimizer.clip_norm=0"], "optimizer.clip_norm=0.0"),
        (["--optimizer.learning_rate=nan"], "optimizer.learning_rate=nan"),
        (["--train.steps=none"], "train.steps is not set"),
        (["--data.length=8"], "must be at least 16"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    config = load_config("base", overrides)
    with pytest.raises(UserError) as caught:
        validate(config)
    assert message in str(caught.value)


def test_a_config_that_is_not_there_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"did you mean configs/large\.py"):
        load_config("configs/lagre.py")


def test_a_single_phase_comes_from_the_plain_fields():
    config = Config(train=TrainConfig(steps=7, batch_size=4))
    assert phases(config) == (Phase(7, 128, 4, 1e-4, 10_000),)


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


def test_the_vocabulary_size_is_left_to_the_data_unless_given():
    assert ModelConfig().vocab_size is None
