"""TensorFlow's checkpoints, read without TensorFlow: PREFIX.index and PREFIX.data-*-of-*.

The format is a "tensor bundle" (tensorflow/core/util/tensor_bundle and, for the fields' numbers,
tensorflow/core/protobuf/tensor_bundle.proto): the index is a table from names to places, the data
files hold the bare arrays.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from bertjax.errors import UserError
from bertjax.interop.crc32c import crc32c
from bertjax.interop.sorted_table import read_table, unmasked
from bertjax.protobuf import read_fields

# By their number in tensorflow/core/framework/types.proto.
_DTYPES: dict[int, Any] = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
    14: ml_dtypes.bfloat16,
    19: np.float16,
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies.

    Attributes:
        dtype: None for strings and other types that are no numbers.
        shape: of the whole tensor.
        shard: the number of its data file.
        offset, size: in bytes.
        checksum: CRC-32C of these bytes.
        partitioned: whether it is stored in slices, somewhere else.
    """

    dtype: np.dtype | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    partitioned: bool


@dataclass(frozen=True)
class TensorBundle:
    """A checkpoint's index: how many data files it has, and its tensors by name."""

    prefix: epath.Path
    shards: int
    entries: dict[str, Entry]


def open_bundle(prefix: epath.PathLike) -> TensorBundle:
    """Reads PREFIX.index, and looks whether the data files are all there and long enough.

    Raises:
        UserError: a file is missing or truncated, or the index is damaged or in the other byte
            order.
    """
    prefix = epath.Path(prefix)
    index = prefix.with_name(f"{prefix.name}.index")
    try:
        table = read_table(index.read_bytes())
        shards = _shards(table.pop(b"", b""))
        entries = {key: _entry(value) for key, value in table.items()}
        # Keys that begin with a zero byte are slices of partitioned variables.
        whole = {key.decode(): entries[key] for key in entries if not key.startswith(b"\0")}
    except OSError as error:
        raise UserError(f"{index}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{index}: {error}") from error
    bundle = TensorBundle(prefix, shards, whole)
    _refuse_incomplete(bundle, entries.values())
    return bundle


def read_tensor(bundle: TensorBundle, name: str) -> np.ndarray:
    """A tensor as it was saved, checked against its checksum.

    Raises:
        UserError: its bytes are damaged; it is partitioned or no array of numbers.
    """
    prefix, entry = bundle.prefix, bundle.entries[name]
    if entry.partitioned:
        raise UserError(f"{prefix}: {name} is a partitioned variable; save it again in one piece")
    if entry.dtype is None:
        raise UserError(f"{prefix}: {name} is no array of numbers")
    file = _data_file(bundle, entry.shard)
    with file.open("rb") as stream:
        stream.seek(entry.offset)
        data = stream.read(entry.size)
    if crc32c(data) != entry.checksum:
        raise UserError(f"{file}: damaged; the checksum of {name} differs")
    return np.frombuffer(data, entry.dtype).reshape(entry.shape)


def _data_file(bundle: TensorBundle, shard: int) -> epath.Path:
    name = f"{bundle.prefix.name}.data-{shard:05}-of-{bundle.shards:05}"
    return bundle.prefix.with_name(name)


def _refuse_incomplete(bundle: TensorBundle, entries: Iterable[Entry]) -> None:
    ends = dict.fromkeys(range(bundle.shards), 0)
    for entry in entries:
        ends[entry.shard] = max(ends.get(entry.shard, 0), entry.offset + entry.size)
    for shard, end in ends.items():
        file = _data_file(bundle, shard)
        try:
            size = file.stat().length
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from error
        if size < end:
            raise UserError(f"{file}: truncated; it has {size} bytes of {end}")


def _shards(header: bytes) -> int:
    """The number of data files, from the BundleHeaderProto that stands under the empty key."""
    fields = dict(read_fields(header))
    if fields.get(2, 0):
        raise ValueError("written on a big-endian machine, which is not supported")
    if 1 not in fields:
        raise ValueError("not the index of a checkpoint: it has no header")
    return fields[1]


def _entry(data: bytes) -> Entry:
    """Reads a BundleEntryProto."""
    fields = dict(read_fields(data))
    number = fields.get(1, 0)
    dtype = np.dtype(_DTYPES[number]) if number in _DTYPES else None
    axes = read_fields(fields.get(2, b""))  # of a TensorShapeProto
    shape = tuple(dict(read_fields(axis)).get(1, 0) for number, axis in axes if number == 2)
    size, partitioned = fields.get(5, 0), 7 in fields
    if dtype and not partitioned and size != math.prod(shape) * dtype.itemsize:
        raise ValueError("damaged: a tensor's size is not that of its shape")
    checksum = unmasked(int.from_bytes(fields.get(6, b""), "little"))
    return Entry(dtype, shape, fields.get(3, 0), fields.get(4, 0), size, checksum, partitioned)
