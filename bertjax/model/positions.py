"""Where things stand in packed rows, what may not be seen, and picking some positions out."""

import dataclasses

import jax
import jax.numpy as jnp

# The attention score of a position out of sight: finite, so that no row of scores can become
# not-a-number.
MASKED = -1e30


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Selected:
    """Some of the positions of every row."""

    positions: jax.Array  # int32 [batch, count]
    length: int = dataclasses.field(metadata={"static": True})  # of the rows that they are in


def position_ids(pair_ids: jax.Array) -> jax.Array:
    """int32 [batch, length]: each position's place in its own pair, from 0."""
    index = jnp.broadcast_to(jnp.arange(pair_ids.shape[1], dtype=jnp.int32), pair_ids.shape)
    starts = jnp.pad(pair_ids[:, 1:] != pair_ids[:, :-1], ((0, 0), (1, 0)))
    return index - jax.lax.cummax(jnp.where(starts, index, 0), axis=1)


def classifier_positions(pair_ids: jax.Array, pairs: int) -> jax.Array:
    """int32 [batch, pairs]: where each pair's `[CLS]` stands; 0 for a pair that is absent."""
    numbers = jnp.arange(1, pairs + 1, dtype=pair_ids.dtype)
    return jnp.argmax(pair_ids[:, None, :] == numbers[None, :, None], axis=2).astype(jnp.int32)


def gather_positions(hidden: jax.Array, positions: jax.Array) -> jax.Array:
    """[batch, length, hidden] at [batch, count] to [batch, count, hidden]."""
    return jnp.take_along_axis(hidden, positions[:, :, None], axis=1)


def filled_up(array: jax.Array, axis: int, count: int, value: int = 0) -> jax.Array:
    """`array` with `count` times `value` behind it along `axis`."""
    widths = [(0, count if number == axis else 0) for number in range(array.ndim)]
    return jnp.pad(array, widths, constant_values=value) if count else array
