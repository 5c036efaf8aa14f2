"""What follows the matrix products of an encoder layer, on a Hopper GPU as kernels of our own."""

import functools
import math

import jax
from jax.sharding import PartitionSpec

from bertjax.model.dropout import Dropout
from bertjax.model.layers import ACTIVATIONS, Dense, LayerNorm
from bertjax.model.positions import Selected
from bertjax.model.sharding import device_of, on_each_device, row_axes

_WIDEST_NORM = 1024  # hidden: what a warp has room for
# The kernels' own, of positions_gpu.py, which takes long to load: the fewest columns that a warp
# reads at once, and the positions that a block of threads has at a time.
_COLUMNS, _POSITIONS = 128, 4


def project_and_activate(
    activation: str, projection: Dense, inputs: jax.Array, epilogues: str
) -> jax.Array:
    """`activation(projection(inputs))` of [batch, positions, inputs]; a kernel does bias and GELU.

    Args:
        activation: one of `ACTIVATIONS`.
        epilogues: as of `epilogue_path`.
    """
    device, positions = device_of(inputs, projection.dtype), inputs.shape[1]
    path = epilogue_path(epilogues, device, positions, projection.bias.shape[0])
    if path == "plain" or activation != "gelu":
        return ACTIVATIONS[activation](projection(inputs))
    from bertjax.model.biased_gelu_gpu import fused_biased_gelu

    rows = PartitionSpec(row_axes(inputs))
    split = on_each_device(fused_biased_gelu, inputs, (rows, PartitionSpec()), rows)
    return split(projection.product(inputs), projection.bias[...])


def add_and_norm(
    norm: LayerNorm,
    residual: jax.Array,
    projection: Dense,
    inner: jax.Array,
    *,
    dropout: Dropout,
    site: int | jax.Array,
    epilogues: str,
    selected: Selected | None = None,
) -> jax.Array:
    """`norm(residual + dropout(projection(inner)))`; a kernel does all after the product.

    Args:
        residual: [batch, positions, hidden], of every position or of the `selected` ones.
        inner: [batch, positions, inputs of the projection].
        dropout, site: for what is projected.
        epilogues: as of `epilogue_path`.
    """
    device, (_, positions, hidden) = device_of(residual, projection.dtype), residual.shape
    if epilogue_path(epilogues, device, positions, hidden, _WIDEST_NORM) == "plain":
        return norm(residual + dropout(projection(inner), site, selected))
    from bertjax.model.residual_norm_gpu import fused_residual_norm

    words = dropout.words(site, (positions, hidden), selected)
    fused = functools.partial(fused_residual_norm, rate=dropout.rate, epsilon=norm.epsilon)
    rows, whole = PartitionSpec(row_axes(residual)), PartitionSpec()
    inputs = (rows, rows, *(whole,) * 3, *(rows for _ in words))
    split = on_each_device(fused, residual, inputs, rows)
    parameters = projection.bias[...], norm.scale[...], norm.bias[...]
    return split(residual, projection.product(inner), *parameters, *words)


def epilogue_path(
    setting: str, device: str, positions: int, outputs: int, widest: float = math.inf
) -> str:
    """Which of the implementations runs: "plain", the compiler's own, or "fused", a kernel.

    Args:
        setting: `model.epilogues`.
        device: as of `sharding.device_of`.
        positions, outputs: of what a row's product gives.
        widest: the most outputs that the kernel takes.
    """
    fits = outputs % _COLUMNS == 0 and outputs <= widest and positions % _POSITIONS == 0
    return "fused" if setting == "auto" and device == "hopper" and fits else "plain"
