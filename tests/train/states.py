"""Small states of training, saved and compared."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import SingleDeviceSharding

from bertjax.train.checkpoint import Checkpoints

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def make_state(step=0):
    """A state like the training loop's: every dtype it may hold, NamedTuples, empty nodes."""
    key = jax.random.key(step)
    params = {
        "embeddings": {"kernel": jax.random.normal(key, (64, 16))},
        "layers": {str(layer): {"bias": jnp.full(8, layer + step / 8)} for layer in range(2)},
        "half": jnp.arange(8, dtype=jnp.bfloat16) + step,
    }
    return {
        "params": params,
        "optimizer": OPTIMIZER.init(params),
        "step": jnp.int32(step),
        "key": key,
        "nothing": {},
    }


def abstract(state, sharding=None):
    sharding = sharding or SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
    )


def values(tree):
    """Every leaf as a NumPy array, random keys as their data."""

    def value(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    return jax.tree.map(value, tree)


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, values(found), values(expected))


def saved(folder, *steps, keep=5):
    """A checkpoints folder with the given steps."""
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, make_state(step), {"seen": step})
    checkpoints.close()
    return folder


def restore(folder):
    return Checkpoints(folder, 5).restore(abstract(make_state()))
