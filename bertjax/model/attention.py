"""Multi-head self-attention (Vaswani et al. 2017, section 3.2), kept within each packed pair."""

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.dropout import Dropout
from bertjax.model.layers import Dense, Keys
from bertjax.model.matmul import matmul_precision

_MASKED = -1e30  # finite, so that no row of scores can become not-a-number


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    site: int,
) -> tuple[jax.Array, jax.Array]:
    """Attention of each position to those with the same pair id; padding (0) sees padding.

    Args:
        query, key, value: [batch, length, heads, head_dim].
        pair_ids: int32 [batch, length].
        dropout, site: for the attention probabilities.

    Returns:
        the attended values [batch, length, heads, head_dim], and the probabilities before dropout
        float32 [batch, heads, length, length].
    """
    precision = matmul_precision(query.dtype)
    scores = jnp.einsum(
        "bqnd,bknd->bnqk", query, key, precision=precision, preferred_element_type=jnp.float32
    )
    visible = pair_ids[:, None, :, None] == pair_ids[:, None, None, :]
    scores = jnp.where(visible, scores * query.shape[-1] ** -0.5, _MASKED)
    probabilities = _softmax(scores)
    weights = dropout(probabilities, site).astype(value.dtype)
    return jnp.einsum("bnqk,bknd->bqnd", weights, value, precision=precision), probabilities


@jax.custom_vjp
def _softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis whose gradient needs its output alone."""
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    probabilities = _softmax(scores)
    return probabilities, probabilities


def _softmax_backward(probabilities: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    product = probabilities * gradient
    return (product - probabilities * jnp.sum(product, axis=-1, keepdims=True),)


_softmax.defvjp(_softmax_forward, _softmax_backward)


class SelfAttention(nnx.Module):
    """Separate query, key and value projections, attention, and the output projection."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        hidden = config.hidden_size
        self.num_heads = config.num_heads
        self.query = Dense(hidden, hidden, ("embed", "heads"), config, dtype, rngs)
        self.key = Dense(hidden, hidden, ("embed", "heads"), config, dtype, rngs)
        self.value = Dense(hidden, hidden, ("embed", "heads"), config, dtype, rngs)
        self.output = Dense(hidden, hidden, ("heads", "embed"), config, dtype, rngs)

    def __call__(
        self, hidden: jax.Array, pair_ids: jax.Array, dropout: Dropout, site: int
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the output [batch, length, hidden] and the attention probabilities."""
        heads = (*hidden.shape[:2], self.num_heads, -1)
        query = self.query(hidden).reshape(heads)
        key = self.key(hidden).reshape(heads)
        value = self.value(hidden).reshape(heads)
        attended, probabilities = attend(query, key, value, pair_ids, dropout, site)
        return self.output(attended.reshape(hidden.shape)), probabilities
