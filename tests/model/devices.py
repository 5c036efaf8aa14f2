"""Devices that are not attached, for which programs can be lowered all the same."""

from jax.sharding import AbstractDevice, AbstractMesh, AxisType, NamedSharding, PartitionSpec


def on(kind, platform="gpu", **axes):
    """A whole copy on each of some devices that are not attached."""
    device = AbstractDevice(device_kind=kind, num_cores=None, platform=platform)
    axes = axes or {"data": 1}
    auto = (AxisType.Auto,) * len(axes)
    mesh = AbstractMesh(tuple(axes.values()), tuple(axes), auto, abstract_device=device)
    return NamedSharding(mesh, PartitionSpec())
