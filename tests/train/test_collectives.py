"""Sums and gathers in two stages give what one stage gives, each device its own part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from bertjax.train import collectives
from bertjax.train.collectives import gather, scatter_sum

DEVICES = 8
WHOLE = (DEVICES, 16, 24)  # an array [16, 24] of every device's own


@pytest.fixture(params=[1, DEVICES], ids=["two stages", "one stage"], autouse=True)
def stages(request, monkeypatch):
    monkeypatch.setattr(collectives, "_ONE_STAGE", request.param)
    return 2 if request.param == 1 else 1


def on_every_device(function, outs):
    mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.shard_map(
        function, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=outs, check_vma=False
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_a_device_keeps_its_part_of_the_sum(axis):
    arrays = np.random.default_rng(0).standard_normal(WHOLE, np.float32)
    run = on_every_device(
        lambda own: scatter_sum(own[0], ("data",), axis), PartitionSpec(*[None] * axis, "data")
    )
    np.testing.assert_allclose(jax.jit(run)(arrays), arrays.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_gathering_puts_the_parts_in_their_places(axis):
    parts = jnp.arange(DEVICES * 16 * 24, dtype=jnp.float32).reshape(DEVICES * 16, 24)
    run = on_every_device(
        lambda part: gather(part.T if axis else part, ("data",), axis), PartitionSpec()
    )
    whole = np.asarray(jax.jit(run)(parts))
    np.testing.assert_array_equal(whole.T if axis else whole, parts)


def test_a_long_axis_takes_two_stages(stages):
    run = on_every_device(lambda own: scatter_sum(own[0], ("data",), 0), PartitionSpec("data"))
    assert str(jax.make_jaxpr(run)(jnp.zeros(WHOLE))).count("reduce_scatter[") == stages
