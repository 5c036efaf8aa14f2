"""What stands on the encoder: the two heads of pretraining, and those of labelled tasks."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.layers import ACTIVATIONS, Dense, Keys, LayerNorm, vocab_rows
from bertjax.model.matmul import matmul, matmul_precision, outer_sum

_NEVER = -1e9  # the logit of the rows that only round the vocabulary up


class MlmHead(nnx.Module):
    """Transform, activation, layer norm, then the token table again as the decoder, plus a bias."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        hidden = config.hidden_size
        assert config.vocab_size is not None
        self.vocab_size = config.vocab_size
        self.activation = ACTIVATIONS[config.activation]
        self.transform = Dense(hidden, hidden, ("embed", None), config, dtype, rngs)
        self.norm = LayerNorm(config, rngs)
        init = nnx.with_partitioning(nnx.initializers.zeros, ("vocab",))
        self.bias = nnx.Param(init(rngs.params(), (vocab_rows(config),), jnp.float32))

    def __call__(self, hidden: jax.Array, token_table: jax.Array) -> jax.Array:
        """[..., hidden] and the table [vocab, hidden] to float32 logits [..., vocab]."""
        hidden = self.norm(self.activation(self.transform(hidden)))
        bias = self.bias[...]
        bias = jnp.where(jnp.arange(bias.shape[0]) < self.vocab_size, bias, _NEVER)
        return _decode(hidden, token_table) + bias


class Pooler(nnx.Module):
    """The `[CLS]` position through one tanh layer."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        hidden = config.hidden_size
        self.dense = Dense(hidden, hidden, ("embed", None), config, dtype, rngs)

    def __call__(self, hidden: jax.Array) -> jax.Array:
        """[..., hidden] to [..., hidden]."""
        return jnp.tanh(self.dense(hidden))


class LinearHead(nnx.Module):
    """One matrix product with bias, its result in float32."""

    def __init__(self, outputs: int, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        self.dense = Dense(config.hidden_size, outputs, ("embed", None), config, dtype, rngs)

    def __call__(self, hidden: jax.Array) -> jax.Array:
        """[..., hidden] to float32 [..., outputs]."""
        return self.dense(hidden).astype(jnp.float32)


@jax.custom_vjp
def _decode(hidden: jax.Array, table: jax.Array) -> jax.Array:
    """[..., hidden] times the table [vocab, hidden] transposed: float32 [..., vocab].

    In the dtype of `hidden`; the table's gradient has the table's own.
    """
    return jnp.einsum(
        "...h,vh->...v",
        hidden,
        table.astype(hidden.dtype),
        precision=matmul_precision(hidden.dtype),
        preferred_element_type=jnp.float32,
    )


def _decode_forward(hidden: jax.Array, table: jax.Array) -> tuple[jax.Array, Any]:
    return _decode(hidden, table), (hidden, table)


def _decode_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    hidden, table = saved
    gradient = gradient.astype(hidden.dtype)
    return matmul(gradient, table), outer_sum(gradient, hidden).astype(table.dtype)


_decode.defvjp(_decode_forward, _decode_backward)
