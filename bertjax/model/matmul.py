"""Matrix products in the precision that the dtype promises, with gradients that suit a CPU too."""

from typing import Any

import jax
import jax.numpy as jnp


def matmul_precision(dtype: jnp.dtype) -> jax.lax.Precision:
    """Full precision for float32: the default on TPU and GPU rounds its operands."""
    full = dtype == jnp.float32
    return jax.lax.Precision.HIGHEST if full else jax.lax.Precision.DEFAULT


@jax.custom_vjp
def matmul(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """[..., inputs] times the kernel [inputs, outputs]: [..., outputs] of the inputs' dtype.

    The operands are rounded to the inputs' dtype and the sums kept in float32. The gradient of the
    kernel has the kernel's own dtype, so that of a float32 parameter is never rounded.
    """
    return product(inputs, kernel.astype(inputs.dtype))


def _matmul_forward(inputs: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    return matmul(inputs, kernel), (inputs, kernel)


def _matmul_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    inputs, kernel = saved
    return matmul(gradient, kernel.T), outer_sum(inputs, gradient).astype(kernel.dtype)


matmul.defvjp(_matmul_forward, _matmul_backward)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The matrix product of two arrays of one dtype, in that dtype.

    A GPU would write a float32 result to memory before it is rounded; a CPU with matrix units for
    bfloat16 uses them only where the result is float32.
    """
    return jax.lax.platform_dependent(
        left, right, cuda=_rounded_product, rocm=_rounded_product, default=_wide_product
    )


def _rounded_product(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, precision=matmul_precision(left.dtype))


def _wide_product(left: jax.Array, right: jax.Array) -> jax.Array:
    precision = matmul_precision(left.dtype)
    wide = jnp.matmul(left, right, precision=precision, preferred_element_type=jnp.float32)
    return wide.astype(left.dtype)


def outer_sum(left: jax.Array, right: jax.Array) -> jax.Array:
    """The sum over rows of outer products: [..., m] and [..., n] of one dtype to float32 [m, n].

    On a CPU the narrower operand is the one that the product takes transposed, and the result is
    turned by an operation of its own, unless it is larger than what went in: left to itself, XLA
    reads the wider operand transposed, which takes up to twice as long.
    """
    left, right = (array.reshape(-1, array.shape[-1]) for array in (left, right))
    return jax.lax.platform_dependent(left, right, cpu=_outer_sum_cpu, default=_outer_sum)


def _outer_sum(left: jax.Array, right: jax.Array) -> jax.Array:
    return jax.lax.dot_general(
        left,
        right,
        (((0,), (0,)), ((), ())),
        precision=matmul_precision(left.dtype),
        preferred_element_type=jnp.float32,
    )


def _outer_sum_cpu(left: jax.Array, right: jax.Array) -> jax.Array:
    rows, width = left.shape
    if width <= right.shape[1]:
        return _outer_sum(left, right)
    turned = _outer_sum(right, left)
    return (jax.lax.optimization_barrier(turned) if rows >= width else turned).T
