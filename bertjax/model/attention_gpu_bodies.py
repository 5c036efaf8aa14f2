"""What one block of threads of the GPU attention kernel computes, forward and backward.

A block owns `OWN` positions of one head of one row, and goes through all of the row's positions
`other` at a time, while those that come next are being copied. In the forward pass it owns queries;
in the backward pass half of the blocks own queries, the other half keys. Scores and all of their
shape are [OWN, other].
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from bertjax.model.dropout import keep, mix_words
from bertjax.model.positions import MASKED

OWN = 64  # positions: the rows of one matrix instruction
_LOG2_E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class KernelSettings:
    """What a kernel is compiled for.

    Attributes:
        heads, head_dim, length: of the projections; `other` divides `length`.
        rate: of dropout; 0 where nothing is dropped.
        other: positions taken at a time of the side that a block does not own.
    """

    heads: int
    head_dim: int
    length: int
    rate: float
    other: int

    @property
    def steps(self) -> int:
        """How often a block takes other positions."""
        return self.length // self.other

    @property
    def stages(self) -> int:
        """For how many of these there is room at once."""
        return min(2, self.steps)


class Positions(NamedTuple):
    """What is known of some positions of one head, as queries or as keys; None where not needed.

    Attributes:
        first, second: [positions, head_dim]; of queries the query and, in the backward pass, the
            gradient of what it attended, of keys the key and the value.
        pair_ids: int32 [positions].
        words: uint32 [positions], of `dropout.bit_words`.
        normaliser: float32 [positions] of queries, the base-2 logarithm of the softmax's
            denominator.
        along: float32 [positions] of queries, the products of gradient and output, summed.
    """

    first: Any
    second: Any
    pair_ids: Any
    words: Any
    normaliser: Any = None
    along: Any = None


class Operands(NamedTuple):
    """All of the kernel's inputs; `words` and what is for the backward pass may be None.

    Attributes:
        projections: [batch, length, 3 * heads, head_dim]: queries, keys, values.
        pair_ids: int32 [batch, length].
        query_words: uint32 [batch, heads, length].
        key_words: uint32 [batch, length].
        gradient: [batch, length, heads, head_dim].
        normaliser, along: float32 [batch, heads, length].
    """

    projections: Any
    pair_ids: Any
    query_words: Any = None
    key_words: Any = None
    gradient: Any = None
    normaliser: Any = None
    along: Any = None

    def queries(self, positions: Any) -> Positions:
        """References to those of this block's row and head."""
        row, head = lax.axis_index("row"), lax.axis_index("head")
        of_head = lambda array: None if array is None else array.at[row, head, positions]  # noqa: E731
        return Positions(
            self.projections.at[row, positions, head],
            None if self.gradient is None else self.gradient.at[row, positions, head],
            self.pair_ids.at[row, positions],
            of_head(self.query_words),
            of_head(self.normaliser),
            of_head(self.along),
        )

    def keys(self, positions: Any) -> Positions:
        """References to those of this block's row and head."""
        row, head = lax.axis_index("row"), lax.axis_index("head")
        heads = self.projections.shape[2] // 3
        return Positions(
            self.projections.at[row, positions, heads + head],
            self.projections.at[row, positions, 2 * heads + head],
            self.pair_ids.at[row, positions],
            None if self.key_words is None else self.key_words.at[row, positions],
        )


class Barriers(NamedTuple):
    """Passed once the copies are there: of a block's own positions; of the others, by stage."""

    own: Any
    others: Any


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
        output, total, previous = carry
        scores = _scores(settings, own, other)
        largest = jnp.maximum(previous, scores.max(axis=1))
        weights = jnp.exp2(scores - _spread(largest, scores.shape, 0))
        shrunk = jnp.exp2(previous - largest)
        total = total * shrunk + weights.sum(axis=1)
        weights = _drop(weights, _kept(settings, own, other))
        output = _add_product(output * _spread(shrunk, shape, 0), weights, other.second)
        return output, total, largest

    nothing = jnp.zeros(shape, jnp.float32), jnp.zeros((OWN,), jnp.float32)
    start = *nothing, jnp.full((OWN,), -jnp.inf, jnp.float32)
    sides = operands.queries, operands.keys
    output, total, largest = _loop(settings, sides, block, own, others, barriers, step, start)
    own.first[...] = (output / _spread(total * (1 - settings.rate), shape, 0)).astype(jnp.bfloat16)
    sums[...] = largest + jnp.log2(total)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(own.first, attended.at[row, _mine(block), head])
    plgpu.copy_smem_to_gmem(sums, normaliser.at[row, head, _mine(block)])
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
            place = gradients.at[row, _mine(part), index * settings.heads + head]
            plgpu.copy_smem_to_gmem(matrix, place)
        plgpu.wait_smem_to_gmem(0)

    @pl.when(block < blocks)
    def _() -> None:
        def step(other: Positions, by_query: Any) -> Any:
            _, by_scores = _score_gradients(settings, own, other, 0)
            return _add_product(by_query, by_scores, other.first)

        sides = operands.queries, operands.keys
        by_query = _loop(settings, sides, block, own, others, for_queries, step, nothing)
        write([own.first], [by_query * score_factor], 0, block)

    @pl.when(block >= blocks)
    def _() -> None:
        def step(other: Positions, carry: Any) -> Any:
            by_key, by_value = carry
            weights, by_scores = _score_gradients(settings, own, other, 1)
            by_value = _add_product(by_value, weights, other.second)
            return _add_product(by_key, by_scores, other.first), by_value

        sides, part, start = (operands.keys, operands.queries), block - blocks, (nothing, nothing)
        by_key, by_value = _loop(settings, sides, part, own, others, for_keys, step, start)
        write([own.first, own.second], [by_key * score_factor, by_value * factor], 1, part)


def _score_gradients(
    settings: KernelSettings, own: Positions, other: Positions, query_axis: int
) -> tuple[jax.Array, jax.Array]:
    """The kept probabilities, and the gradient by the scores, without their factors."""
    scores, queries = _scores(settings, own, other), (own, other)[query_axis]
    shape = scores.shape
    weights = jnp.exp2(scores - _spread(queries.normaliser[...], shape, query_axis))
    kept = _kept(settings, own, other)
    by_weights = _drop(_product(own.second, other.second, shape), kept)
    inner = queries.along[...] * (1 - settings.rate)
    by_scores = weights * (by_weights - _spread(inner, shape, query_axis))
    return _drop(weights, kept), by_scores


def _loop(
    settings: KernelSettings,
    sides: tuple[Any, Any],
    block: Any,
    own: Positions,
    others: Positions,
    barriers: Barriers,
    step: Callable[[Positions, Any], Any],
    carry: Any,
) -> Any:
    """Fills `own`, then runs `step` on part after part of the other side; returns the last carry.

    Args:
        sides: `Operands.queries` and `Operands.keys`, that of the block's own positions first.
        block: the number of the block among those of its side.
        others: as `own`, but each array [stages, positions, ...].
    """

    def fetch(number: Any) -> None:
        stage = lax.rem(number, jnp.int32(settings.stages))
        part = pl.ds(number * settings.other, settings.other)
        _copy(sides[1](part), _stage(others, stage), barriers.others.at[stage])

    def body(number: Any, carry: Any) -> Any:
        stage = lax.rem(number, jnp.int32(settings.stages))
        plgpu.barrier_wait(barriers.others.at[stage])
        carry = step(_stage(others, stage), carry)
        following = number + settings.stages
        pl.when(following < settings.steps)(lambda: fetch(following))
        return carry

    _copy(sides[0](_mine(block)), own, barriers.own)
    for number in range(settings.stages):
        fetch(jnp.int32(number))
    plgpu.barrier_wait(barriers.own)
    return lax.fori_loop(0, settings.steps, body, carry)


def _stage(others: Positions, stage: Any) -> Positions:
    return Positions(*(None if array is None else array.at[stage] for array in others))


def _copy(source: Positions, target: Positions, ready: Any) -> None:
    """Starts copying; `ready` counts each array."""
    for one, other in zip(source, target, strict=True):
        if one is not None and other is not None:
            plgpu.copy_gmem_to_smem(one, other, ready)


def _mine(block: Any) -> Any:
    """The positions that a block owns."""
    return pl.ds(block * OWN, OWN)


def _spread(vector: Any, shape: tuple[int, ...], axis: int) -> jax.Array:
    """`vector` along `axis`, the same along the other."""
    return lax.broadcast_in_dim(vector, shape, (axis,))


def _scores(settings: KernelSettings, own: Positions, other: Positions) -> jax.Array:
    """In units of the base-2 logarithm; `MASKED` between different pairs."""
    shape = (OWN, settings.other)
    scores = _product(own.first, other.first, shape) * (_LOG2_E * settings.head_dim**-0.5)
    visible = _spread(own.pair_ids[...], shape, 0) == _spread(other.pair_ids[...], shape, 1)
    return jnp.where(visible, scores, MASKED)


def _kept(settings: KernelSettings, own: Positions, other: Positions) -> jax.Array | None:
    """False where dropout falls; None without dropout."""
    if not settings.rate:
        return None
    shape = (OWN, settings.other)
    bits = mix_words(_spread(own.words[...], shape, 0), _spread(other.words[...], shape, 1))
    return keep(bits, settings.rate)


def _drop(weights: jax.Array, kept: jax.Array | None) -> jax.Array:
    return weights if kept is None else jnp.where(kept, weights, 0.0)


def _score_factor(settings: KernelSettings) -> float:
    return settings.head_dim**-0.5 / (1 - settings.rate)


def _product(left: Any, right: Any, shape: tuple[int, ...]) -> jax.Array:
    """float32 [m, n] of references to [m, k] and [n, k]."""

    def multiply(total: Any) -> jax.Array:
        plgpu.wgmma(total, left, right.transpose((1, 0)))
        return total[...]

    return pl.run_scoped(multiply, plgpu.ACC(shape, jnp.float32))


def _add_product(total: jax.Array, left: jax.Array, right: Any) -> jax.Array:
    """`total` [m, n] and the product of `left` [m, k] with a reference to [k, n]."""

    def multiply(total: Any) -> None:
        plgpu.wgmma(total, left.astype(right.dtype), right)

    return pl.run_state(multiply)(plgpu.ACC.init(total))
