"""One text, or a pair of them, as the encoder takes it (Devlin et al. 2018, section 3)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertjax.config import ModelConfig
from bertjax.errors import UserError

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_MULTIPLE = 32  # of a row's length: few distinct shapes, so few compilations


class EncoderRows(NamedTuple):
    """int32 [batch, length] each, padding at the end."""

    token_ids: np.ndarray
    segment_ids: np.ndarray
    pair_ids: np.ndarray


def joined(
    tokenizer: "Tokenizer", num_segments: int, *texts: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`[CLS] first [SEP]`, or `[CLS] first [SEP] second [SEP]`.

    Args:
        tokenizer: the model's.
        num_segments: the model's; the second text is of segment 1 where it has two.
        texts: one or two, token ids without special tokens around them.

    Returns:
        Token ids and segment ids, int32 [tokens].
    """
    parts = [part for text in texts for part in (text, [tokenizer.separator_id])]
    ids = np.concatenate([[tokenizer.classifier_id], *parts], dtype=np.int32, casting="unsafe")
    segments = np.zeros_like(ids)
    segments[2 + len(texts[0]) :] = min(1, num_segments - 1)
    return ids, segments


def encoder_row(config: ModelConfig, tokenizer: "Tokenizer", *texts: Sequence[int]) -> EncoderRows:
    """`joined` as a batch of one row.

    Raises:
        UserError: together they are longer than the model's positions.
    """
    ids, segments = joined(tokenizer, config.num_segments, *texts)
    if len(ids) > config.max_length:
        raise UserError(
            f"the text has {len(ids)} tokens, the model takes {config.max_length}: shorten it"
        )
    length = min(-(-len(ids) // _MULTIPLE) * _MULTIPLE, config.max_length)
    row = EncoderRows(*(np.zeros((1, length), np.int32) for _ in EncoderRows._fields))
    row.token_ids[:] = tokenizer.pad_id
    row.token_ids[0, : len(ids)], row.segment_ids[0, : len(ids)] = ids, segments
    row.pair_ids[0, : len(ids)] = 1
    return row
