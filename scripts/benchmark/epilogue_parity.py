"""How far the GPU's kernels for what follows a product are from the plain implementation.

    python -m scripts.benchmark.epilogue_parity            interpreted on a CPU (jax 0.11 or newer)
    python -m scripts.benchmark.epilogue_parity --device gpu           on a Hopper GPU

Bias and GELU; bias, dropout, residual and layer norm. All arrays are standard normal. Every figure
is the largest error of any element over the largest element, against the plain path in float32 with
the same dropout bits: of the values, and of the worst of the gradients. Beside it the same for the
plain path in bfloat16: what rounding alone does.
"""

import argparse
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.model.biased_gelu_gpu import fused_biased_gelu
from bertjax.model.dropout import Dropout
from bertjax.model.layers import add_bias, gelu, normalise
from bertjax.model.residual_norm_gpu import fused_residual_norm
from scripts.benchmark.attention_parity import largest_errors
from scripts.benchmark.gpu import need_gpu

BATCH, SITE, EPSILON = 2, 3, 1e-12
SHAPES = ((64, 256), (12, 640))  # positions and columns
GPU_SHAPES = ((128, 768), (512, 1024), (20, 384))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    gpu = parser.parse_args().device == "gpu"
    if jax.__version_info__ < (0, 11):
        print(
            f"the kernels need jax 0.11, so Python 3.12: this is {jax.__version__}", file=sys.stderr
        )
        sys.exit(2)
    if gpu:
        need_gpu()
    else:
        jax.config.update("jax_platforms", "cpu")
    print("| kernel | positions | columns | values | gradients | plain values | plain gradients |")
    print("|---|---|---|---|---|---|---|")
    for positions, columns in GPU_SHAPES if gpu else SHAPES:
        for name, found in errors(positions, columns, interpret=not gpu):
            figures = " | ".join(f"{figure:.1e}" for figure in found)
            print(f"| {name} | {positions} | {columns} | {figures} |", flush=True)


def errors(positions: int, columns: int, interpret: bool) -> Iterator[tuple[str, list[float]]]:
    """Each kernel's errors of values and gradients, then the plain path's."""
    random = np.random.default_rng(0)
    whole = jnp.asarray(random.standard_normal((3, BATCH, positions, columns)), jnp.bfloat16)
    lines = [jnp.asarray(line, jnp.float32) for line in random.standard_normal((3, columns))]
    gradient, product, residual = whole
    cases: list[tuple[str, Any, Any, Any]] = [
        (
            "bias, GELU",
            functools.partial(fused_biased_gelu, interpret=interpret),
            lambda product, bias: gelu(add_bias(product, bias)),
            (product, lines[0]),
        )
    ]
    for rate in (0.0, 0.1):
        dropout = Dropout(rate, jax.random.key(1), jnp.arange(BATCH))
        fused = functools.partial(_fused_norm, dropout, interpret)
        plain = functools.partial(_plain_norm, dropout)
        operands = (residual, product, *lines)
        cases.append((f"bias, dropout {rate}, residual, norm", fused, plain, operands))
    for name, fused, plain, operands in cases:
        wide = [operand.astype(jnp.float32) for operand in operands]
        expected = results(plain, gradient.astype(jnp.float32), *wide)
        found = [results(run, gradient, *operands) for run in (fused, plain)]
        yield name, list(itertools.chain(*(largest_errors(one, expected) for one in found)))


@functools.partial(jax.jit, static_argnums=0)
def results(run: Callable[..., jax.Array], gradient: jax.Array, *operands: Any) -> list[jax.Array]:
    """The values, and the gradients of all operands."""
    values, back = jax.vjp(run, *operands)
    return [values, *back(gradient)]


def _plain_norm(
    dropout: Dropout, residual: jax.Array, product: Any, product_bias: Any, scale: Any, bias: Any
) -> jax.Array:
    total = residual + dropout(add_bias(product, product_bias), SITE)
    return normalise(total, scale, bias, EPSILON)


def _fused_norm(dropout: Dropout, interpret: bool, residual: jax.Array, *others: Any) -> jax.Array:
    words = dropout.words(SITE, residual.shape[1:])
    return fused_residual_norm(
        residual, *others, *words, rate=dropout.rate, epsilon=EPSILON, interpret=interpret
    )


if __name__ == "__main__":
    main()
