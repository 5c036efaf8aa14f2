"""Self-attention as one kernel on a Hopper GPU, forward and backward, with pair ids and dropout.

XLA writes the [length, length] scores to memory several times and turns queries, keys and values
about before; here the scores never leave a block's registers. What is special:

- The three projections lie in one array, as one matrix product leaves them, and so do their
  gradients: nothing is put together or taken apart.
- Dropout's bits are those of model/dropout.py, so the plain path drops the same probabilities.
- Parts of a row without a pair in common are passed over; where all is one pair, none is compared.
- Every sum has one order: two runs give the same bits.
- Only the logarithm of the softmax's denominator is kept for the backward pass, [batch, heads,
  length]; the probabilities are computed again, once for queries and once for keys.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import mosaic_gpu as plgpu

from bertjax.model.attention_gpu_blocks import (
    OWN,
    Barriers,
    KernelSettings,
    Operands,
    Positions,
)
from bertjax.model.attention_gpu_bodies import attention_backward, attention_forward
from bertjax.model.positions import filled_up
from bertjax.settings import HOPPER_HEAD_DIMS

_FORWARD, _BACKWARD = 128, 64  # positions of the other side at a time
_NOT_A_PAIR = -1  # of the positions that fill a row up
_LAST = 2**30  # above every pair id


def fused_attention(
    projections: jax.Array,
    pair_ids: jax.Array,
    query_words: jax.Array | None = None,
    key_words: jax.Array | None = None,
    *,
    head_dim: int,
    rate: float,
) -> jax.Array:
    """Attention of each position to those with the same pair id, as `attention.attend`.

    Args:
        projections: bfloat16 [batch, length, 3 * hidden]: queries, keys and values.
        pair_ids: int32 [batch, length].
        query_words, key_words: of `dropout.bit_words` for (heads, length, length), uint32 [batch,
            heads, length] and [batch, length]; None for no dropout.
        head_dim: of the heads that lie side by side; one of `HOPPER_HEAD_DIMS`.
        rate: the share of the probabilities that is dropped; not looked at without words.

    Returns:
        the attended values [batch, length, hidden].
    """
    assert projections.dtype == jnp.bfloat16, projections.dtype
    assert head_dim in HOPPER_HEAD_DIMS, head_dim
    batch, length, lanes = projections.shape
    missing = -length % max(_FORWARD, _BACKWARD)
    heads = lanes // (3 * head_dim)
    pair_ids = filled_up(pair_ids, 1, missing, _NOT_A_PAIR)
    rate = 0.0 if query_words is None else rate
    settings = KernelSettings(heads, head_dim, length + missing, rate, _FORWARD)
    attended: Any = _fused(
        settings,
        filled_up(projections.reshape(batch, length, 3 * heads, head_dim), 1, missing),
        pair_ids,
        _pair_ranges(pair_ids),
        None if query_words is None else filled_up(query_words, 2, missing),
        None if key_words is None else filled_up(key_words, 1, missing),
    )
    return attended[:, :length].reshape(batch, length, heads * head_dim)


def _pair_ranges(pair_ids: jax.Array) -> jax.Array:
    """`Operands.pair_ranges` of int32 [batch, length], the length a multiple of `OWN`.

    Padding stands last in a row, so its ids, 0 and below, become the largest here. A row must have
    a multiple of 128 bytes to be copied.
    """
    pair_ids = jnp.where(pair_ids > 0, pair_ids, _LAST - pair_ids)
    blocks = pair_ids.reshape(pair_ids.shape[0], -1, OWN)
    pair_ranges = jnp.concatenate([blocks.min(axis=2), blocks.max(axis=2)], axis=1)
    return filled_up(pair_ranges, 1, -pair_ranges.shape[1] % 32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(settings: KernelSettings, *inputs: jax.Array | None) -> jax.Array:
    """The attended values [batch, length, heads, head_dim]; the inputs begin `Operands`."""
    return _fused_forward(settings, *inputs)[0]


def _fused_forward(settings: KernelSettings, *inputs: Any) -> tuple[jax.Array, Any]:
    attended, normaliser = _forward(settings, Operands(*inputs))
    return attended, (inputs, attended, normaliser)


def _fused_backward(settings: KernelSettings, saved: Any, gradient: jax.Array) -> tuple[Any, ...]:
    inputs, attended, normaliser = saved
    products = gradient.astype(jnp.float32) * attended.astype(jnp.float32)
    along = jnp.sum(products, axis=-1).swapaxes(1, 2)  # [batch, heads, length]
    operands = Operands(*inputs)._replace(gradient=gradient, normaliser=normaliser, along=along)
    settings = dataclasses.replace(settings, other=_BACKWARD)
    return _backward(settings, operands), *(None,) * (len(inputs) - 1)


_fused.defvjp(_fused_forward, _fused_backward)


# A function of its own in the program, so that a model's layers share what is made of it.
@functools.partial(jax.jit, static_argnums=0)
def _forward(settings: KernelSettings, operands: Operands) -> tuple[jax.Array, jax.Array]:
    batch, length, _, head_dim = operands.projections.shape
    results = [
        jax.ShapeDtypeStruct((batch, length, settings.heads, head_dim), jnp.bfloat16),
        jax.ShapeDtypeStruct((batch, settings.heads, length), jnp.float32),
    ]
    pair_ranges = plgpu.SMEM(operands.pair_ranges.shape[1:], jnp.int32)
    queries = _positions(settings, OWN)._replace(second=None, pair_ranges=pair_ranges)
    keys = _positions(settings, settings.stages, settings.other)
    scratch = (queries, keys, _barriers(settings, queries, keys), _vector(OWN))
    return _call(attention_forward, settings, operands, results, scratch)


@functools.partial(jax.jit, static_argnums=0)
def _backward(settings: KernelSettings, operands: Operands) -> jax.Array:
    results = [jax.ShapeDtypeStruct(operands.projections.shape, jnp.bfloat16)]
    one, several = (OWN,), (settings.stages, settings.other)
    pair_ranges = plgpu.SMEM(operands.pair_ranges.shape[1:], jnp.int32)
    keys, other_keys = _positions(settings, *one), _positions(settings, *several)
    queries = keys._replace(normaliser=_vector(*one), along=_vector(*one), pair_ranges=pair_ranges)
    other_queries = other_keys._replace(normaliser=_vector(*several), along=_vector(*several))
    barriers = (
        _barriers(settings, queries, other_keys),
        _barriers(settings, keys._replace(pair_ranges=pair_ranges), other_queries),
    )
    # Room for queries, which are the more; keys leave some of it empty.
    scratch = (queries, other_queries, *barriers)
    (gradients,) = _call(attention_backward, settings, operands, results, scratch)
    return gradients


def _call(
    kernel: Callable[..., None],
    settings: KernelSettings,
    operands: Operands,
    results: list[Any],
    scratch: tuple[Any, ...],
) -> Any:
    """Runs a kernel over the grid (row, head, block): a block per `OWN` positions and side."""
    given = {name: array for name, array in operands._asdict().items() if array is not None}

    def body(*refs: Any) -> None:
        inputs = Operands(**dict(zip(given, refs, strict=False)))  # results and scratch follow
        kernel(settings, inputs, *refs[len(given) :])

    sides = 1 if operands.gradient is None else 2
    run = plgpu.kernel(
        body,
        out_type=results,
        scratch_types=scratch,
        grid=(operands.projections.shape[0], settings.heads, sides * settings.length // OWN),
        grid_names=("row", "head", "block"),
        compiler_params=plgpu.CompilerParams(approx_math=True),
        kernel_name=kernel.__name__,
    )
    return run(*given.values())


def _positions(settings: KernelSettings, *shape: int) -> Positions:
    """On-chip memory of `shape`, [stages,] positions, for what both sides have."""
    lanes = 64  # of a line of on-chip memory that the matrix units read
    matrix = plgpu.SMEM(
        (*shape, settings.head_dim),
        jnp.bfloat16,
        transforms=(plgpu.TilingTransform((8, lanes)), plgpu.SwizzleTransform(2 * lanes)),
    )
    words = plgpu.SMEM(shape, jnp.uint32) if settings.rate else None
    return Positions(matrix, matrix, plgpu.SMEM(shape, jnp.int32), words)


def _vector(*shape: int) -> Any:
    return plgpu.SMEM(shape, jnp.float32)


def _barriers(settings: KernelSettings, own: Positions, other: Positions) -> Barriers:
    """For the copies of as many arrays as either side has."""
    mine, its = (sum(array is not None for array in side) for side in (own, other))
    return Barriers(
        plgpu.Barrier(num_arrivals=mine),
        plgpu.Barrier(num_arrivals=its, num_barriers=settings.stages),
    )
