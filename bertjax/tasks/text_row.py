"""A text, or a pair of them, as one row that the encoder takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertjax.config import ModelConfig
from bertjax.errors import UserError

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_MULTIPLE = 32  # of a row's length: few distinct shapes, so few compilations


class TextRow(NamedTuple):
    """int32 [1, length] each, padding at the end."""

    token_ids: np.ndarray
    segment_ids: np.ndarray
    pair_ids: np.ndarray


def text_row(
    config: ModelConfig, tokenizer: "Tokenizer", first: Sequence[int], second: Sequence[int] | None
) -> TextRow:
    """`[CLS] first [SEP]`, or `[CLS] first [SEP] second [SEP]` (Devlin et al. 2018, section 3).

    Args:
        config: the encoder's sizes.
        tokenizer: the model's.
        first, second: token ids without special tokens around them.

    Raises:
        UserError: together they are longer than the model's positions.
    """
    ids = [tokenizer.classifier_id, *first, tokenizer.separator_id]
    head = len(ids)
    if second is not None:
        ids += [*second, tokenizer.separator_id]
    if len(ids) > config.max_length:
        raise UserError(
            f"the text has {len(ids)} tokens, the model takes {config.max_length}: shorten it"
        )
    length = min(-(-len(ids) // _MULTIPLE) * _MULTIPLE, config.max_length)
    row = TextRow(*(np.zeros((1, length), np.int32) for _ in TextRow._fields))
    row.token_ids[:] = tokenizer.pad_id
    row.token_ids[0, : len(ids)] = ids
    row.segment_ids[0, head : len(ids)] = min(1, config.num_segments - 1)
    row.pair_ids[0, : len(ids)] = 1
    return row
