"""What a checkpoint says about itself, and how that is checked.

Kept with the arrays in the step's folder: the caller's metadata, the criterion of the best, and
every array's shape, dtype and digest, guarded by a checksum of its own.
"""

import json
import math
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from flax import traverse_util

from bertjax.errors import UserError
from bertjax.train.digest import digest_arrays, named_leaves
from bertjax.train.storage import DamagedError, is_finished, read_metadata


@dataclass(frozen=True)
class SavedArray:
    """What the record says about one array."""

    shape: list[int]
    dtype: str
    digest: int


@dataclass(frozen=True)
class Record:
    """What is known about a checkpoint without reading its arrays."""

    metadata: dict[str, Any]
    criterion: float | None
    arrays: dict[str, SavedArray]  # by name, such as params/encoder/0/kernel


def describe(state: Any, digests: dict[str, int]) -> dict[str, SavedArray]:
    """What to record about every array of a state."""
    return {
        name: SavedArray(list(leaf.shape), str(leaf.dtype), digests[name])
        for name, leaf in named_leaves(state).items()
    }


def pack(record: Record) -> dict[str, Any]:
    """The record as JSON values with its checksum; `read_record` undoes it."""
    text = json.dumps(asdict(record))
    return {"record": text, "crc32": zlib.crc32(text.encode())}


def list_steps(folder: epath.Path) -> list[int]:
    """Every step whose folder has been written to the end, damaged or not, in order."""
    entries = folder.iterdir() if folder.is_dir() else ()  # a bucket has no empty folders
    steps = [entry for entry in entries if entry.name.isdecimal()]
    return sorted(int(entry.name) for entry in steps if is_finished(entry))


def step_folders(folder: epath.Path) -> list[epath.Path]:
    """The step folders of a run, of its checkpoints, or the one that is given, newest first."""
    if not folder.is_dir():
        return []
    if (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    elif folder.name.isdecimal() and folder.parent.name == "checkpoints":
        return [folder]
    return [folder / str(step) for step in reversed(list_steps(folder))]


def read_record(folder: epath.Path) -> Record:
    """The record of the checkpoint in a step's folder; raises DamagedError."""
    packed = read_metadata(folder)
    text = str(packed.get("record"))
    if zlib.crc32(text.encode()) != packed.get("crc32"):
        raise DamagedError("its metadata is not what was saved")
    record = json.loads(text)
    arrays = {name: SavedArray(**array) for name, array in record["arrays"].items()}
    return Record(record["metadata"], record["criterion"], arrays)


def criterion_of(folder: epath.Path) -> float:
    """What the best checkpoint has least of."""
    try:
        criterion = read_record(folder).criterion
    except DamagedError:
        return math.inf
    return math.inf if criterion is None else criterion


def check_shapes(folder: epath.Path, saved: dict[str, SavedArray], abstract: Any) -> None:
    """Refuses a checkpoint of other arrays than those of `abstract`.

    Raises:
        UserError: names the first array that is missing, of another shape or dtype, or too many.
    """
    advice = "use the config that it was trained with"
    wanted = named_leaves(abstract)
    for name, leaf in wanted.items():
        if name not in saved:
            raise UserError(f"{folder}: holds no {name}, which this config has; {advice}")
        shape, dtype = tuple(saved[name].shape), saved[name].dtype
        if (shape, dtype) != (leaf.shape, str(leaf.dtype)):
            raise UserError(
                f"{folder}: {name} is {dtype} {shape} there, "
                f"{leaf.dtype} {leaf.shape} in this config; {advice}"
            )
    if extra := [name for name in saved if name not in wanted]:
        raise UserError(f"{folder}: holds {extra[0]}, which this config lacks; {advice}")


def check_digests(saved: dict[str, SavedArray], state: Any) -> None:
    """Compares the arrays of `state` with what was saved; raises DamagedError at a difference."""
    for name, digest in digest_arrays(state).values.items():
        if digest != saved[name].digest:
            raise DamagedError(f"{name} is not what was saved")


def abstract_params(record: Record) -> dict[str, Any]:
    """The nested dict of weights that a record describes, on this process's first device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    arrays = {
        name: jax.ShapeDtypeStruct(tuple(array.shape), jnp.dtype(array.dtype), sharding=sharding)
        for name, array in record.arrays.items()
        if name.startswith("params/")
    }
    return traverse_util.unflatten_dict(arrays, sep="/")["params"]
