"""Reading the sorted string table in which TensorFlow keeps the index of a checkpoint.

LevelDB's format (google/leveldb, doc/table_format.md): blocks of sorted keys and their values, an
index block that says where those lie, and a footer that says where the index block lies.
"""

import struct
from collections.abc import Iterator

from bertjax.interop.crc32c import crc32c
from bertjax.interop.snappy import decompress
from bertjax.protobuf import read_varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER_SIZE = 48  # two block handles, padding, magic number
_TRAILER_SIZE = 5  # type of compression, checksum
_PLAIN, _SNAPPY = 0, 1  # TensorFlow 2 does not compress, TensorFlow 1 did in part of its builds


def read_table(data: bytes) -> dict[bytes, bytes]:
    """Every key of the table and its value, every block checked against its checksum.

    Raises:
        ValueError: not a table, truncated or damaged; says which.
    """
    if len(data) < _FOOTER_SIZE or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise ValueError("truncated, or not the index of a checkpoint")
    footer = data[-_FOOTER_SIZE:]
    _, after_first = _handle(footer, 0)  # of a block that TensorFlow leaves empty
    place, _ = _handle(footer, after_first)
    table = {}
    for _, handle in _entries(_block(data, *place)):
        place, _ = _handle(handle, 0)
        table |= dict(_entries(_block(data, *place)))
    return table


def unmasked(checksum: int) -> int:
    """The CRC-32C that a stored one stands for: turned by 15 bits, with a constant added."""
    turned = (checksum - 0xA282EAD8) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size), and where its description ends."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER_SIZE > len(data):
        raise ValueError("truncated or damaged")
    compression, checksum = struct.unpack("<BI", data[end : end + _TRAILER_SIZE])
    if crc32c(data[offset : end + 1]) != unmasked(checksum):
        raise ValueError("damaged: the checksum of a block differs")
    block = data[offset:end]
    if compression not in (_PLAIN, _SNAPPY):
        raise ValueError(f"a block of an unknown compression ({compression})")
    return decompress(block) if compression == _SNAPPY else block


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys, each stored as what differs from the key before it, and values."""
    if len(block) < 4:
        raise ValueError("damaged")
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        added, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if at + added + size > end:
            raise ValueError("damaged")
        key = key[:shared] + block[at : at + added]
        yield key, block[at + added : at + added + size]
        at += added + size
