"""Sums and gathers in two stages give what one stage gives, each device its own part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from bertjax.train.collectives import gather, scatter_sum

SIZE = 24  # rows and columns: they divide over each number of devices


@pytest.fixture(params=[1, 2, 3, 6, 8])
def devices(request):
    return request.param


def on_every_device(devices, function, outs):
    mesh = jax.make_mesh(
        (devices,),
        ("data",),
        devices=jax.devices()[:devices],
        axis_types=(jax.sharding.AxisType.Auto,),
    )
    spec = PartitionSpec("data")
    return jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=outs, check_vma=False)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_device_keeps_its_part_of_the_sum(devices, axis):
    arrays = np.random.default_rng(0).standard_normal((devices, SIZE, SIZE), np.float32)
    outs = PartitionSpec(*[None] * axis, "data")
    run = on_every_device(devices, lambda own: scatter_sum(own[0], ("data",), axis), outs)
    np.testing.assert_allclose(jax.jit(run)(arrays), arrays.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_gathering_puts_the_parts_in_their_places(devices, axis):
    whole = jnp.arange(SIZE * SIZE, dtype=jnp.float32).reshape(SIZE, SIZE)
    turned = lambda array: array.T if axis else array  # noqa: E731
    run = on_every_device(
        devices, lambda part: gather(turned(part), ("data",), axis), PartitionSpec()
    )
    np.testing.assert_array_equal(turned(jax.jit(run)(whole)), whole)


@pytest.mark.parametrize(("devices", "stages"), [(2, 1), (3, 1), (6, 2), (8, 2)])
def test_a_number_of_devices_that_has_factors_makes_two_stages(devices, stages):
    run = on_every_device(
        devices, lambda own: scatter_sum(own[0], ("data",), 0), PartitionSpec("data")
    )
    program = str(jax.make_jaxpr(run)(jnp.zeros((devices, SIZE, SIZE))))
    assert program.count("reduce_scatter[") == stages
