"""Sums over devices of which each keeps a part, and whole arrays from such parts.

Inside `jax.shard_map`. On a TPU both take two stages: over all chips at once its compiler makes a
sum of whole arrays of either, twice the traffic (v5e:4x4, v5e:16x16, v6e:4x4, v4:2x2x2; not
v5e:2x4). A device sends as much in two stages as it would in one. That is what the compiler lists;
nobody has timed it. Elsewhere one stage does.
"""

import math

import jax
import numpy as np
from jax.sharding import Mesh

Stage = tuple[tuple[str, ...], list[list[int]] | None]
"""Mesh axes, and the groups of their devices that exchange; None: all of them in one."""


def in_two_stages(mesh: Mesh) -> bool:
    """Whether sums and gathers over this mesh take two stages; its devices need not be attached."""
    return mesh.devices.flat[0].platform == "tpu"


def scatter_sum(own: jax.Array, names: tuple[str, ...], axis: int, two_stages: bool) -> jax.Array:
    """The sum of every device's `own` over the mesh axes `names`; a device keeps its part.

    Args:
        own: an array of the same shape on every device.
        names: mesh axes, the first one varies slowest.
        axis: of the array, along which it is cut; divisible by the number of devices.
        two_stages: from `in_two_stages`; the parts are the same either way.
    """
    for over, groups in _stages(names, two_stages):
        own = jax.lax.psum_scatter(
            own, over, scatter_dimension=axis, axis_index_groups=groups, tiled=True
        )
    return own


def gather(part: jax.Array, names: tuple[str, ...], axis: int, two_stages: bool) -> jax.Array:
    """The whole array from the parts that `scatter_sum` leaves, on every device."""
    for over, groups in reversed(_stages(names, two_stages)):
        part = jax.lax.all_gather(part, over, axis=axis, axis_index_groups=groups, tiled=True)
    return part


def _stages(names: tuple[str, ...], two_stages: bool) -> list[Stage]:
    """What a sum is over, one after the other: of several mesh axes each, of one its two factors.

    After the first stage a device has the part of its own group's place; the second cuts that. As a
    table whose rows are filled one after the other with the devices of the axis, the first stage is
    along the columns and the second along the rows. A prime number of devices takes one stage.
    """
    if not two_stages:
        return [(names, None)]
    if len(names) > 1:
        return [((name,), None) for name in names]
    size = jax.lax.axis_size(names)
    length = max(number for number in range(1, math.isqrt(size) + 1) if size % number == 0)
    if length == 1:
        return [(names, None)]
    devices = np.arange(size).reshape(-1, length)
    return [(names, devices.T.tolist()), (names, devices.tolist())]
