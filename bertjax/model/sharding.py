"""How the model's arrays lie on the devices, as far as the model has to know.

The training step runs the model on every device with that device's own rows (train/gradients.py):
there the axes of the batch are gone from what the compiler partitions. Elsewhere, under
`jax.set_mesh`, the compiler partitions over all axes; without a mesh there is one device.
"""

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


def _automatic_axes() -> tuple[str, ...]:
    """The axes of the mesh that the compiler partitions over at this point of the program."""
    mesh = jax.sharding.get_abstract_mesh()
    return () if mesh.size == 1 else mesh.auto_axes
