"""What one step of the attention kernel's grid computes, forward and backward.

Arrays are one group of heads, 128 lanes, of one row. Names that end in `_t` are transposed:
[128 or head_dim, positions]. Scores and all of their shape are [keys, queries] of one head.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from bertjax.model.dropout import drop, keep, mix_words
from bertjax.model.matmul import matmul_precision
from bertjax.model.positions import MASKED

LANES = 128  # of a TPU's vector registers: the width of a group of heads


@dataclasses.dataclass(frozen=True)
class KernelSettings:
    """What a kernel is compiled for."""

    head_dim: int
    rate: float
    interpret: bool

    @property
    def heads(self) -> int:
        """Heads of a group."""
        return LANES // self.head_dim


def attention_forward(settings: KernelSettings, *refs: Any) -> None:
    """One block of queries of one group of heads."""
    *words, key_positions, query_positions, query, key, value, attended, normaliser = refs
    columns = _columns(key_positions)
    visible = columns[:, :1] == query_positions[0, :1]
    query_t, value_t = query[0].T, value[0].T  # [128, queries], [128, length]
    outputs = []
    for head in range(settings.heads):
        mine = _lanes(settings, head)
        scores = _scores(settings, _only(mine, key[0]), query_t, visible)
        largest = jnp.max(scores, axis=0, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = jnp.sum(weights, axis=0, keepdims=True)
        weights = drop(weights, _kept(settings, words, columns, head)).astype(value_t.dtype)
        output = _product(value_t[mine], weights)  # [head_dim, queries]
        outputs.append(output * (1 / ((1 - settings.rate) * total)))
        normaliser[0, 0, head : head + 1] = largest + jnp.log(total)
    attended[0] = jnp.concatenate(outputs).T.astype(attended.dtype)


def attention_backward(settings: KernelSettings, *refs: Any) -> None:
    """Gradients by one block of queries; those by keys and values are summed over the blocks.

    With P the probabilities, D what dropout multiplies them by, O the output and dO its gradient:
    dV = (P D)^T dO, dS = P (D (dO V^T) - sum(dO O)), dQ = dS K, dK = dS^T Q (Dao et al. 2022,
    appendix B.4). D is 0 or 1 / (1 - rate); that factor comes last, and sum(dO O) without it.
    """
    *words, key_positions, query_positions, query, key, value = refs[:-8]
    attended, gradient, normaliser, by_query, by_key, by_value, key_sum, value_sum = refs[-8:]

    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        key_sum[...] = jnp.zeros_like(key_sum)
        value_sum[...] = jnp.zeros_like(value_sum)

    columns = _columns(key_positions)
    visible = columns[:, :1] == query_positions[0, :1]
    query_t, key_t, gradient_t = query[0].T, key[0].T, gradient[0].T
    along = (gradient[0].astype(jnp.float32) * attended[0].astype(jnp.float32)).T
    factor = 1 / (1 - settings.rate)
    by_queries = []
    for head in range(settings.heads):
        mine = _lanes(settings, head)
        scores = _scores(settings, _only(mine, key[0]), query_t, visible)
        weights = jnp.exp(scores - normaliser[0, 0, head : head + 1])
        by_weights = _product(_only(mine, value[0]), gradient_t)
        kept = _kept(settings, words, columns, head)
        inner = jnp.sum(along[mine], axis=0, keepdims=True) * (1 - settings.rate)
        by_scores = (weights * (drop(by_weights, kept) - inner)).astype(query_t.dtype)
        weights = drop(weights, kept).astype(query_t.dtype)
        value_sum[mine] += _product(gradient_t[mine], weights, axis=1)
        key_sum[mine] += _product(query_t[mine], by_scores, axis=1)
        by_queries.append(_product(key_t[mine], by_scores))
    factor_scores = factor * settings.head_dim**-0.5
    by_query[0] = (jnp.concatenate(by_queries) * factor_scores).T.astype(by_query.dtype)

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _() -> None:
        by_key[0] = (key_sum[...] * factor_scores).T.astype(by_key.dtype)
        by_value[0] = (value_sum[...] * factor).T.astype(by_value.dtype)


def _columns(positions: Any) -> jax.Array:
    """int32 [length, 8] of the positions' block [1, 1 or 2, length], filled up with zeros."""
    rows = positions[0]
    fill = jnp.zeros((8 - rows.shape[0], rows.shape[1]), rows.dtype)
    return jnp.concatenate([rows, fill]).T


def _lanes(settings: KernelSettings, head: int) -> slice:
    """Where a head of the group stands among the 128."""
    return slice(head * settings.head_dim, (head + 1) * settings.head_dim)


def _only(lanes: slice, array: jax.Array) -> jax.Array:
    """[..., 128] with 0 outside of `lanes`."""
    lane = lax.broadcasted_iota(jnp.int32, array.shape, 1)
    return jnp.where((lane >= lanes.start) & (lane < lanes.stop), array, 0)


def _scores(
    settings: KernelSettings, key: jax.Array, query_t: jax.Array, visible: jax.Array
) -> jax.Array:
    """float32 [length, queries] of one head."""
    return jnp.where(visible, _product(key, query_t) * settings.head_dim**-0.5, MASKED)


def _kept(
    settings: KernelSettings, words: Sequence[Any], columns: jax.Array, head: int
) -> jax.Array | None:
    """Bool [length, queries], False where dropout falls; None without dropout."""
    if not words:
        return None
    outer, inner = words[0][0, 0, head : head + 1], columns[:, 1:2]
    outer, inner = (lax.bitcast_convert_type(word, jnp.uint32) for word in (outer, inner))
    return keep(mix_words(outer, inner), settings.rate)


def _product(left: jax.Array, right: jax.Array, axis: int = 0) -> jax.Array:
    """float32 [m, k] by [k, n]; with `axis` 1, [m, k] by [n, k]."""
    return lax.dot_general(
        left,
        right,
        (((1,), (axis,)), ((), ())),
        precision=matmul_precision(left.dtype),
        preferred_element_type=jnp.float32,
    )
