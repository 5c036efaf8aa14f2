"""How the model's arrays lie on the devices, as far as the model has to know.

The training step runs the model on every device with that device's own rows (train/gradients.py):
there the axes of the batch are gone from what the compiler partitions. Elsewhere, under
`jax.set_mesh`, the compiler partitions over all axes; without a mesh there is one device.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec

BATCH_AXES = ("data", "fsdp")  # mesh axes over which rows are split
TENSOR_AXIS = "tensor"  # the mesh axis over which heads, inner layer and vocabulary are split
# The starts of `device_kind` of the GPUs that kernels are for: compute capability 9.0.
_HOPPER = ("NVIDIA H100", "NVIDIA H20", "NVIDIA H800", "NVIDIA GH200")  # H20: also H200


def split_rows(array: jax.Array) -> jax.Array:
    """[batch, ...] with its rows over the batch axes and nothing else split.

    Without it the compiler may, where weights are split too, split an activation along its hidden
    axis and sum it over the devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size == 1 or not mesh.auto_axes:  # nothing for the compiler to divide here
        return array
    rows = tuple(name for name in BATCH_AXES if name in mesh.auto_axes)
    return jax.lax.with_sharding_constraint(array, PartitionSpec(rows))


def on_each_device(
    kernel: Callable[..., jax.Array], array: jax.Array, inputs: Any, outputs: Any
) -> Callable[..., jax.Array]:
    """`kernel` of each device's own part, where the compiler would divide the work.

    Args:
        array: one of its inputs.
        inputs: a PartitionSpec for each of its inputs.
        outputs: that of its result.
    """
    mesh = mesh_of(array)
    if mesh.size == 1 or not mesh.auto_axes:  # one device, or its own part of the rows already
        return kernel
    return jax.shard_map(
        kernel,
        mesh=mesh,
        in_specs=inputs,
        out_specs=outputs,
        axis_names=set(mesh.auto_axes),
        check_vma=False,
    )


def row_axes(array: jax.Array) -> tuple[str, ...]:
    """The axes over which the compiler splits an array's rows."""
    return tuple(name for name in mesh_of(array).auto_axes if name != TENSOR_AXIS)


def mesh_of(array: jax.Array) -> AbstractMesh:
    """The devices that an array's program is compiled for; empty where nothing says so."""
    return jax.typeof(array).sharding.mesh


def device_of(array: jax.Array, dtype: jnp.dtype) -> str:
    """What is compiled for: "cpu", "gpu", "tpu", or "hopper", a GPU on which our kernels run.

    That is the kind of the mesh's devices, which need not be attached; without a mesh that of this
    process's first one. The kernels are for bfloat16 and for whole rows of activations.
    """
    mesh = mesh_of(array)
    device = mesh.abstract_device or jax.devices()[0]
    hopper = (
        device.platform == "gpu"
        and device.device_kind.startswith(_HOPPER)
        and dtype == jnp.bfloat16
        and mesh.shape.get(TENSOR_AXIS, 1) == 1
        and jax.__version_info__ >= (0, 11)
    )
    return "hopper" if hopper else device.platform
