"""The validation split as batches: which rows, and how many at once."""

import jax
import numpy as np
import pytest

from bertjax.api import load
from bertjax.config import MeshConfig, Phase
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.batches import Validation
from bertjax.train.mesh import batch_sharding, make_mesh
from tests.train.toy import small_config


def validation(data, config, devices=1):
    mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
    return Validation(data, load_tokenizer(data), config, batch_sharding(mesh))


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_batches_divide_over_the_devices_and_are_no_larger_than_the_rows_that_exist(data, devices):
    found = validation(data, small_config(), devices)
    rows = len(found[0]["token_ids"])
    filled = sum(int(np.any(batch["pair_ids"], axis=1).sum()) for batch in found)
    assert rows % devices == 0
    assert rows < filled + devices


def test_a_device_gets_no_more_positions_at_once_than_keep_it_busy(data, monkeypatch):
    monkeypatch.setattr("bertjax.train.batches._device_positions", lambda: 100)
    found = validation(data, small_config(), devices=4)
    assert {len(batch["token_ids"]) for batch in found} == {4 * 3}


@pytest.mark.parametrize("train", [{"batch_size": 1 << 20}, {"batch_size": 8, "accumulation": 8}])
def test_batches_do_not_depend_on_those_of_the_training(data, train):
    found, plain = validation(data, small_config(**train)), validation(data, small_config())
    np.testing.assert_array_equal(found[0]["token_ids"], plain[0]["token_ids"])


@pytest.mark.slow
def test_figures_do_not_depend_on_the_rows_at_once(small_run, monkeypatch):
    bert, data = load(small_run / "run"), str(small_run / "data")
    expected = bert.evaluate(data=data)
    monkeypatch.setattr("bertjax.train.batches._device_positions", lambda: 64)
    assert bert.evaluate(data=data) == pytest.approx(expected, rel=1e-6)


def test_rows_are_those_of_the_longest_phase(data):
    phases = [Phase(3, length, 8, learning_rate=1e-3, warmup_steps=0) for length in (32, 64, 16)]
    config = small_config(steps=None, phases=tuple(phases))
    assert validation(data, config)[0]["token_ids"].shape[1] == 64
