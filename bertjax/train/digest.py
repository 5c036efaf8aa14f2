"""One number per array that changes with any bit of it, whatever devices hold it.

The digest of an array is a sum modulo 2**32 over its elements: a hash of the element's bits times
an odd weight made of the element's position and the array's name. So a flipped bit always shows
(an odd weight has an inverse), and swapped elements or swapped arrays show too. Modular addition
has no order, so the digest is the same on one device and on many.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.model.dropout import element_numbers
from bertjax.train.ahead import started_ahead

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}  # by bytes per element


@dataclass(frozen=True)
class Digests:
    """Digests of the arrays of a pytree by name, and the names of those with a NaN or infinity."""

    values: dict[str, int]
    not_finite: tuple[str, ...]


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by name, such as `params/encoder/0/kernel`, in the tree's order."""
    leaves = jax.tree.leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    if len(named) < len(leaves):
        raise ValueError("two arrays of the tree have the same name")
    return named


def digest_arrays(tree: Any) -> Digests:
    """Computes the digest of every array of `tree` on the devices that hold it.

    Covers bool, integers, floats and typed random keys of any shape and sharding. Only the results
    (5 bytes an array) come to the host; the call waits for them.
    """
    named = named_leaves(tree)
    seeds = {name: np.uint32(zlib.crc32(name.encode())) for name in named}
    started = started_ahead((name, _digest(named[name], seeds[name])) for name in named)
    results = {name: jax.device_get(found) for name, found in started}
    return Digests(
        values={name: int(value) for name, (value, _) in results.items()},
        not_finite=tuple(name for name, (_, finite) in results.items() if not finite),
    )


@jax.jit  # one small program per shape and sharding: layers share it, so it compiles in no time
def _digest(array: jax.Array, seed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The digest, uint32 [], and whether every element is finite, bool []."""
    words = _words(array)
    weights = _mix(element_numbers(words.shape) ^ seed) | jnp.uint32(1)
    total = jnp.sum(_mix(words) * weights, dtype=jnp.uint32)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return total, jnp.all(jnp.isfinite(array))
    return total, jnp.bool(True)


def _words(array: jax.Array) -> jax.Array:
    """The bits of each element as uint32, with a last axis of 2 for 8-byte elements."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.dtype == jnp.bool:
        return array.astype(jnp.uint32)
    word = _WORDS[array.dtype.itemsize]
    return jax.lax.bitcast_convert_type(array, word).astype(jnp.uint32)


def _mix(words: jax.Array) -> jax.Array:
    """Spreads every bit over the whole word, one to one: the finaliser of MurmurHash3 (Appleby)."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
