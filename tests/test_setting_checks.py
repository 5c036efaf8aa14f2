"""Settings that cannot work are refused in one line that names them."""

import dataclasses

import pytest

from bertjax.config import Config, DataConfig, Phase, TrainConfig, load_config
from bertjax.errors import UserError
from bertjax.setting_checks import validate
from tests.test_settings import TWO_PHASES


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
        (["--optimizer.learning_rate=inf"], "optimizer.learning_rate=inf"),
        (["--optimizer.warmup_steps=-1"], "optimizer.warmup_steps=-1"),
        (["--optimizer.frozen_layers=13"], "optimizer.frozen_layers=13: there are only model"),
        (["--optimizer.beta1=1"], "optimizer.beta1=1.0"),
        (["--optimizer.beta2=-0.1"], "optimizer.beta2=-0.1"),
        (["--optimizer.epsilon=0"], "optimizer.epsilon=0.0"),
        (["--model.vocab_size=-5"], "model.vocab_size=-5"),
        (["--model.num_segments=0"], "model.num_segments=0"),
        (["--model.num_segments=1"], "data.pairs=nsp needs 2"),
        (["--model.layer_norm_epsilon=0"], "model.layer_norm_epsilon=0.0"),
        (["--model.initializer_range=-1"], "model.initializer_range=-1.0"),
        (["--train.steps=none"], "train.steps is not set"),
        (["--train.steps=0"], "train.steps=0"),
        (["--train.steps=3000000000"], "train.steps=3000000000: a run has at most 2,147,483,647"),
        (["--train.batch_size=0"], "train.batch_size=0"),
        (["--data.length=8"], "must be at least 16"),
        (["--model.attention=fused", "--model.num_heads=3"], "do not fill groups of 128"),
        (
            [
                *("--model.attention=fused", "--train.compute_dtype=float32"),
                *("--model.max_length=2048", "--data.length=2048"),
            ],
            "at most 1024 positions",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    config = load_config("base", overrides)
    with pytest.raises(UserError) as caught:
        validate(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "train.phases[1].steps=0"),
        ({"steps": -3}, "train.phases[1].steps=-3"),
        ({"learning_rate": -1.0}, "train.phases[1].learning_rate=-1.0"),
        ({"length": 8}, "train.phases[1].length=8"),
        ({"length": 1024}, "do not fit model.max_length=512"),
        ({"batch_size": 0}, "train.phases[1].batch_size=0"),
        ({"warmup_steps": 101}, "a phase of 100 steps cannot warm up for 101"),
    ],
)
def test_a_phase_that_cannot_work_is_refused_by_its_number(values, message):
    first, second = TWO_PHASES.train.phases
    bad = TrainConfig(phases=(first, dataclasses.replace(second, **values)))
    with pytest.raises(UserError) as caught:
        validate(Config(train=bad))
    assert message in str(caught.value)


@pytest.mark.parametrize("steps", [None, 5])
def test_phases_without_any_step_are_refused(steps):
    nothing = Phase(0, 128, 32, 1e-3, 0)
    with pytest.raises(UserError, match="steps=0"):
        validate(Config(train=TrainConfig(steps=steps, phases=(nothing,))))


def test_the_length_of_validation_is_checked_beside_phases():
    with pytest.raises(UserError, match=r"data\.length=1024"):
        validate(dataclasses.replace(TWO_PHASES, data=DataConfig(length=1024)))


def test_heads_that_can_never_be_shared_are_refused_without_devices():
    with pytest.raises(UserError, match=r"mesh\.tensor=8: model\.num_heads=12 cannot be shared"):
        validate(load_config("base", ["--mesh.tensor=8"]))
    validate(load_config("base", ["--mesh.tensor=4"]))
