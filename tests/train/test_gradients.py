"""Gradients over several devices are those of one, however they are summed and cut."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from bertjax.config import MeshConfig
from bertjax.train import gradients as gradients_module
from bertjax.train.gradients import gather_updated, gradients, total_loss
from bertjax.train.mesh import make_mesh, param_shardings, update_shardings
from tests.train.test_step import losses, one_device_losses, run_steps
from tests.train.toy import toy_config, toy_objective

OBJECTIVE = toy_objective()
MESHES = {
    "data": MeshConfig(data=8),
    "data-fsdp": MeshConfig(data=4, fsdp=2),
    "fsdp-data": MeshConfig(data=2, fsdp=4),
    "data-tensor": MeshConfig(data=4, tensor=2),
    "fsdp-tensor": MeshConfig(data=1, fsdp=4, tensor=2),
    "all": MeshConfig(data=2, fsdp=2, tensor=2),
}


def sum_in(stages, monkeypatch):
    """In one stage, as CPUs and GPUs do, or in two, as TPUs."""
    monkeypatch.setattr(gradients_module, "in_two_stages", lambda _: stages == 2)


@functools.cache
def weights():
    """Drawn on one device: cut over tensor they round differently, to 2e-5."""
    return jax.device_get(jax.jit(OBJECTIVE.init)(jax.random.key(0)))


def laid_out(mesh_config, devices=None):
    """The toy's weights on a mesh, where they are held and where they are updated."""
    mesh = make_mesh(mesh_config, devices)
    params = weights()
    held = param_shardings(params, OBJECTIVE.axes, mesh)
    return jax.device_put(params, held), held, update_shardings(params, held)


def found_on(mesh_config, devices=None):
    params, held, updated = laid_out(mesh_config, devices)
    rows = OBJECTIVE.batch(0) | {"row_ids": np.arange(16, dtype=np.int32)}
    run = jax.jit(
        lambda params, rows, key: gradients(OBJECTIVE.loss, params, rows, key, 1, held, updated)
    )
    return jax.device_get(run(params, rows, jax.random.key(1)))


@functools.cache
def one_device():
    return found_on(MeshConfig(), jax.devices()[:1])


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("name", MESHES)
def test_any_mesh_gives_the_gradients_of_one_device(name, stages, monkeypatch):
    sum_in(stages, monkeypatch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        found_on(MESHES[name]),
        one_device(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["data-fsdp", "data-tensor"])
def test_training_in_two_stages_gives_the_losses_of_one_device(name, monkeypatch):
    sum_in(2, monkeypatch)
    config = dataclasses.replace(toy_config(), mesh=MESHES[name])
    found = losses(run_steps(toy_objective(), config, 20)[1])
    np.testing.assert_allclose(found, one_device_losses(), rtol=1e-4)


@pytest.mark.parametrize(("count", "mean"), [(0.05, 0.4), (4.0, 0.005), (0.0, 0.0)])
def test_a_loss_is_divided_by_what_was_counted_were_it_weights_below_one(count, mean):
    counts = {"own_loss": jnp.float32(count)}
    loss = lambda total: total_loss({"own_loss": total}, counts)  # noqa: E731
    found, gradient = jax.value_and_grad(loss)(jnp.float32(0.02))
    np.testing.assert_allclose((found, gradient), (mean, mean / 0.02), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "kernel", "table"),
    [
        ("data-fsdp", (("fsdp", "data"), None), (("fsdp", "data"), None)),
        ("all", (("fsdp", "data"), "tensor"), ("tensor", ("fsdp", "data"))),
    ],
)
def test_a_matrix_is_cut_along_the_first_axis_that_tensor_leaves_whole(name, kernel, table):
    _, held, updated = laid_out(MESHES[name])
    assert held["up"]["kernel"].spec == PartitionSpec("fsdp", kernel[1])
    assert updated["up"]["kernel"].spec == PartitionSpec(*kernel)
    assert updated["table"]["embedding"].spec == PartitionSpec(*table)


@pytest.mark.parametrize("name", ["data", "data-fsdp", "data-tensor", "all"])
def test_new_weights_are_put_together_as_they_are_held(name, monkeypatch):
    """Cut over the axis tensor as well, although the caller asks for nothing."""
    sum_in(2, monkeypatch)
    params, held, updated = laid_out(MESHES[name])
    parts = jax.device_put(params, updated)
    found = jax.jit(lambda parts: gather_updated(parts, updated, held))(parts)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    for weight, where in zip(jax.tree.leaves(found), jax.tree.leaves(held), strict=True):
        assert weight.sharding.is_equivalent_to(where, weight.ndim)
