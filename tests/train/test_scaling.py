"""What the compiled step sends between devices, and what each device keeps: on 8 of the CPU's."""

import dataclasses
import functools

import pytest

from bertjax.config import MeshConfig
from bertjax.train.ahead_of_time import plan_on
from bertjax.train.slices import find_slice
from tests.train.test_parallel_bert import CONFIG

pytestmark = pytest.mark.slow

LAYER = 4 * 16**2 + 2 * 16 * 32
MATRICES = 4 * (2 * 16 + 256 * 16 + 32 * 16 + 2 * LAYER + 2 * 16**2 + 2 * 16)
OTHERS = MATRICES * 7 // 8  # what a device sends: all but its own part, once
LARGEST_VECTORS = 8 * 1024  # bytes of all biases, layer norms, losses and counts together


@functools.cache
def planned(mesh, accumulation=1):
    train = dataclasses.replace(CONFIG.train, accumulation=accumulation)
    data = dataclasses.replace(CONFIG.data, length=32)
    config = dataclasses.replace(CONFIG, mesh=mesh, train=train, data=data)
    return plan_on(config, find_slice("cpu:8"))


def sent(figures, kind, place):
    return sum(
        group["bytes"]
        for group in figures["collectives"]
        if group["kind"] == kind and place in group["source"]
    )


@pytest.mark.parametrize("mesh", [MeshConfig(data=8), MeshConfig(data=1, fsdp=8)])
def test_each_gradient_is_sent_once_and_every_device_gets_its_part(mesh):
    """The tied table too: its two gradients are added before they are sent."""
    assert sent(planned(mesh), "reduce-scatter", "sum_gradients") == OTHERS


def test_a_batch_in_parts_sends_its_gradients_once_as_well():
    figures = planned(MeshConfig(data=8), accumulation=2)
    assert sent(figures, "reduce-scatter", "sum_gradients") == OTHERS


@pytest.mark.parametrize("mesh", [MeshConfig(data=8), MeshConfig(data=1, fsdp=8)])
def test_no_activation_is_sent(mesh):
    figures = planned(mesh)
    assert figures["warnings"] == []
    assert sent(figures, "all-reduce", "") < LARGEST_VECTORS


def test_weights_come_together_once_after_the_update_or_with_fsdp_before_the_model_runs():
    assert sent(planned(MeshConfig(data=8)), "all-gather", "new_weights") == OTHERS
    assert sent(planned(MeshConfig(data=1, fsdp=8)), "all-gather", "gather_weights") == OTHERS


def test_each_device_keeps_an_eighth_of_the_optimizer_state():
    memory = planned(MeshConfig(data=8))["memory"]
    assert 2 * MATRICES / 8 < memory["optimizer"] < 2 * MATRICES / 8 + 2 * LARGEST_VECTORS
    assert memory["parameters"] > MATRICES


def test_with_fsdp_each_device_keeps_an_eighth_of_the_weights_too():
    assert planned(MeshConfig(data=1, fsdp=8))["memory"]["parameters"] < MATRICES / 8 + 4096
