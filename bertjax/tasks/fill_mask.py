"""Cloze: the most probable tokens at every `[MASK]` of a text."""

import functools
import numbers
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.encoder_rows import EncoderRows, encoder_row

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

MASK = "[MASK]"


def fill_mask(
    params: dict,
    config: ModelConfig,
    tokenizer: "Tokenizer",
    text: str,
    top_k: int,
    second: str | None = None,
) -> list[list[tuple[str, float]]]:
    """The `top_k` most probable tokens with their probabilities, for every `[MASK]` in order.

    Args:
        params: the weights, with `mlm_head`.
        config: the encoder's sizes.
        tokenizer: the model's; a name of its own for the mask, such as `<mask>`, is read too.
        text: with a `[MASK]` where a word is missing; each stands for one token.
        top_k: candidates per mask.
        second: a text that follows the first, as the model's second segment; it may have masks too.

    Raises:
        UserError: no `[MASK]`, `top_k` below 1 or above the vocabulary, or more tokens than the
            model's positions.
    """
    if not isinstance(top_k, numbers.Integral) or not 1 <= top_k <= tokenizer.vocab_size:
        raise UserError(
            f"top_k={top_k!r}: must be a whole number between 1 and {tokenizer.vocab_size}"
        )
    pieces = [encode_with_masks(tokenizer, part) for part in (text, second) if part is not None]
    row = encoder_row(config, tokenizer, *pieces)
    positions = np.flatnonzero(row.token_ids[0] == tokenizer.mask_id)
    if not len(positions):
        raise UserError(f"no {MASK} in {text!r}: write {MASK} where a word is missing")
    places = np.zeros(1 << (len(positions) - 1).bit_length(), np.int32)  # few shapes are compiled
    places[: len(positions)] = positions
    shares = np.asarray(_probabilities(params, config, row, jnp.asarray(places)))[: len(positions)]
    best = np.argsort(-shares, axis=1, kind="stable")[:, :top_k]
    return [
        [(tokenizer.id_to_token(int(index)), float(mask[index])) for index in indices]
        for mask, indices in zip(shares, best, strict=True)
    ]


@functools.partial(jax.jit, static_argnames="config")
def _probabilities(
    params: dict, config: ModelConfig, row: EncoderRows, positions: jax.Array
) -> jax.Array:
    """Float32 [positions, vocab], the rows that round the vocabulary up left out."""
    encoded = bert.forward(params, config, *map(jnp.asarray, row), positions=positions[None])
    logits = bert.mlm_logits(params, config, encoded.hidden[0])[:, : config.vocab_size]
    return jax.nn.softmax(logits)


def encode_with_masks(tokenizer: "Tokenizer", text: str) -> list[int]:
    """The text's ids with the mask's for every `[MASK]`."""
    own = tokenizer.id_to_token(tokenizer.mask_id)
    named = text.replace(MASK, own)
    whole = tokenizer.encode(named)
    if whole.count(tokenizer.mask_id) == named.count(own):
        return whole
    ids: list[int] = []  # to a SentencePiece model the mask is text
    for number, part in enumerate(named.split(own)):
        if number:
            ids.append(tokenizer.mask_id)
        pieces = tokenizer.encode(part)
        if number and pieces and tokenizer.kind == "sentencepiece" and not part[0].isspace():
            pieces = _without_word_start(tokenizer, pieces)
        ids += pieces
    return ids


def _without_word_start(tokenizer: "Tokenizer", pieces: list[int]) -> list[int]:
    """SentencePiece starts every text with a space; what follows a mask directly has none."""
    bare = tokenizer.id_to_token(pieces[0]).removeprefix("▁")
    if not bare:
        return pieces[1:]
    inner = tokenizer.token_to_id(bare)
    return pieces if inner is None else [inner, *pieces[1:]]
