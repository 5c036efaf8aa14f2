"""What one block of threads of the GPU attention kernel computes, forward and backward.

In the forward pass it owns queries; in the backward pass half of the blocks own queries, the other
half keys. Scores and all of their shape are [OWN, other].
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from bertjax.model.attention_gpu_blocks import (
    OWN,
    Barriers,
    KernelSettings,
    Operands,
    Positions,
    add_product,
    loop,
    mine,
    product,
)
from bertjax.model.dropout import drop, keep, mix_words

# A power of 2, so that its product with a factor is exact: where nothing of a block is visible yet,
# a product and its own rounded value, subtracted in one instruction, must leave 0.
_MASKED = -(2.0**100)


def attention_forward(
    settings: KernelSettings,
    operands: Operands,
    attended: Any,
    normaliser: Any,
    own: Positions,
    others: Positions,
    barriers: Barriers,
    sums: Any,
) -> None:
    """The attended values [batch, length, heads, head_dim] and the normaliser of `Operands`."""
    row, head, block = (lax.axis_index(name) for name in ("row", "head", "block"))
    shape, unit = (OWN, settings.head_dim), _unit(settings)

    def step(other: Positions, mixed: bool, carry: Any) -> Any:
        """One block of keys and values more, in the softmax that is kept up (Dao et al. 2022).

        `carry`, all float32: the output so far [own, head_dim], not yet divided; the sum of its
        weights [own]; the largest score [own].
        """
        output, total, previous = carry
        scores = product(own.first, other.first, (OWN, settings.other))
        if mixed:
            scores = jnp.where(_visible(settings, own, other), scores, _MASKED)
        largest = jnp.maximum(previous, scores.max(axis=1))
        weights = jnp.exp2(scores * unit - _spread(largest * unit, scores.shape, 0))
        shrunk = jnp.exp2((previous - largest) * unit)
        total = total * shrunk + weights.sum(axis=1)
        kept = _kept(settings, own, other)
        if kept is not None:  # `drop` would be moved behind the rounding, and that taken apart
            weights *= jnp.where(kept, 1.0, 0.0)
        output = add_product(output * _spread(shrunk, shape, 0), weights, other.second)
        return output, total, largest

    nothing = jnp.zeros(shape, jnp.float32), jnp.zeros((OWN,), jnp.float32)
    start = *nothing, jnp.full((OWN,), -jnp.inf, jnp.float32)
    sides = operands.queries, operands.keys
    output, total, largest = loop(settings, sides, block, own, others, barriers, step, start)
    own.first[...] = (output / _spread(total * (1 - settings.rate), shape, 0)).astype(jnp.bfloat16)
    sums[...] = largest * unit + jnp.log2(total)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(own.first, attended.at[row, mine(block), head])
    plgpu.copy_smem_to_gmem(sums, normaliser.at[row, head, mine(block)])
    plgpu.wait_smem_to_gmem(0)


def attention_backward(
    settings: KernelSettings,
    operands: Operands,
    gradients: Any,
    own: Positions,
    others: Positions,
    for_queries: Barriers,
    for_keys: Barriers,
) -> None:
    """The gradients by queries, keys and values, laid out as the projections.

    With P the probabilities, D what dropout multiplies them by, O the output and dO its gradient:
    dV = (P D)^T dO, dS = P (D (dO V^T) - sum(dO O)), dQ = dS K, dK = dS^T Q (Dao et al. 2022,
    appendix B.4). D is 0 or 1 / (1 - rate); that factor comes last, and sum(dO O) without it.
    """
    row, head, block = (lax.axis_index(name) for name in ("row", "head", "block"))
    blocks = settings.length // OWN
    nothing = jnp.zeros((OWN, settings.head_dim), jnp.float32)
    factor = 1 / (1 - settings.rate)
    score_factor = factor * settings.head_dim**-0.5

    def write(matrices: Sequence[Any], results: Sequence[jax.Array], first: int, part: Any) -> None:
        for matrix, result in zip(matrices, results, strict=True):
            matrix[...] = result.astype(jnp.bfloat16)
        plgpu.commit_smem()
        for index, matrix in enumerate(matrices, first):
            place = gradients.at[row, mine(part), index * settings.heads + head]
            plgpu.copy_smem_to_gmem(matrix, place)
        plgpu.wait_smem_to_gmem(0)

    @pl.when(block < blocks)
    def _() -> None:
        def step(other: Positions, mixed: bool, by_query: Any) -> Any:
            _, by_scores = _score_gradients(settings, own, other, mixed, 0)
            return add_product(by_query, by_scores, other.first)

        sides = operands.queries, operands.keys
        by_query = loop(settings, sides, block, own, others, for_queries, step, nothing)
        write([own.first], [by_query * score_factor], 0, block)

    @pl.when(block >= blocks)
    def _() -> None:
        def step(other: Positions, mixed: bool, carry: Any) -> Any:
            by_key, by_value = carry
            weights, by_scores = _score_gradients(settings, own, other, mixed, 1)
            by_value = add_product(by_value, weights, other.second)
            return add_product(by_key, by_scores, other.first), by_value

        sides, part, start = (operands.keys, operands.queries), block - blocks, (nothing, nothing)
        by_key, by_value = loop(settings, sides, part, own, others, for_keys, step, start)
        write([own.first, own.second], [by_key * score_factor, by_value * factor], 1, part)


def _score_gradients(
    settings: KernelSettings, own: Positions, other: Positions, mixed: bool, query_axis: int
) -> tuple[jax.Array, jax.Array]:
    """The kept probabilities, and the gradient by the scores, without their factors."""
    shape, queries = (OWN, settings.other), (own, other)[query_axis]
    scores = product(own.first, other.first, shape)
    normaliser = _spread(queries.normaliser[...], shape, query_axis)
    exponents = scores * _unit(settings) - normaliser
    if mixed:
        exponents = jnp.where(_visible(settings, own, other), exponents, _MASKED)
    weights = jnp.exp2(exponents)
    kept_weights = drop(weights, _kept(settings, own, other))
    by_weights = product(own.second, other.second, shape)
    inner = _spread(queries.along[...] * (1 - settings.rate), shape, query_axis)
    return kept_weights, kept_weights * by_weights - weights * inner


def _unit(settings: KernelSettings) -> float:
    """What a product of query and key is multiplied by to be an exponent of 2."""
    return math.log2(math.e) * settings.head_dim**-0.5


def _visible(settings: KernelSettings, own: Positions, other: Positions) -> jax.Array:
    """Which are of the same pair."""
    shape = (OWN, settings.other)
    return _spread(own.pair_ids[...], shape, 0) == _spread(other.pair_ids[...], shape, 1)


def _kept(settings: KernelSettings, own: Positions, other: Positions) -> jax.Array | None:
    """False where dropout falls; None without dropout."""
    if not settings.rate:
        return None
    shape = (OWN, settings.other)
    bits = mix_words(_spread(own.words[...], shape, 0), _spread(other.words[...], shape, 1))
    return keep(bits, settings.rate)


def _spread(vector: Any, shape: tuple[int, ...], axis: int) -> jax.Array:
    """`vector` along `axis`, the same along the other."""
    return lax.broadcast_in_dim(vector, shape, (axis,))
