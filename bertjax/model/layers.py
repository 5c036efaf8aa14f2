"""The three building blocks that every part of the model shares, with BERT's initialisation."""

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig

VOCAB_MULTIPLE = 128  # so that the vocabulary can be cut over any usual number of devices


def vocab_rows(config: ModelConfig) -> int:
    """The vocabulary size rounded up to a multiple of 128: the rows of the token table."""
    assert config.vocab_size is not None, "model.vocab_size is taken from the data first"
    return -(-config.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def truncated_normal(config: ModelConfig) -> nnx.Initializer:
    """Normal of standard deviation `initializer_range`, redrawn beyond two of them (BERT's)."""
    return nnx.initializers.truncated_normal(config.initializer_range, lower=-2.0, upper=2.0)


def table(rows: int, axis: str | None, config: ModelConfig, rngs: nnx.Rngs) -> nnx.Param[jax.Array]:
    """An embedding table float32 [rows, hidden]; `axis` is the logical name of its rows."""
    init = nnx.with_partitioning(truncated_normal(config), (axis, "embed"))
    return nnx.Param(init(rngs.params(), (rows, config.hidden_size), jnp.float32))


def dense(
    inputs: int,
    outputs: int,
    axes: tuple[str | None, str | None],
    config: ModelConfig,
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """A matrix product with bias in `dtype`; `axes` are the logical names of the kernel's axes."""
    bias_axis = None if axes[1] == "embed" else axes[1]
    return nnx.Linear(
        inputs,
        outputs,
        dtype=dtype,
        precision=matmul_precision(dtype),
        kernel_init=nnx.with_partitioning(truncated_normal(config), axes),
        bias_init=nnx.with_partitioning(nnx.initializers.zeros, (bias_axis,)),
        rngs=rngs,
    )


def layer_norm(config: ModelConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer normalisation over the hidden axis; statistics in float32 whatever `dtype`."""
    return nnx.LayerNorm(
        config.hidden_size,
        epsilon=config.layer_norm_epsilon,
        dtype=dtype,
        use_fast_variance=False,
        scale_init=nnx.with_partitioning(nnx.initializers.ones, (None,)),
        bias_init=nnx.with_partitioning(nnx.initializers.zeros, (None,)),
        rngs=rngs,
    )


def gelu(inputs: jax.Array) -> jax.Array:
    """The exact GELU, x * Phi(x) (Hendrycks and Gimpel 2016), computed in float32.

    `jax.nn.gelu` goes through erfc, which takes two to three times as long on a CPU.
    """
    wide = inputs.astype(jnp.float32)
    return (0.5 * wide * (1.0 + jax.lax.erf(wide * 2**-0.5))).astype(inputs.dtype)


def matmul_precision(dtype: jnp.dtype) -> jax.lax.Precision:
    """Full precision for float32: the default on TPU and GPU rounds its operands."""
    full = dtype == jnp.float32
    return jax.lax.Precision.HIGHEST if full else jax.lax.Precision.DEFAULT
