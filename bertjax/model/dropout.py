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

from bertjax.model.positions import Selected

_GOLDEN = np.uint32(0x9E3779B9)
_DECIDING = 16  # upper bits: what is dropped depends on no others


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dropout:
    """Stateless dropout for one forward pass.

    Attributes:
        rate: the share of elements set to 0, as `keep` rounds it; the others are divided by
            1 - rate.
        key: a JAX key, fresh for every step; None means no dropout.
        row_ids: int32 [batch], the row's number in the global batch.
    """

    rate: float = dataclasses.field(metadata={"static": True})
    key: jax.Array | None = None
    row_ids: jax.Array | None = None

    def __call__(
        self, inputs: jax.Array, site: int | jax.Array, selected: Selected | None = None
    ) -> jax.Array:
        """Drops elements of `inputs` [batch, ...]; `site` is the call's number in the model.

        Where the last axis but one holds `selected` positions alone, these lose what they would
        lose among all.
        """
        if not self.active:
            return inputs
        assert self.key is not None
        assert self.row_ids is not None, "dropout needs row_ids"
        kept = keep(
            dropout_bits(self.key, site, self.row_ids, inputs.shape[1:], selected), self.rate
        )
        # In float32: 0.9 in bfloat16 is 0.8984, and the mean would no longer be that of the inputs.
        scaled = inputs.astype(jnp.float32) / (1.0 - self.rate)
        return jnp.where(kept, scaled, 0).astype(inputs.dtype)

    def words(
        self, site: int | jax.Array, shape: tuple[int, ...], selected: Selected | None = None
    ) -> tuple[jax.Array, ...]:
        """What a kernel draws a call's bits from, as of `bit_words`; nothing without dropout."""
        if not self.active:
            return ()
        assert self.key is not None
        assert self.row_ids is not None, "dropout needs row_ids"
        return bit_words(self.key, site, self.row_ids, shape, selected)

    @property
    def active(self) -> bool:
        """Whether anything is dropped."""
        return self.key is not None and self.rate > 0.0


def random_bits(
    key: jax.Array, site: int | jax.Array, row_ids: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
    """Uniform random uint32 [batch, *shape], a pure function of (key, site, row id, index).

    Masks are made of these. Validation figures compare with earlier ones while they stay as they
    are, which is why `dropout_bits`, of fewer operations, are not used there.

    Args:
        key: a JAX key, typed or raw.
        site: which draw this is; different sites give independent bits.
        row_ids: int32 [batch].
        shape: of one row, at least one axis; at most 2**32 elements.
    """
    outer, inner = bit_words(key, site, row_ids, shape)
    return _mix(outer[..., None] ^ _by_place(inner, shape))


def dropout_bits(
    key: jax.Array,
    site: int | jax.Array,
    row_ids: jax.Array,
    shape: tuple[int, ...],
    selected: Selected | None = None,
) -> jax.Array:
    """uint32 [batch, *shape] for `keep`, as pure a function; random in their upper 16 bits.

    Args:
        key, site, row_ids, shape: as of `random_bits`.
        selected: what the last axis but one holds; the bits are those that the positions have in
            a draw for all.
    """
    outer, inner = bit_words(key, site, row_ids, shape, selected)
    return mix_words(outer[..., None], _by_place(inner, shape))


def _by_place(inner: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """[batch, places] as it broadcasts against [batch, *shape]."""
    return inner.reshape(-1, *(1,) * (len(shape) - 1), shape[-1])


def bit_words(
    key: jax.Array,
    site: int | jax.Array,
    row_ids: jax.Array,
    shape: tuple[int, ...],
    selected: Selected | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The two words that an element's bits are mixed from; arguments as of `dropout_bits`.

    Both are hashes with a 32-bit seed of (key, site, row) each: with one seed, two rows whose seeds
    lie close would be shifted copies. They cost little beside the elements, which are left with
    a product and two sums (`mix_words`).

    Returns:
        uint32 [batch, *shape[:-1]], a word for each line along the last axis, and [batch,
        shape[-1]], a word for each place in a line.
    """
    every = shape if selected is None else (*shape[:-2], selected.length, shape[-1])
    lines, places = _row_seeds(key, site, row_ids)
    lines = lines.reshape(-1, *(1,) * (len(shape) - 1))
    outer = _mix(lines + element_numbers(every[:-1])[None])
    inner = _mix(places[:, None] + element_numbers(shape[-1:])[None])
    # Kept from being fused into what follows, where they would be computed for every element.
    outer, inner = lax.optimization_barrier((outer, inner))
    if selected is not None:
        at = selected.positions.reshape(-1, *(1,) * (len(shape) - 2), shape[-2])
        outer = jnp.take_along_axis(outer, at, axis=-1)
    return outer, inner


def mix_words(outer: jax.Array, inner: jax.Array) -> jax.Array:
    """uint32 of words that broadcast against each other, random in their upper 16 bits.

    The words are random already; what is left is that two lines, or two places in a line, must have
    nothing to do with each other. x (2 x + 1) is a permutation of uint32 whose upper bits depend on
    all bits of x (Rivest et al. 1998, "The RC6 block cipher"). For x = outer + inner that is each
    word's own and 4 outer inner: an element costs a product and two sums.
    """
    by_line, by_place = (word * (word + word + np.uint32(1)) for word in (outer, inner))
    return (outer << 2) * inner + by_line + by_place


def keep(bits: jax.Array, rate: float) -> jax.Array:
    """Whether dropout keeps the elements with these bits, uint32 [..]; False for a share of `rate`.

    The share is the multiple of 2**-16 that is nearest, at most 1 - 2**-16: the lower half of the
    bits is not looked at. The bits are compared as signed numbers: a TPU has no other comparison.
    """
    least = min(round(rate * 2**_DECIDING), 2**_DECIDING - 1) << (32 - _DECIDING)
    return lax.bitcast_convert_type(bits, jnp.int32) >= np.int32(least - 2**31)


def drop(array: jax.Array, kept: jax.Array | None) -> jax.Array:
    """`array` [..] with 0 where it is not `kept`, bool [..]; None keeps all."""
    return array if kept is None else jnp.where(kept, array, 0.0)


def element_numbers(shape: tuple[int, ...]) -> jax.Array:
    """Each element's row-major number modulo 2**32, uint32 `shape`.

    Built from one iota per axis and never reshaped, so that it is sharded as its user is.
    """
    numbers, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        numbers += lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(stride % 2**32)
        stride *= shape[axis]
    return numbers


def _row_seeds(
    key: jax.Array, site: int | jax.Array, row_ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Two uint32 [batch] seeds per row: of the lines along the last axis, and of the places."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = (jax.random.key_data(key) if typed else key).astype(jnp.uint32)
    rows = row_ids.astype(jnp.uint32) * _GOLDEN
    state, seeds = jnp.full_like(rows, site), []
    for number in range(2):
        for index in range(words.shape[-1]):
            state = _mix(state * _GOLDEN + words[..., index])
        seeds.append(state ^ (rows + np.uint32(number)))
        state = _mix(seeds[-1])
    return seeds[1], _mix(seeds[0])


def _mix(bits: jax.Array) -> jax.Array:
    """A bijection of uint32 in which each input bit flips each output bit half the time.

    Constants of the two-multiplication search by C. Wellons, "Prospecting for hash functions"
    (2018), bias 0.17 against 0.23 for the finalizer of MurmurHash3.
    """
    bits = (bits ^ (bits >> 16)) * np.uint32(0x21F0AAAD)
    bits = (bits ^ (bits >> 15)) * np.uint32(0xD35A2D97)
    return bits ^ (bits >> 15)
