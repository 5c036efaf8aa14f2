"""Cloze: the most probable tokens at every `[MASK]` of a text."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.model import bert

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

MASK = "[MASK]"


def fill_mask(
    params: dict, config: ModelConfig, tokenizer: "Tokenizer", text: str, top_k: int
) -> list[list[tuple[str, float]]]:
    """The `top_k` most probable tokens with their probabilities, for every `[MASK]` in order.

    Raises:
        UserError: no `[MASK]` in the text, `top_k` below 1, or more tokens than the model's
            positions.
    """
    if MASK not in text:
        raise UserError(f"no {MASK} in {text!r}: write {MASK} where a word is missing")
    if not 1 <= top_k <= tokenizer.vocab_size:
        raise UserError(f"top_k={top_k}: must lie between 1 and {tokenizer.vocab_size}")
    ids = _encode_with_masks(tokenizer, text)
    if len(ids) > config.max_length:
        raise UserError(
            f"the text has {len(ids)} tokens, the model takes {config.max_length}: shorten it"
        )
    positions = np.flatnonzero(np.asarray(ids) == tokenizer.mask_id)
    padded = np.full((1, _round_up(len(ids), config.max_length)), tokenizer.pad_id, np.int32)
    padded[0, : len(ids)] = ids
    pair_ids = (np.arange(padded.shape[1])[None] < len(ids)).astype(np.int32)
    token_ids, pair_ids = jnp.asarray(padded), jnp.asarray(pair_ids)
    encoded = bert.forward(params, config, token_ids, jnp.zeros_like(token_ids), pair_ids)
    logits = bert.mlm_logits(params, config, encoded.hidden[0, positions])  # [masks, vocab]
    probabilities, ids = jax.lax.top_k(jax.nn.softmax(logits), top_k)  # [masks, top_k]
    return [
        [(tokenizer.id_to_token(int(id_)), float(share)) for id_, share in zip(*row, strict=True)]
        for row in zip(np.asarray(ids), np.asarray(probabilities), strict=True)
    ]


def _encode_with_masks(tokenizer: "Tokenizer", text: str) -> list[int]:
    """`[CLS] text [SEP]` with the mask's id for every `[MASK]`, whatever the vocabulary calls it.

    `encode` itself would find it with WordPiece alone.
    """
    ids = [tokenizer.classifier_id]
    for number, part in enumerate(text.split(MASK)):
        if number:
            ids.append(tokenizer.mask_id)
        pieces = tokenizer.encode(part)
        if number and pieces and tokenizer.kind == "sentencepiece" and not part[0].isspace():
            pieces = _without_word_start(tokenizer, pieces)
        ids += pieces
    return [*ids, tokenizer.separator_id]


def _without_word_start(tokenizer: "Tokenizer", pieces: list[int]) -> list[int]:
    """SentencePiece starts every text with a space; what follows a mask directly has none."""
    bare = tokenizer.id_to_token(pieces[0]).removeprefix("▁")
    if not bare:
        return pieces[1:]
    inner = tokenizer.token_to_id(bare)
    return pieces if inner is None else [inner, *pieces[1:]]


def _round_up(length: int, longest: int) -> int:
    """The next multiple of 32: few distinct shapes, so few compilations."""
    return min(-(-length // 32) * 32, longest)
