"""How the model's arrays lie on the devices, as far as the model has to know.

The training step runs the model on every device with that device's own rows (train/gradients.py):
there the axes of the batch are gone from what the compiler partitions. Elsewhere, under
`jax.set_mesh`, the compiler partitions over all axes; without a mesh there is one device.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

BATCH_AXES = ("data", "fsdp")  # mesh axes over which rows are split
TENSOR_AXIS = "tensor"  # the mesh axis over which heads, inner layer and vocabulary are split


def split_rows(array: jax.Array) -> jax.Array:
    """[batch, ...] with its rows over the batch axes and nothing else split.

    Without it the compiler may, where weights are split too, split an activation along its hidden
    axis and sum it over the devices.
    """
    axes = _automatic_axes()
    if not axes:
        return array
    rows = tuple(name for name in BATCH_AXES if name in axes)
    return jax.lax.with_sharding_constraint(array, PartitionSpec(rows))


def on_each_device(
    function: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
    """`function` of the arrays' parts on each device, for a kernel that no compiler can partition.

    Args:
        function: of arrays, to arrays.
        in_specs, out_specs: trees of `PartitionSpec` over `BATCH_AXES` and `TENSOR_AXIS`; axes that
            the arrays are cut over already mean nothing.
    """
    axes = _automatic_axes()
    if not axes:
        return function

    def still_whole(spec: PartitionSpec) -> PartitionSpec:
        names = [(name,) if isinstance(name, str) else name or () for name in spec]
        return PartitionSpec(*(tuple(name for name in group if name in axes) for group in names))

    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
    in_specs, out_specs = (
        jax.tree.map(still_whole, specs, is_leaf=is_spec) for specs in (in_specs, out_specs)
    )
    return jax.shard_map(
        function, in_specs=in_specs, out_specs=out_specs, axis_names=set(axes), check_vma=False
    )


def _automatic_axes() -> tuple[str, ...]:
    """The axes of the mesh that the compiler partitions over at this point of the program."""
    mesh = jax.sharding.get_abstract_mesh()
    return () if mesh.size == 1 else mesh.auto_axes


def target_platform() -> str:
    """ "cpu", "gpu" or "tpu": what this program is compiled for, which need not be attached."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform
