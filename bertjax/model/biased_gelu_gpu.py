"""A product's bias and the exact GELU as one kernel on a Hopper GPU, forward and backward.

XLA does as much in one kernel each way, but computes for longer than it reads and writes, by the
price of erf. Here one exponential gives both the normal distribution and its density.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from bertjax.model.positions_gpu import WARPS, Columns, block_of, each_group, run_kernel, write

_WIDTHS = (512, 384, 256, 128)  # of the columns that a block of threads takes


def fused_biased_gelu(product: jax.Array, bias: jax.Array, *, interpret: bool = False) -> jax.Array:
    """GELU of `product + bias`.

    Args:
        product: bfloat16 [batch, positions, inner]; positions a multiple of 4, inner one of 128.
        bias: float32 [inner].
        interpret: run it on a CPU, slowly.
    """
    assert product.dtype == jnp.bfloat16, product.dtype
    assert bias.dtype == jnp.float32, bias.dtype
    width = next(width for width in _WIDTHS if product.shape[-1] % width == 0)
    return _fused(Columns(width, interpret), product, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(columns: Columns, product: jax.Array, bias: jax.Array) -> jax.Array:
    return _forward(columns, product, bias)


def _fused_forward(columns: Columns, *inputs: jax.Array) -> tuple[jax.Array, Any]:
    return _fused(columns, *inputs), inputs


def _fused_backward(columns: Columns, saved: Any, gradient: jax.Array) -> tuple[Any, Any]:
    by_product, parts = _backward(columns, gradient, *saved)
    return by_product, jnp.sum(parts, axis=(0, 1, 2))


_fused.defvjp(_fused_forward, _fused_backward)


# Functions of their own in the program, so that a model's layers share what is made of them.
@functools.partial(jax.jit, static_argnums=0)
def _forward(columns: Columns, *operands: jax.Array) -> Any:
    results = [jax.ShapeDtypeStruct(operands[0].shape, jnp.bfloat16)]
    kernel = functools.partial(_forward_kernel, columns)
    return run_kernel("biased_gelu_forward", kernel, columns, operands, results)[0]


@functools.partial(jax.jit, static_argnums=0)
def _backward(columns: Columns, *operands: jax.Array) -> Any:
    batch, positions, inner = operands[0].shape
    parts = (batch, positions // block_of(positions), WARPS, inner)
    results = [
        jax.ShapeDtypeStruct(operands[0].shape, jnp.bfloat16),
        jax.ShapeDtypeStruct(parts, jnp.float32),
    ]
    kernel = functools.partial(_backward_kernel, columns)
    return run_kernel("biased_gelu_backward", kernel, columns, operands, results)


def _forward_kernel(columns: Columns, product: Any, bias: Any, activated: Any) -> None:
    part = _part(columns)

    def step(at: Any, _: Any) -> None:
        inputs = columns.load(product.at[*at, part]) + columns.load_line(bias.at[part])
        distribution, _ = _normal_distribution(inputs)
        write(activated.at[*at, part], (inputs * distribution).astype(jnp.bfloat16))

    each_group(product.shape[1], step, None)


def _backward_kernel(
    columns: Columns, gradient: Any, product: Any, bias: Any, by_product: Any, parts: Any
) -> None:
    """The gradient by the product; each warp's sums, float32 [batch, blocks, warps, inner]."""
    part = _part(columns)

    def step(at: Any, total: Any) -> Any:
        """One group of positions; `total` so far, float32 [warps, width]."""
        inputs = columns.load(product.at[*at, part]) + columns.load_line(bias.at[part])
        distribution, exponential = _normal_distribution(inputs)
        slope = distribution + inputs * exponential * (2 * math.pi) ** -0.5
        result = columns.load(gradient.at[*at, part]) * slope
        write(by_product.at[*at, part], result.astype(jnp.bfloat16))
        return total + result

    total = each_group(product.shape[1], step, columns.zeros())
    write(parts.at[lax.axis_index("row"), lax.axis_index("block"), :, part], total)


def _part(columns: Columns) -> Any:
    """The columns of this block of threads."""
    return pl.ds(lax.axis_index("part") * columns.width, columns.width)


def _normal_distribution(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Phi(x), within 7.5e-8 before rounding, and exp(-x**2 / 2).

    Abramowitz and Stegun 1964, formula 7.1.26.
    """
    exponential = jnp.exp(-0.5 * inputs * inputs)
    root = lax.rsqrt(1.0 + 0.3275911 * 2**-0.5 * jnp.abs(inputs))
    part = root * root  # a division would take several times as long
    series = 1.061405429
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * part + factor
    tail = 0.5 * series * part * exponential
    return jnp.where(inputs > 0, 1.0 - tail, tail), exponential
