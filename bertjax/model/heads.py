"""What stands on the encoder while pretraining: masked tokens and next sentence."""

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.layers import dense, layer_norm, matmul_precision

_NEVER = -1e9  # the logit of the rows that only round the vocabulary up


class MlmHead(nnx.Module):
    """Transform, GELU, layer norm, then the token table again as the decoder, plus a bias."""

    def __init__(
        self, config: ModelConfig, vocab_rows: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        hidden = config.hidden_size
        assert config.vocab_size is not None
        self.vocab_size = config.vocab_size
        self.transform = dense(hidden, hidden, ("embed", None), config, dtype, rngs)
        self.norm = layer_norm(config, dtype, rngs)
        init = nnx.with_partitioning(nnx.initializers.zeros, ("vocab",))
        self.bias = nnx.Param(init(rngs.params(), (vocab_rows,), jnp.float32))

    def __call__(self, hidden: jax.Array, token_table: jax.Array) -> jax.Array:
        """[..., hidden] and the table [vocab, hidden] to float32 logits [..., vocab]."""
        hidden = self.norm(jax.nn.gelu(self.transform(hidden), approximate=False))
        logits = jnp.einsum(
            "...h,vh->...v",
            hidden,
            token_table.astype(hidden.dtype),
            precision=matmul_precision(hidden.dtype),
            preferred_element_type=jnp.float32,
        )
        real = jnp.arange(logits.shape[-1]) < self.vocab_size
        return jnp.where(real, logits + self.bias[...], _NEVER)


class Pooler(nnx.Module):
    """The `[CLS]` position through one tanh layer."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        hidden = config.hidden_size
        self.dense = dense(hidden, hidden, ("embed", None), config, dtype, rngs)

    def __call__(self, hidden: jax.Array) -> jax.Array:
        """[..., hidden] to [..., hidden]."""
        return jnp.tanh(self.dense(hidden))


class NspHead(nnx.Module):
    """Is the second segment the next one? Logit 0 says it is."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.dense = dense(config.hidden_size, 2, ("embed", None), config, dtype, rngs)

    def __call__(self, pooled: jax.Array) -> jax.Array:
        """[..., hidden] to float32 [..., 2]."""
        return self.dense(pooled).astype(jnp.float32)
