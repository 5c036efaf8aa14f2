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
from bertjax.model.positions import MASKED

_LOG2_E = math.log2(math.e)


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
    shape = (OWN, settings.head_dim)

    def step(other: Positions, carry: Any) -> Any:
        """One block of keys and values more, in the softmax that is kept up (Dao et al. 2022).

        `carry`, all float32: the output so far [own, head_dim], not yet divided; the sum of its
        weights [own]; the largest score [own], in powers of 2.
        """
        output, total, previous = carry
        scores = _scores(settings, own, other)
        largest = jnp.maximum(previous, scores.max(axis=1))
        weights = jnp.exp2(scores - _spread(largest, scores.shape, 0))
        shrunk = jnp.exp2(previous - largest)
        total = total * shrunk + weights.sum(axis=1)
        weights = drop(weights, _kept(settings, own, other))
        output = add_product(output * _spread(shrunk, shape, 0), weights, other.second)
        return output, total, largest

    nothing = jnp.zeros(shape, jnp.float32), jnp.zeros((OWN,), jnp.float32)
    start = *nothing, jnp.full((OWN,), -jnp.inf, jnp.float32)
    sides = operands.queries, operands.keys
    output, total, largest = loop(settings, sides, block, own, others, barriers, step, start)
    own.first[...] = (output / _spread(total * (1 - settings.rate), shape, 0)).astype(jnp.bfloat16)
    sums[...] = largest + jnp.log2(total)
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
        def step(other: Positions, by_query: Any) -> Any:
            _, by_scores = _score_gradients(settings, own, other, 0)
            return add_product(by_query, by_scores, other.first)

        sides = operands.queries, operands.keys
        by_query = loop(settings, sides, block, own, others, for_queries, step, nothing)
        write([own.first], [by_query * score_factor], 0, block)

    @pl.when(block >= blocks)
    def _() -> None:
        def step(other: Positions, carry: Any) -> Any:
            by_key, by_value = carry
            weights, by_scores = _score_gradients(settings, own, other, 1)
            by_value = add_product(by_value, weights, other.second)
            return add_product(by_key, by_scores, other.first), by_value

        sides, part, start = (operands.keys, operands.queries), block - blocks, (nothing, nothing)
        by_key, by_value = loop(settings, sides, part, own, others, for_keys, step, start)
        write([own.first, own.second], [by_key * score_factor, by_value * factor], 1, part)


def _score_gradients(
    settings: KernelSettings, own: Positions, other: Positions, query_axis: int
) -> tuple[jax.Array, jax.Array]:
    """The kept probabilities, and the gradient by the scores, without their factors."""
    scores, queries = _scores(settings, own, other), (own, other)[query_axis]
    shape = (OWN, settings.other)
    weights = jnp.exp2(scores - _spread(queries.normaliser[...], shape, query_axis))
    kept = _kept(settings, own, other)
    by_weights = drop(product(own.second, other.second, shape), kept)
    inner = queries.along[...] * (1 - settings.rate)
    by_scores = weights * (by_weights - _spread(inner, shape, query_axis))
    return drop(weights, kept), by_scores


def _scores(settings: KernelSettings, own: Positions, other: Positions) -> jax.Array:
    """In units of the base-2 logarithm; `MASKED` between different pairs."""
    shape = (OWN, settings.other)
    scores = product(own.first, other.first, shape) * (_LOG2_E * settings.head_dim**-0.5)
    visible = _spread(own.pair_ids[...], shape, 0) == _spread(other.pair_ids[...], shape, 1)
    return jnp.where(visible, scores, MASKED)


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
