"""What follows the matrix products of an encoder layer, on a Hopper GPU as kernels of our own."""

import functools

import jax
from jax.sharding import PartitionSpec

from bertjax.model.activations import ACTIVATIONS
from bertjax.model.dropout import Dropout, bit_words
from bertjax.model.layers import Dense, LayerNorm
from bertjax.model.positions import Selected
from bertjax.model.sharding import device_of, on_each_device, row_axes

WIDEST_NORM = 1024  # hidden: what a warp has room for
_COLUMNS = 128  # that the 32 threads of a warp read at once, at least
_POSITIONS = 4  # that a block of threads has at a time


def project_and_activate(activation: str, projection: Dense, inputs: jax.Array) -> jax.Array:
    """`activation(projection(inputs))` of [batch, positions, inputs]; a kernel does bias and GELU.

    Args:
        activation: one of `ACTIVATIONS`.
    """
    _, positions, _ = inputs.shape
    device = device_of(inputs, projection.dtype)
    outputs = projection.bias.shape[0]
    if (
        activation != "gelu"
        or epilogue_path(projection.epilogue, device, positions, outputs) == "plain"
    ):
        return ACTIVATIONS[activation](projection(inputs))
    from bertjax.model.biased_gelu_gpu import fused_biased_gelu  # Pallas takes long to load

    rows = PartitionSpec(row_axes(inputs))
    split = on_each_device(fused_biased_gelu, inputs, (rows, PartitionSpec()), rows)
    return split(projection.product(inputs), projection.bias[...])


def add_and_norm(
    norm: LayerNorm,
    residual: jax.Array,
    projection: Dense,
    inner: jax.Array,
    dropout: Dropout,
    site: int,
    selected: Selected | None = None,
) -> jax.Array:
    """`norm(residual + dropout(projection(inner)))`; a kernel does all after the product.

    Args:
        residual: [batch, positions, hidden], of every position or of the `selected` ones.
        inner: [batch, positions, inputs of the projection].
        dropout, site: for what is projected.
    """
    _, positions, hidden = residual.shape
    path = epilogue_path(
        projection.epilogue, device_of(residual, projection.dtype), positions, hidden
    )
    if path == "plain" or hidden > WIDEST_NORM:
        return norm(residual + dropout(projection(inner), site, selected))
    from bertjax.model.residual_norm_gpu import fused_residual_norm  # Pallas takes long to load

    words = ()
    if dropout.active:
        assert dropout.key is not None
        assert dropout.row_ids is not None, "dropout needs row_ids"
        words = bit_words(dropout.key, site, dropout.row_ids, (positions, hidden), selected)
    fused = functools.partial(fused_residual_norm, rate=dropout.rate, epsilon=norm.epsilon)
    rows, whole = PartitionSpec(row_axes(residual)), PartitionSpec()
    inputs = (rows, rows, *(whole,) * 3, *(rows for _ in words))
    split = on_each_device(fused, residual, inputs, rows)
    parameters = projection.bias[...], norm.scale[...], norm.bias[...]
    return split(residual, projection.product(inner), *parameters, *words)


def epilogue_path(setting: str, device: str, positions: int, outputs: int) -> str:
    """Which of the implementations runs: "plain", the compiler's own, or "fused", a kernel.

    Args:
        setting: `model.epilogues`.
        device: as of `sharding.device_of`.
        positions, outputs: of what a row's product gives.
    """
    fits = outputs % _COLUMNS == 0 and positions % _POSITIONS == 0
    return "fused" if setting == "auto" and device == "hopper" and fits else "plain"
