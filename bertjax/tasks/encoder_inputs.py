"""Arrays of the caller, checked and made what the encoder takes."""

from typing import Any

import numpy as np

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.tasks.encoder_rows import EncoderRows

_MOST = 2**31  # of int32


def encoder_inputs(
    config: ModelConfig, token_ids: Any, segment_ids: Any, attention_mask: Any, pair_ids: Any
) -> EncoderRows:
    """int32 [batch, length] each.

    Args:
        config: the encoder's sizes.
        token_ids: whole numbers of any type.
        segment_ids: None: all 0.
        attention_mask: 1 or True for text, then 0 or False for padding; None: no padding.
        pair_ids: instead of `attention_mask`, 1, 2, ...; 0 for padding.

    Raises:
        UserError: both of the last two, something else than whole numbers, shapes that differ,
            values that the model has no place for, or padding before text.
    """
    if attention_mask is not None and pair_ids is not None:
        raise UserError("give attention_mask or pair_ids: pair_ids say what is padding too")
    if token_ids is None:
        raise UserError("token_ids must be given")
    given = {
        "token_ids": (token_ids, config.vocab_size or 0),
        "segment_ids": (segment_ids, config.num_segments),
        "attention_mask": (attention_mask, 2),
        "pair_ids": (pair_ids, _MOST),
    }
    arrays = {
        name: _numbers(name, values) for name, (values, _) in given.items() if values is not None
    }
    _check_shapes(arrays, config.max_length)
    for name, array in arrays.items():
        _check_range(name, array, given[name][1])
    arrays = {name: array.astype(np.int32) for name, array in arrays.items()}
    mask = arrays.get("attention_mask")
    if mask is not None and np.any(np.diff(mask) > 0):
        raise UserError("attention_mask: padding must stand at the end of a row")
    ids = arrays["token_ids"]
    pairs = arrays.get("pair_ids", np.ones_like(ids) if mask is None else mask)
    return EncoderRows(ids, arrays.get("segment_ids", np.zeros_like(ids)), pairs)


def _numbers(name: str, values: Any) -> np.ndarray:
    """Whole numbers, of whatever type they are."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name}: the rows have different lengths; pad them") from error
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} must be whole numbers; found {array.dtype}")
    if array.dtype.kind == "f" and len(broken := array[array != np.trunc(array)]):
        raise UserError(f"{name} must be whole numbers; found {broken[0]}")
    return array


def _check_shapes(arrays: dict[str, np.ndarray], max_length: int) -> None:
    shape = arrays["token_ids"].shape
    if len(shape) != 2 or any(array.shape != shape for array in arrays.values()):
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise UserError(f"all must share one shape [batch, length]; found {found}")
    if shape[1] > max_length:
        raise UserError(
            f"rows of {shape[1]} tokens do not fit the model's {max_length} positions: cut them"
        )
    if shape[1] == 0:
        raise UserError("token_ids: rows without tokens")


def _check_range(name: str, array: np.ndarray, size: int) -> None:
    outside = array[(array < 0) | (array >= size)]
    if outside.size:
        raise UserError(f"{name} must lie between 0 and {size - 1}; found {outside[0]:.0f}")
