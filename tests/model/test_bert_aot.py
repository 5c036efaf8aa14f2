"""What the TPU compiler makes of the encoder's gradients."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

from bertjax.config import load_config
from bertjax.model import bert
from bertjax.train.slices import find_slice

pytestmark = pytest.mark.aot
pytest.importorskip("libtpu")


@pytest.mark.slow
def test_the_gradients_of_weights_do_not_wait_for_those_of_all_layers():
    """Two layers on one chip take 411 MiB beside the weights, 427 if `bert.py` lets them wait."""
    device = SingleDeviceSharding(find_slice("v5e:2x2").devices[0])
    sizes = ("--model.num_layers=2", "--model.vocab_size=1024", "--model.dropout=0")
    model = load_config("base", (*sizes, "--model.attention=plain")).model

    def loss(params, ids):
        encoded = bert.forward(params, model, ids, ids, ids, compute_dtype=jnp.bfloat16)
        return jnp.sum(encoded.hidden.astype(jnp.float32) ** 2)

    def step(params, ids):
        found = jax.grad(loss)(params, ids)
        return jax.tree.map(lambda weight, gradient: weight - 0.1 * gradient, params, found)

    params = jax.eval_shape(lambda: bert.init_params(model, jax.random.key(0), ()))
    params, ids = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
        (params, jax.ShapeDtypeStruct((64, 128), jnp.int32)),
    )
    memory = jax.jit(step, donate_argnums=0).lower(params, ids).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 419 * 2**20
