"""Does one text follow another? What BERT learnt beside the masked words."""

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from bertjax.config import ModelConfig
from bertjax.model import bert
from bertjax.tasks.encoder_rows import EncoderRows, encoder_row

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


def next_sentence(
    params: dict, config: ModelConfig, tokenizer: "Tokenizer", first: str, second: str
) -> float:
    """The probability that `second` follows `first`.

    Raises:
        UserError: together they are longer than the model's positions.
    """
    row = encoder_row(config, tokenizer, tokenizer.encode(first), tokenizer.encode(second))
    return float(_probability(params, config, row))


@functools.partial(jax.jit, static_argnames="config")
def _probability(params: dict, config: ModelConfig, row: EncoderRows) -> jax.Array:
    first = jnp.zeros((1, 1), jnp.int32)
    hidden = bert.forward(params, config, *map(jnp.asarray, row), positions=first).hidden
    pooled = bert.pooled(params, config, hidden[:, 0])
    return jax.nn.softmax(bert.nsp_logits(params, config, pooled)[0])[0]
