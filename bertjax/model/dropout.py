"""Dropout whose bits are a hash of where they fall: (key, site, row, position in the row).

The bits are plain uint32 arithmetic on iota. They fuse into the surrounding loop, partition over
any mesh without communication, and a row keeps its bits however the batch is cut: accumulation,
sharding and the number of hosts change nothing.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_GOLDEN = np.uint32(0x9E3779B9)


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Stateless dropout for one forward pass.

    Attributes:
        rate: the share of elements set to 0; the others are divided by 1 - rate.
        key: a JAX key, fresh for every step; None means no dropout.
        row_ids: int32 [batch], the row's number in the global batch.
    """

    rate: float
    key: jax.Array | None = None
    row_ids: jax.Array | None = None

    def __call__(self, inputs: jax.Array, site: int) -> jax.Array:
        """Drops elements of `inputs` [batch, ...]; `site` is the call's number in the model."""
        if self.key is None or self.rate == 0.0:
            return inputs
        assert self.row_ids is not None, "dropout needs row_ids"
        bits = random_bits(self.key, site, self.row_ids, inputs.shape[1:])
        keep = bits >= np.uint32(round(self.rate * 2**32))
        return jnp.where(keep, inputs / (1.0 - self.rate), 0).astype(inputs.dtype)


def random_bits(key: jax.Array, site: int, row_ids: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform random uint32 [batch, *shape], a pure function of (key, site, row id, index).

    Two rounds of a full-avalanche integer hash, each with its own 32-bit seed of (key, site,
    row): with a single round, two rows whose seeds lie close would be shifted copies.

    Args:
        key: a JAX key, typed or raw.
        site: which draw this is; different sites give independent bits.
        row_ids: int32 [batch].
        shape: of one row; at most 2**32 elements.
    """
    first, second = _row_seeds(key, site, row_ids)
    expand = (slice(None), *(None,) * len(shape))
    bits = _mix(_row_index(shape)[None] + first[expand])
    return _mix(bits ^ second[expand])


def _row_seeds(key: jax.Array, site: int, row_ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two uint32 [batch] seeds per row."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = (jax.random.key_data(key) if typed else key).astype(jnp.uint32)
    rows = row_ids.astype(jnp.uint32) * _GOLDEN
    state = jnp.full_like(rows, np.uint32(site))
    seeds = []
    for number in range(2):
        for index in range(words.shape[-1]):
            state = _mix(state * _GOLDEN + words[..., index])
        state = _mix(state ^ (rows + np.uint32(number)))
        seeds.append(state)
    return seeds[0], seeds[1]


def _row_index(shape: tuple[int, ...]) -> jax.Array:
    """uint32 `shape`: the element's number within the row."""
    index, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        index += lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride)
        stride *= shape[axis]
    return index


def _mix(bits: jax.Array) -> jax.Array:
    """A bijection of uint32 in which each input bit flips each output bit half the time.

    Constants of the two-multiplication search by C. Wellons, "Prospecting for hash functions"
    (2018), bias 0.17 against 0.23 for the finalizer of MurmurHash3.
    """
    bits = (bits ^ (bits >> 16)) * np.uint32(0x21F0AAAD)
    bits = (bits ^ (bits >> 15)) * np.uint32(0xD35A2D97)
    return bits ^ (bits >> 15)
