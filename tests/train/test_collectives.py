"""Sums and gathers in one stage or two give each device the same part."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from bertjax.config import MeshConfig
from bertjax.train.collectives import gather, in_two_stages, scatter_sum
from bertjax.train.mesh import make_mesh

SIZE = 24  # rows and columns: they divide over each number of devices


TWO_AXES = ("fsdp", "data")


@pytest.fixture(params=[1, 2, 3, 6, 8, (2, 4)], ids=str)
def sizes(request):
    """Devices along one mesh axis or two."""
    return request.param if isinstance(request.param, tuple) else (request.param,)


def on_every_device(sizes, function, outs):
    """`function(array, names)` on every device with its part of the first axis of the array.

    `outs`: the axis of its result that is cut, or None.
    """
    names = TWO_AXES[-len(sizes) :]
    mesh = jax.make_mesh(
        sizes,
        names,
        devices=jax.devices()[: math.prod(sizes)],
        axis_types=(jax.sharding.AxisType.Auto,) * len(sizes),
    )
    return jax.shard_map(
        lambda array: function(array, names),
        mesh=mesh,
        in_specs=PartitionSpec(names),
        out_specs=PartitionSpec() if outs is None else PartitionSpec(*[None] * outs, names),
        check_vma=False,
    )


@pytest.mark.parametrize("two_stages", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_device_keeps_its_part_of_the_sum(sizes, axis, two_stages):
    arrays = np.random.default_rng(0).standard_normal((math.prod(sizes), SIZE, SIZE), np.float32)
    run = on_every_device(
        sizes, lambda own, names: scatter_sum(own[0], names, axis, two_stages), axis
    )
    np.testing.assert_allclose(jax.jit(run)(arrays), arrays.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("two_stages", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_gathering_puts_the_parts_in_their_places(sizes, axis, two_stages):
    whole = jnp.arange(SIZE * SIZE, dtype=jnp.float32).reshape(SIZE, SIZE)
    turned = lambda array: array.T if axis else array  # noqa: E731
    run = on_every_device(
        sizes, lambda part, names: gather(turned(part), names, axis, two_stages), None
    )
    np.testing.assert_array_equal(turned(jax.jit(run)(whole)), whole)


@pytest.mark.parametrize(
    ("sizes", "two_stages", "stages"),
    [((2,), True, 1), ((3,), True, 1), ((6,), True, 2), ((8,), True, 2), ((2, 4), True, 2),
     ((8,), False, 1), ((2, 4), False, 1)],
)  # fmt: skip
def test_a_number_of_devices_that_has_factors_makes_two_stages(sizes, two_stages, stages):
    run = on_every_device(sizes, lambda own, names: scatter_sum(own[0], names, 0, two_stages), 0)
    program = str(jax.make_jaxpr(run)(jnp.zeros((math.prod(sizes), SIZE, SIZE))))
    assert program.count("reduce_scatter[") == stages


def test_a_cpu_takes_one_stage():
    assert not in_two_stages(make_mesh(MeshConfig()))
