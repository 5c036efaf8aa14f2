"""Bias, dropout, residual and layer norm as one kernel on a Hopper GPU, forward and backward.

XLA takes four kernels each way. A warp has a position's whole row, so that means and variances need
no memory, and nothing but the sum that is normalised is kept for the backward pass.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from bertjax.model.dropout import keep, mix_words
from bertjax.model.positions_gpu import WARPS, Columns, block_of, each_group, run_kernel, write

_SUMS = ("product_bias", "scale", "bias")  # whose gradients are sums over positions


class _Settings(NamedTuple):
    """What a kernel is compiled for; the rate is 0 where nothing is dropped."""

    columns: Columns
    rate: float
    epsilon: float


class _Words(NamedTuple):
    """Of `dropout.bit_words`: uint32 [batch, positions] and [batch, hidden]."""

    outer: Any
    inner: Any


def fused_residual_norm(
    residual: jax.Array,
    product: jax.Array,
    product_bias: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    outer: jax.Array | None = None,
    inner: jax.Array | None = None,
    *,
    rate: float,
    epsilon: float,
    interpret: bool = False,
) -> jax.Array:
    """The layer norm of `residual` and what dropout leaves of `product + product_bias`.

    Args:
        residual, product: bfloat16 [batch, positions, hidden]; positions a multiple of 4, hidden
            one of 128.
        product_bias: float32 [hidden].
        scale, bias: of the layer norm, float32 [hidden].
        outer, inner: of `dropout.bit_words` for (positions, hidden); None for no dropout.
        rate: the share that is dropped; not looked at without words.
        interpret: run it on a CPU, slowly.
    """
    assert residual.dtype == product.dtype == jnp.bfloat16, (residual.dtype, product.dtype)
    assert product_bias.dtype == scale.dtype == bias.dtype == jnp.float32
    columns = Columns(residual.shape[-1], interpret)
    settings = _Settings(columns, 0.0 if outer is None else rate, epsilon)
    words = None if outer is None else _Words(outer, inner)
    return _fused(settings, residual, product, product_bias, scale, bias, words)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(settings: _Settings, *inputs: Any) -> jax.Array:
    """Of residual, product, product_bias, scale, bias and words, as `fused_residual_norm`."""
    return _forward(settings, False, *inputs)[0]


def _fused_forward(settings: _Settings, *inputs: Any) -> tuple[jax.Array, Any]:
    *_, scale, _, words = inputs
    normalised, total = _forward(settings, True, *inputs)
    return normalised, (total, scale, words)


def _fused_backward(settings: _Settings, saved: Any, gradient: jax.Array) -> tuple[Any, ...]:
    *by_inputs, parts = _backward(settings, gradient, *saved)
    sums = jnp.sum(parts, axis=(0, 1, 3))  # [what, hidden]
    return by_inputs[0], by_inputs[-1], *sums, None


_fused.defvjp(_fused_forward, _fused_backward)


# Functions of their own in the program, so that a model's layers share what is made of them.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(settings: _Settings, keep_total: bool, *operands: Any) -> Any:
    results = [jax.ShapeDtypeStruct(operands[0].shape, jnp.bfloat16)] * (1 + keep_total)
    kernel = functools.partial(_forward_kernel, settings)
    return run_kernel("residual_norm_forward", kernel, settings.columns, operands, results)


@functools.partial(jax.jit, static_argnums=0)
def _backward(settings: _Settings, *operands: Any) -> Any:
    batch, positions, hidden = operands[0].shape
    parts = (batch, positions // block_of(positions), len(_SUMS), WARPS, hidden)
    by_input = jax.ShapeDtypeStruct(operands[0].shape, jnp.bfloat16)
    results = [by_input] * (2 if settings.rate else 1) + [jax.ShapeDtypeStruct(parts, jnp.float32)]
    kernel = functools.partial(_backward_kernel, settings)
    return run_kernel("residual_norm_backward", kernel, settings.columns, operands, results)


def _forward_kernel(
    settings: _Settings,
    residual: Any,
    product: Any,
    product_bias: Any,
    scale: Any,
    bias: Any,
    words: _Words | None,
    normalised: Any,
    total: Any = None,
) -> None:
    """The layer norm and, where a gradient will want it, the rounded sum, of the same shape."""
    columns = settings.columns

    def step(at: Any, _: Any) -> None:
        """One group of positions, float32 [warps, hidden]."""
        branch = columns.load(product.at[at]) + columns.load_line(product_bias)
        summed = columns.load(residual.at[at]) + _drop(settings, branch, words, at)
        rounded = summed.astype(jnp.bfloat16)
        if total is not None:
            write(total.at[at], rounded)
        normal, _ = _normal(settings, rounded.astype(jnp.float32))
        result = normal * columns.load_line(scale) + columns.load_line(bias)
        write(normalised.at[at], result.astype(jnp.bfloat16))

    each_group(normalised.shape[1], step, None)


def _backward_kernel(
    settings: _Settings,
    gradient: Any,
    total: Any,
    scale: Any,
    words: _Words | None,
    *results: Any,
) -> None:
    """The gradients by residual and, where that differs, product; `_SUMS` of each warp.

    These are float32 [batch, blocks, 3, warps, hidden].

    With n the normalised sum, r the inverse deviation and s = gradient * scale, the gradient by
    the sum is r (s - mean(s) - n mean(s n)) (Ba et al. 2016, differentiated).
    """
    columns, (*by_inputs, parts) = settings.columns, results

    def step(at: Any, sums: Any) -> Any:
        """One group of positions; `sums` so far, each float32 [warps, hidden]."""
        normal, inverse = _normal(settings, columns.load(total.at[at]))
        given = columns.load(gradient.at[at])
        scaled = given * columns.load_line(scale)
        along, middle = _mean(scaled * normal), _mean(scaled)
        by_total = (scaled - middle - normal * along) * inverse
        by_product = _drop(settings, by_total, words, at)
        for by_input, result in zip(by_inputs, (by_total, by_product), strict=False):
            write(by_input.at[at], result.astype(jnp.bfloat16))
        added = (by_product, given * normal, given)
        return tuple(sum_ + more for sum_, more in zip(sums, added, strict=True))

    sums = each_group(total.shape[1], step, (columns.zeros(),) * len(_SUMS))
    for number, part in enumerate(sums):
        write(parts.at[lax.axis_index("row"), lax.axis_index("block"), number], part)


def _mean(array: jax.Array) -> jax.Array:
    """Over hidden, for every element."""
    mean = array.sum(axis=1) * (1 / array.shape[1])
    return lax.broadcast_in_dim(mean, array.shape, (0,))


def _normal(settings: _Settings, array: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of mean 0 and variance 1 over hidden, and the inverse of the deviation that it had."""
    centred = array - _mean(array)
    inverse = lax.rsqrt(_mean(centred * centred) + settings.epsilon)
    return centred * inverse, inverse


def _drop(settings: _Settings, array: jax.Array, words: _Words | None, at: Any) -> jax.Array:
    """What dropout leaves of the positions at a place."""
    if words is None:
        return array
    columns, (row, _) = settings.columns, at
    lines, places = columns.load_column(words.outer.at[at]), columns.load_line(words.inner.at[row])
    kept = keep(mix_words(lines, places), settings.rate)
    return jnp.where(kept, array * (1 / (1 - settings.rate)), 0.0)
