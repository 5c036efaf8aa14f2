"""Somebody else's tensors, checked against the settings beside them and put into our tree."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.train.digest import named_leaves

BY_VOCABULARY = {"embeddings/token", "mlm_head/bias"}  # arrays whose rows are the vocabulary's


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file, not yet read.

    Attributes:
        name: as the file calls it.
        shape: as it stands in the file.
        read: returns the array, of any floating-point dtype.
        transposed: whether ours is the transpose of it.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    transposed: bool = False


@dataclass(frozen=True)
class Imported:
    """Somebody else's checkpoint, opened.

    Attributes:
        config: the encoder, its vocabulary size set.
        params: as `assemble` returns them.
        step: how many training steps the weights have seen; 0 where it is not said.
        notes: what was left out, one line each.
        extras: what the settings say beyond ours, by their own names.
    """

    config: ModelConfig
    params: dict[str, Any]
    step: int
    notes: tuple[str, ...]
    extras: dict[str, Any] = field(default_factory=dict)


def assemble(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    origin: str,
    name: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Reads the tensors into the tree that `bertjax.model.bert` takes.

    Every name and shape is checked before the first byte is read.

    Args:
        config: the encoder, its vocabulary size set.
        tensors: by our path, such as "layers/0/attention/query/kernel".
        origin: names the checkpoint in error messages.
        name: what the checkpoint would call the weights at one of our paths.

    Returns:
        float32 weights, zeros in the vocabulary's added rows, of the encoder and of those heads of
        which there is a tensor.

    Raises:
        UserError: a tensor is missing, of the wrong shape, no floating-point numbers, or not
            finite; it is named.
    """
    parts = {path.split("/")[0] for path in tensors}
    wanted = expected_shapes(config, [head for head in bert.HEADS if head in parts])
    _refuse_missing([name(path) for path in wanted if path not in tensors], origin)
    for path, shape in wanted.items():
        _refuse_other_shape(tensors[path], shape, origin)
    rows = bert.vocab_rows(config)
    arrays: dict[str, np.ndarray] = {}
    for path in wanted:
        array = _read(tensors[path], origin)
        if path in BY_VOCABULARY:
            array = np.pad(array, [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1))
        arrays[path] = array
    return traverse_util.unflatten_dict(arrays, sep="/")


def expected_shapes(
    config: ModelConfig, heads: Sequence[str] = bert.PRETRAINING_HEADS
) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by path, without the rows that round the vocabulary up."""
    one_layer = replace(config, num_layers=1)  # the others are like it, and each takes its time
    init = functools.partial(bert.init_params, one_layer, heads=heads)
    tree = jax.eval_shape(init, jax.random.key(0))
    layer = tree.pop("layers")["0"]
    tree["layers"] = {str(number): layer for number in range(config.num_layers)}
    shapes = {path: leaf.shape for path, leaf in named_leaves(tree).items()}
    assert config.vocab_size is not None
    for path in shapes.keys() & BY_VOCABULARY:
        shapes[path] = (config.vocab_size, *shapes[path][1:])
    return shapes


def _refuse_missing(missing: Sequence[str], origin: str) -> None:
    if missing:
        more = f" and {len(missing) - 1} others are" if len(missing) > 1 else " is"
        raise UserError(
            f"{origin}: {missing[0]}{more} missing; "
            "the checkpoint is incomplete or its settings belong to another model"
        )


def _refuse_other_shape(tensor: Tensor, shape: tuple[int, ...], origin: str) -> None:
    wanted = shape[::-1] if tensor.transposed else shape
    if tuple(tensor.shape) != wanted:
        raise UserError(
            f"{origin}: {tensor.name} has shape {list(tensor.shape)}; "
            f"by the settings beside it, it must be {list(wanted)}"
        )


def _read(tensor: Tensor, origin: str) -> np.ndarray:
    array = tensor.read()
    if not jnp.issubdtype(array.dtype, np.floating):
        raise UserError(f"{origin}: {tensor.name} holds {array.dtype}, not floating-point numbers")
    array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{origin}: {tensor.name} holds NaN or infinity; the weights are damaged")
    return np.ascontiguousarray(array.T) if tensor.transposed else array
