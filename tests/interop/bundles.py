"""Writes what TensorFlow would, for checkpoints that no training leaves behind."""

import struct
from pathlib import Path

import numpy as np

from bertjax.interop.crc32c import crc32c

_DTYPES = {"float32": 1, "int64": 9, "float16": 19}


def write_bundle(prefix, arrays, byte_order=0):
    """PREFIX.index and its one data file."""
    data, table = b"", {b"": _field(1, 1) + _field(2, byte_order)}
    for name, array in sorted(arrays.items()):
        content = np.ascontiguousarray(array).tobytes()
        shape = b"".join(_field(2, _field(1, size)) for size in array.shape)
        table[name.encode()] = (
            _field(1, _DTYPES[array.dtype.name])
            + _field(2, shape)
            + _field(4, len(data))
            + _field(5, len(content))
            + varint(6 << 3 | 5)
            + _masked(content)
        )
        data += content
    Path(f"{prefix}.index").write_bytes(table_of(table))
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)


def table_of(entries, per_block=3, compression=0):
    """A sorted table of several blocks."""
    data, index = b"", []
    items = sorted(entries.items())
    for start in range(0, len(items), per_block):
        block = _block(items[start : start + per_block], compression)
        last_key = items[start : start + per_block][-1][0]
        index.append((last_key, varint(len(data)) + varint(len(block) - 5)))
        data += block
    index_block = _block(index)
    handles = varint(0) + varint(0) + varint(len(data)) + varint(len(index_block) - 5)
    return data + index_block + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def varint(number):
    """Groups of seven bits, the lowest first."""
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _block(entries, compression=0):
    """A block whose keys share what they can with the key before, and its trailer."""
    block, before = b"", b""
    for key, value in entries:
        differ = (n for n, (a, b) in enumerate(zip(key, before, strict=False)) if a != b)
        shared = next(differ, min(len(key), len(before)))
        block += varint(shared) + varint(len(key) - shared) + varint(len(value))
        block += key[shared:] + value
        before = key
    block += struct.pack("<II", 0, 1)
    if compression == 1:  # Snappy, without a single repetition
        block = varint(len(block)) + bytes([61 << 2]) + struct.pack("<H", len(block) - 1) + block
    block += bytes([compression])
    return block + _masked(block)


def _masked(data):
    checksum = crc32c(data)
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked)


def _field(number, value):
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
