"""The building blocks that every part of the model shares, with BERT's initialisation."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.matmul import matmul

VOCAB_MULTIPLE = 128  # so that the vocabulary can be cut over any usual number of devices


class Keys:
    """Fresh keys out of one: `params()` gives the keys that `nnx.Rngs(params=key).params()` does.

    That one counts in an array, and while a model is traced JAX words an error message at each
    count, which took a fifth of the processor time of a start.
    """

    def __init__(self, key: jax.Array) -> None:
        self._key, self._count = key, 0

    def params(self) -> jax.Array:
        """The next key."""
        self._count += 1
        return jax.random.fold_in(self._key, self._count - 1)


def vocab_rows(config: ModelConfig) -> int:
    """The vocabulary size rounded up to a multiple of 128: the rows of the token table."""
    assert config.vocab_size is not None, "model.vocab_size is taken from the data first"
    return -(-config.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def truncated_normal(config: ModelConfig) -> nnx.Initializer:
    """Normal of standard deviation `initializer_range`, redrawn beyond two of them (BERT's)."""
    return nnx.initializers.truncated_normal(config.initializer_range, lower=-2.0, upper=2.0)


def table(rows: int, axis: str | None, config: ModelConfig, rngs: Keys) -> nnx.Param[jax.Array]:
    """An embedding table float32 [rows, hidden]; `axis` is the logical name of its rows."""
    init = nnx.with_partitioning(truncated_normal(config), (axis, "embed"))
    return nnx.Param(init(rngs.params(), (rows, config.hidden_size), jnp.float32))


class Dense(nnx.Module):
    """A matrix product with bias in `dtype`; `axes` are the logical names of the kernel's axes."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        axes: tuple[str | None, str | None],
        config: ModelConfig,
        dtype: jnp.dtype,
        rngs: Keys,
    ) -> None:
        self.dtype = dtype
        kernel = nnx.with_partitioning(truncated_normal(config), axes)
        bias_axis = None if axes[1] == "embed" else axes[1]
        bias = nnx.with_partitioning(nnx.initializers.zeros, (bias_axis,))
        self.kernel = nnx.Param(kernel(rngs.params(), (inputs, outputs), jnp.float32))
        self.bias = nnx.Param(bias(rngs.params(), (outputs,), jnp.float32))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[..., inputs] to [..., outputs]."""
        return add_bias(self.product(inputs), self.bias[...])

    def product(self, inputs: jax.Array) -> jax.Array:
        """The same without the bias."""
        return matmul(inputs.astype(self.dtype), self.kernel[...])


@jax.custom_vjp
def add_bias(inputs: jax.Array, bias: jax.Array) -> jax.Array:
    """[..., outputs] plus the bias [outputs], in the inputs' dtype.

    The gradient of the bias is summed in float32 and has the bias's own dtype.
    """
    return inputs + bias.astype(inputs.dtype)


def _add_bias_forward(inputs: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    return add_bias(inputs, bias), bias


def _add_bias_backward(bias: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = jnp.sum(gradient, axis=tuple(range(gradient.ndim - 1)), dtype=jnp.float32)
    return gradient, total.astype(bias.dtype)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis (Ba et al. 2016), in float32 whatever the input."""

    def __init__(self, config: ModelConfig, rngs: Keys) -> None:
        self.epsilon = config.layer_norm_epsilon
        ones = nnx.with_partitioning(nnx.initializers.ones, (None,))
        zeros = nnx.with_partitioning(nnx.initializers.zeros, (None,))
        self.scale = nnx.Param(ones(rngs.params(), (config.hidden_size,), jnp.float32))
        self.bias = nnx.Param(zeros(rngs.params(), (config.hidden_size,), jnp.float32))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """[..., hidden] to the same, in the same dtype."""
        return normalise(inputs, self.scale[...], self.bias[...], self.epsilon)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(inputs: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Layer normalisation of [..., hidden] by scale and bias [hidden]."""
    return _normalise_forward(inputs, scale, bias, epsilon)[0]


def _normalise_forward(
    inputs: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, Any]:
    wide = inputs.astype(jnp.float32)
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(variance + epsilon)
    outputs = (wide - mean) * inverse * scale + bias
    return outputs.astype(inputs.dtype), (inputs, mean, inverse, scale)


def _normalise_backward(
    _epsilon: float, saved: Any, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    inputs, mean, inverse, scale = saved
    mean, inverse = jax.lax.platform_dependent(
        (mean, inverse),
        cuda=jax.lax.optimization_barrier,  # or a GPU computes both wherever they are read
        rocm=jax.lax.optimization_barrier,
        default=lambda saved: saved,
    )
    normal = (inputs.astype(jnp.float32) - mean) * inverse
    wide = gradient.astype(jnp.float32)
    scaled = wide * scale
    along = jnp.mean(scaled * normal, axis=-1, keepdims=True)
    centred = scaled - jnp.mean(scaled, axis=-1, keepdims=True) - normal * along
    rows = tuple(range(inputs.ndim - 1))
    by_scale, by_bias = jnp.sum(wide * normal, axis=rows), jnp.sum(wide, axis=rows)
    return (centred * inverse).astype(inputs.dtype), by_scale, by_bias


normalise.defvjp(_normalise_forward, _normalise_backward)


@jax.custom_vjp
def gelu(inputs: jax.Array) -> jax.Array:
    """The exact GELU, x * Phi(x) (Hendrycks and Gimpel 2016), computed in float32.

    `jax.nn.gelu` goes through erfc, which takes two to three times as long on a CPU.
    """
    wide = inputs.astype(jnp.float32)
    return (wide * _normal_distribution(wide)).astype(inputs.dtype)


def _gelu_forward(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    return gelu(inputs), inputs


def _gelu_backward(inputs: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Phi(x) + x phi(x), from x alone.

    The barrier keeps the compiler from saving the forward pass's erf: on a CPU reading it back
    takes longer than computing it again.
    """
    wide = jax.lax.optimization_barrier(inputs).astype(jnp.float32)
    density = (2 * math.pi) ** -0.5 * jnp.exp(-0.5 * wide * wide)
    slope = _normal_distribution(wide) + wide * density
    return ((gradient.astype(jnp.float32) * slope).astype(inputs.dtype),)


def _normal_distribution(inputs: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + jax.lax.erf(inputs * 2**-0.5))


gelu.defvjp(_gelu_forward, _gelu_backward)

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    # google-research/bert modeling.py and Hugging Face's gelu_new: the tanh approximation
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
