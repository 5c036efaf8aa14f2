"""Devices as a grid (data, fsdp, tensor), and how batches and parameters lie on it.

Sharding is data: a parameter names its axes ("vocab", "heads", ...), and one table of rules says
which of them the mesh axis `tensor` splits. Over `fsdp` and `data` an array is cut along the first
axis that divides: along the last one a TPU's compiler sums whole arrays in place of parts, twice
the traffic, wherever a part is no multiple of 128 wide.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.config import Config, MeshConfig, phases
from bertjax.errors import UserError
from bertjax.model.sharding import BATCH_AXES, TENSOR_AXIS
from bertjax.setting_checks import check_heads

AXES = (*BATCH_AXES, TENSOR_AXIS)
# Logical parameter axis -> mesh axis. Names that are not here are not split.
RULES = {"vocab": TENSOR_AXIS, "heads": TENSOR_AXIS, "mlp": TENSOR_AXIS}


def mesh_shape(config: MeshConfig, device_count: int) -> tuple[int, int, int]:
    """Sizes of (data, fsdp, tensor); one may be -1: what the others leave.

    Raises:
        UserError: two sizes are -1, a size is 0 or negative, or they do not multiply to the number
            of devices.
    """
    sizes = [config.data, config.fsdp, config.tensor]
    written = ", ".join(f"mesh.{name}={size}" for name, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise UserError(f"{written}: sizes are positive, and only one may be -1 (all that is left)")
    fixed = int(np.prod([size for size in sizes if size != -1]))
    if -1 in sizes and device_count % fixed == 0:
        sizes[sizes.index(-1)] = device_count // fixed
    if -1 in sizes or int(np.prod(sizes)) != device_count:
        raise UserError(f"{written} does not multiply to the {device_count} devices present")
    return sizes[0], sizes[1], sizes[2]


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over `devices` (default: all).

    Where data or fsdp has all chips of a TPU slice they follow its sides, row after row, for the
    stages of `collectives.py`: in 2x4, 4x4 or 16x16 the devices of a group are one line of the
    slice. Other meshes on a TPU lie as jax finds best. GPUs stand in the order of their numbers,
    host after host: for jax each host is a slice, and `jax.make_mesh` takes but one (jax#37863).

    Raises:
        UserError: as `mesh_shape`, or the devices are those of several TPU slices.
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(config, len(devices))
    types = (jax.sharding.AxisType.Auto,) * 3
    if devices[0].platform == "tpu":
        slices = {getattr(device, "slice_index", 0) for device in devices}
        if len(slices) > 1:
            raise UserError(f"{len(slices)} TPU slices: a run has one; start a larger one instead")
        if max(shape[:2]) < len(devices):
            return jax.make_mesh(shape, AXES, axis_types=types, devices=devices)
        devices = _along_sides(devices)
    elif devices[0].platform == "gpu":
        devices = sorted(devices, key=lambda device: device.id)
    return Mesh(np.array(devices).reshape(shape), AXES, axis_types=types)


def _along_sides(devices: Sequence[Any]) -> list[Any]:
    """The devices of a TPU slice by their place in it, the longest side varying slowest."""
    places = np.array([device.coords for device in devices])
    sides = np.argsort(-np.ptp(places, axis=0), kind="stable")
    return sorted(
        devices,
        key=lambda device: (*(device.coords[side] for side in sides), device.core_on_chip),
    )


def validate_mesh(config: Config, device_count: int, platform: str) -> None:
    """Refuses a model or a batch that the devices cannot share.

    Args:
        config: the run's.
        device_count, platform: of the devices; "tpu", "gpu" or "cpu".

    Raises:
        UserError: as `mesh_shape`, `check_heads` for a tensor group, or `validate_batches`; or what
            ends the process within XLA's CPU compiler (jax 0.10 and 0.12).
    """
    data, fsdp, tensor = mesh_shape(config.mesh, device_count)
    check_heads(config.model, tensor)
    validate_batches(config, device_count)
    summed = data * fsdp > 1 and config.train.gradient_dtype == "bfloat16"
    if summed and tensor > 1 and platform == "cpu":
        raise UserError(
            "train.gradient_dtype=bfloat16 with mesh.tensor above 1 beside mesh.data or mesh.fsdp: "
            "XLA's CPU compiler cannot do it; take one of them back here"
        )


def validate_batches(config: Config, device_count: int) -> None:
    """Refuses a batch that does not divide over the devices and microbatches: UserError."""
    data, fsdp, _ = mesh_shape(config.mesh, device_count)
    shards, parts = data * fsdp, config.train.accumulation
    for batch_size in (phase.batch_size for phase in phases(config)):
        if batch_size % (shards * parts):
            fits = math.gcd(batch_size // shards, parts)
            use = f"--train.accumulation={fits}" if batch_size % shards == 0 else "fewer devices"
            raise UserError(
                f"train.batch_size={batch_size} is not divisible by {shards} (mesh data x fsdp) x "
                f"{parts} (train.accumulation): use {use}, or another batch size"
            )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows split over data and fsdp, whole on every device of a tensor group."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def everywhere(value: Any, mesh: Mesh) -> Any:
    """An array that every process has, as one array on all devices of all processes."""
    return jax.jit(lambda value: value, out_shardings=replicated(mesh))(value)


def param_shardings(abstract_params: Any, axes: Any, mesh: Mesh) -> Any:
    """A sharding for every parameter.

    Args:
        abstract_params: the parameters or their shapes.
        axes: a tuple of logical names (or None) per parameter, one name per dimension; None in
            place of the whole tree keeps every parameter whole on every device.
        mesh: from `make_mesh`.

    Raises:
        UserError: an axis is not divisible by the mesh axis that it is split over, or a matrix has
            no axis that `fsdp` divides.
    """
    if axes is None:
        return jax.tree.map(lambda _: replicated(mesh), abstract_params)
    return jax.tree_util.tree_map_with_path(
        lambda path, value, names: _param_sharding(path, value.shape, names, mesh),
        abstract_params,
        axes,
    )


def _param_sharding(
    path: tuple[Any, ...], shape: tuple[int, ...], names: tuple[str | None, ...], mesh: Mesh
) -> NamedSharding:
    told = jax.tree_util.keystr(path, simple=True, separator="/")
    spec: list[str | None] = []
    for size, name in zip(shape, names, strict=True):
        axis = RULES.get(name) if name else None
        if axis in spec or (axis and mesh.shape[axis] == 1):
            axis = None  # a mesh axis can split only one dimension of an array
        if axis and size % mesh.shape[axis]:
            raise UserError(
                f"mesh.{axis}={mesh.shape[axis]} does not divide the {name!r} axis ({size}) of "
                f"{told}"
            )
        spec.append(axis)
    if (fsdp := mesh.shape["fsdp"]) > 1 and len(shape) > 1:
        whole = [n for n, axis in enumerate(spec) if axis is None and shape[n] % fsdp == 0]
        if not whole:
            raise UserError(f"mesh.fsdp={fsdp} divides no axis of {told} {list(shape)}")
        spec[whole[0]] = "fsdp"
    return NamedSharding(mesh, PartitionSpec(*spec))


def update_shardings(params: Any, shardings: Any) -> Any:
    """Where each parameter's gradient and moments lie: as it does, and cut over data as well.

    So every device keeps and updates its own part of them (Rajbhandari et al. 2019, ZeRO, section
    5.1). Biases and layer norms stay whole: cutting them saves nothing.

    Args:
        params: the parameters or their shapes.
        shardings: of the parameters, from `param_shardings`.
    """
    return jax.tree.map(lambda value, held: _cut_over_data(value.shape, held), params, shardings)


def _cut_over_data(shape: tuple[int, ...], held: NamedSharding) -> NamedSharding:
    """Along the first axis that divides, be it whole or cut by fsdp already."""
    data, fsdp = held.mesh.shape["data"], held.mesh.shape["fsdp"]
    spec = [*held.spec, *[None] * (len(shape) - len(held.spec))]
    if len(shape) < 2 or data == 1:
        return held
    for number, size in enumerate(shape):
        if spec[number] is None and size % data == 0:
            spec[number] = "data"
        elif spec[number] == "fsdp" and size % (fsdp * data) == 0:
            spec[number] = ("fsdp", "data")
        else:
            continue
        return NamedSharding(held.mesh, PartitionSpec(*spec))
    return held


def optimizer_shardings(
    optimizer: optax.GradientTransformation, abstract_params: Any, shardings: Any, mesh: Mesh
) -> Any:
    """Moments lie as `update_shardings` says, everything else is on every device."""
    return optax.tree_map_params(
        optimizer,
        lambda _, sharding: sharding,
        jax.eval_shape(optimizer.init, abstract_params),
        update_shardings(abstract_params, shardings),
        transform_non_params=lambda _: replicated(mesh),
    )


def own_rows(sharding: NamedSharding, rows: int) -> np.ndarray:
    """Which rows of a batch the devices of this process hold, in order: int64 [own rows].

    Where a tensor group spans processes, each of them holds its rows whole.
    """
    blocks = sharding.addressable_devices_indices_map((rows,)).values()
    return np.unique(np.concatenate([np.arange(rows)[block] for block in blocks]))


def put_batch(batch: dict[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """Starts moving a batch to the devices; each process gives its `own_rows`."""
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    blocks = math.prod(sharding.mesh.shape[axis] for axis in BATCH_AXES)
    own = own_rows(sharding, blocks)

    def place(rows: np.ndarray) -> jax.Array:
        """This process's rows [own, ...] as its part of the array of all rows [batch, ...]."""
        size = len(rows) // len(own)

        def block(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            first = np.searchsorted(own, (index[0].start or 0) // size) * size
            return rows[first : first + size]

        shape = (blocks * size, *rows.shape[1:])
        return jax.make_array_from_callback(shape, sharding, block)

    return {name: place(rows) for name, rows in batch.items()}
