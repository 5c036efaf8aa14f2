"""Sums over devices of which each keeps a part, and whole arrays from such parts.

Inside `jax.shard_map`. Both take two stages (one if the number of devices is prime, or over several
mesh axes), within groups of devices and between them, as the two sides of a slice: over all chips
at once the TPU compiler makes a sum of whole arrays of either, twice the traffic (v5e:4x4,
v5e:16x16, v6e:4x4, v4:2x2x2; not v5e:2x4). A device sends as much in two stages as it would in one.
That is what the compiler lists; nobody has timed it, and the groups follow the mesh's order of
devices, not their places.
"""

import math

import jax
import numpy as np


def scatter_sum(own: jax.Array, names: tuple[str, ...], axis: int) -> jax.Array:
    """The sum of every device's `own` over the mesh axes `names`; a device keeps its part.

    Args:
        own: an array of the same shape on every device.
        names: mesh axes, the first one varies slowest.
        axis: of the array, along which it is cut; divisible by the number of devices.
    """
    for devices in _stages(names):
        own = jax.lax.psum_scatter(
            own, names, scatter_dimension=axis, axis_index_groups=devices, tiled=True
        )
    return own


def gather(part: jax.Array, names: tuple[str, ...], axis: int) -> jax.Array:
    """The whole array from the parts that `scatter_sum` leaves, on every device."""
    for devices in reversed(_stages(names)):
        part = jax.lax.all_gather(part, names, axis=axis, axis_index_groups=devices, tiled=True)
    return part


def _stages(names: tuple[str, ...]) -> list[list[list[int]] | None]:
    """The groups of devices that a sum is over, stage by stage; None is all of them.

    After the first stage a device has the part of its own group's place; the second cuts that.
    """
    size = jax.lax.axis_size(names)
    groups = max(number for number in range(1, math.isqrt(size) + 1) if size % number == 0)
    if groups == 1 or len(names) > 1:
        return [None]
    devices = np.arange(size).reshape(-1, groups)
    return [devices.T.tolist(), devices.tolist()]
