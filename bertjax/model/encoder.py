"""The embeddings and one post-layer-norm encoder layer (Devlin et al. 2018, section 3)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.attention import SelfAttention
from bertjax.model.dropout import Dropout
from bertjax.model.epilogues import add_and_norm, project_and_activate
from bertjax.model.layers import Dense, Keys, LayerNorm, table, vocab_rows
from bertjax.model.positions import Selected, gather_positions

SITES_PER_LAYER = 3  # dropout: attention probabilities, attention output, feed-forward output


class Embeddings(nnx.Module):
    """Token + position + segment embeddings, layer norm, dropout (site 0)."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        self.dtype = dtype
        self.token = table(vocab_rows(config), "vocab", config, rngs)
        self.position = table(config.max_length, "position", config, rngs)
        self.segment = table(config.num_segments, None, config, rngs)
        self.norm = LayerNorm(config, rngs)

    def __call__(
        self,
        token_ids: jax.Array,
        segment_ids: jax.Array,
        position_ids: jax.Array,
        dropout: Dropout,
    ) -> jax.Array:
        """All ids are int32 [batch, length]; returns [batch, length, hidden]."""
        total = self.token[...][token_ids] + self.position[...][position_ids]
        total += self.segment[...][segment_ids]
        return dropout(self.norm(total.astype(self.dtype)), site=0)


class EncoderLayer(nnx.Module):
    """Self-attention and feed-forward, each followed by dropout, the residual and a layer norm."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        hidden, inner = config.hidden_size, config.intermediate_size
        self.activation, self.epilogues = config.activation, config.epilogues
        self.attention_dropout = config.attention_dropout
        self.attention = SelfAttention(config, dtype, rngs)
        self.attention_norm = LayerNorm(config, rngs)
        self.intermediate = Dense(hidden, inner, ("embed", "mlp"), config, dtype, rngs)
        self.output = Dense(inner, hidden, ("mlp", "embed"), config, dtype, rngs)
        self.output_norm = LayerNorm(config, rngs)

    def __call__(
        self,
        hidden: jax.Array,
        pair_ids: jax.Array,
        dropout: Dropout,
        first_site: int | jax.Array,
        need_probabilities: bool = False,
        selected: Selected | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """[batch, length, hidden] to the same, and the probabilities if they are needed.

        Where `selected` is given both are of these positions alone.
        """
        own_rate = self.attention_dropout
        inside = dropout if own_rate is None else dataclasses.replace(dropout, rate=own_rate)
        asking = hidden if selected is None else gather_positions(hidden, selected.positions)
        attended, probabilities = self.attention(
            asking, hidden, pair_ids, inside, first_site, need_probabilities, selected
        )
        finish = functools.partial(
            add_and_norm, dropout=dropout, epilogues=self.epilogues, selected=selected
        )
        site = first_site + 1
        hidden = finish(self.attention_norm, asking, self.attention.output, attended, site=site)
        inner = project_and_activate(self.activation, self.intermediate, hidden, self.epilogues)
        return finish(self.output_norm, hidden, self.output, inner, site=site + 1), probabilities
