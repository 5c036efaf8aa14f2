"""Self-attention as one TPU kernel, forward and backward, with pair ids and dropout inside.

XLA writes the [length, length] scores to memory several times; here they never leave the chip's
own memory. What is special:

- Arrays stay [batch, length, hidden], heads side by side, as the projections leave them. A grid
  step takes the 128 lanes of one group of heads. Where a head's 64 lanes must be told from its
  neighbour's, the others are set to 0: a product over 128 costs a matrix unit no more than one
  over 64.
- Scores lie as [keys, queries]. Sums over the keys then add whole registers, and of the five
  products of the backward pass three stream 64 rows through full 128 x 128 tiles instead of
  filling half a tile.
- Dropout's bits are those of model/dropout.py, so the plain path drops the same probabilities.
- Only the logarithm of the softmax's denominator is kept for the backward pass, [batch, heads,
  length]; the probabilities are computed again.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from bertjax.model.attention_tpu_bodies import (
    LANES,
    KernelSettings,
    attention_backward,
    attention_forward,
)
from bertjax.model.positions import filled_up

_TILE = 512 * 512  # scores of one head held at a time; a grid step takes as many queries as fit
_NOT_A_PAIR = -1  # of the positions that fill a row up to a multiple of 128
_VMEM_BYTES = 64 * 2**20  # the most that a grid step may take of the on-chip memory


def fused_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    pair_ids: jax.Array,
    outer_words: jax.Array | None = None,
    inner_words: jax.Array | None = None,
    *,
    head_dim: int,
    rate: float,
    interpret: bool = False,
) -> jax.Array:
    """Attention of each position to those with the same pair id, as `attention.attend`.

    Args:
        query, key, value: [batch, length, hidden] of one dtype, float32 or bfloat16; `hidden` is a
            multiple of 128, and `head_dim` divides 128.
        pair_ids: int32 [batch, length].
        outer_words, inner_words: of `dropout.bit_words` for (heads, length, length), uint32 [batch,
            heads, length] and [batch, length]; None for no dropout.
        head_dim: the lanes of each of the heads that lie side by side in `hidden`.
        rate: the share of the probabilities that is dropped; not looked at without words.
        interpret: run as plain XLA operations, on any device and slowly.

    Returns:
        the attended values [batch, length, hidden].
    """
    batch, length, hidden = query.shape
    settings = KernelSettings(head_dim, 0.0 if outer_words is None else rate, interpret)
    missing = -length % LANES
    arrays = [filled_up(array, 1, missing) for array in (query, key, value)]
    positions, words = [filled_up(pair_ids, 1, missing, _NOT_A_PAIR)], ()
    if outer_words is not None and inner_words is not None:
        outer, inner = (
            lax.bitcast_convert_type(word, jnp.int32) for word in (outer_words, inner_words)
        )
        outer = outer.reshape(batch, hidden // LANES, settings.heads, length)
        words = (filled_up(outer, 3, missing),)
        positions.append(filled_up(inner, 1, missing))
    attended: Any = _fused(settings, *arrays, jnp.stack(positions, axis=1), words)
    return attended[:, :length]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(settings: KernelSettings, *operands: Any) -> jax.Array:
    """`fused_attention` of filled rows; the operands are those of `_fused_forward`."""
    return _fused_forward(settings, *operands)[0]


def _fused_forward(
    settings: KernelSettings,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    positions: jax.Array,
    words: tuple[jax.Array, ...],
) -> tuple[jax.Array, Any]:
    """The attended values, and what the backward pass needs.

    Args:
        query, key, value: [batch, length, hidden], the length a multiple of 128.
        positions: int32 [batch, 1 or 2, length]: pair ids and, for dropout, the inner words.
        words: for dropout, the outer words, int32 [batch, groups, heads of a group, length].
    """
    batch, length, hidden = query.shape
    shape = (batch, hidden // LANES, settings.heads, length)
    operands = _inputs(query, key, value, positions, words)
    results = [("query", query), ("heads", jax.ShapeDtypeStruct(shape, jnp.float32))]
    attended, normaliser = _call(attention_forward, settings, operands, results)
    return attended, (query, key, value, positions, words, attended, normaliser)


def _fused_backward(settings: KernelSettings, saved: Any, gradient: jax.Array) -> tuple[Any, ...]:
    query, key, value, positions, words, attended, normaliser = saved
    operands = _inputs(query, key, value, positions, words)
    operands += [("query", attended), ("query", gradient), ("heads", normaliser)]
    results = [("query", query), ("keys", key), ("keys", value)]
    sums = pltpu.VMEM((LANES, query.shape[1]), jnp.float32)
    gradients = _call(attention_backward, settings, operands, results, [sums, sums])
    return *gradients, None, (None,) * len(words)


_fused.defvjp(_fused_forward, _fused_backward)


def _inputs(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    positions: jax.Array,
    words: tuple[jax.Array, ...],
) -> list[tuple[str, Any]]:
    """What both kernels begin with, each with the name of its block."""
    given = [("heads", word) for word in words]
    given += [("key_positions", positions), ("query_positions", positions)]
    return [*given, ("query", query), ("keys", key), ("keys", value)]


def _call(
    kernel: Callable[..., None],
    settings: KernelSettings,
    operands: Sequence[tuple[str, jax.Array]],
    results: Sequence[tuple[str, Any]],
    scratch: Sequence[Any] = (),
) -> Any:
    """Runs a kernel over the grid (row, group of heads, block of queries)."""
    batch, length, hidden = results[0][1].shape
    queries = _query_block(length)
    rows = dict(operands)["key_positions"].shape[1]
    blocks = {  # their shapes, and which block a step of the grid takes
        "query": ((1, queries, LANES), lambda row, group, block: (row, block, group)),
        "keys": ((1, length, LANES), lambda row, group, _: (row, 0, group)),
        "query_positions": ((1, rows, queries), lambda row, _, block: (row, 0, block)),
        "key_positions": ((1, rows, length), lambda row, *_: (row, 0, 0)),
        "heads": ((1, 1, settings.heads, queries), lambda *place: (*place[:2], 0, place[2])),
    }
    run = pl.pallas_call(
        functools.partial(kernel, settings),
        grid=(batch, hidden // LANES, length // queries),
        in_specs=[pl.BlockSpec(*blocks[name]) for name, _ in operands],
        out_specs=[pl.BlockSpec(*blocks[name]) for name, _ in results],
        out_shape=[jax.ShapeDtypeStruct(like.shape, like.dtype) for _, like in results],
        scratch_shapes=scratch,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"),
            vmem_limit_bytes=_VMEM_BYTES,
        ),
        interpret=settings.interpret,
        name=kernel.__name__,
    )
    return run(*(operand for _, operand in operands))


def _query_block(length: int) -> int:
    """The most queries, a multiple of 128 that divides the length, within `_TILE`."""
    most = max(_TILE // length, LANES)
    return max(size for size in range(LANES, most + 1, LANES) if length % size == 0)
