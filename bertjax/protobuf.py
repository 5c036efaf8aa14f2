"""Protocol buffers without their library: the fields of a message by number.

The encoding: https://protobuf.dev/programming-guides/encoding
"""

import struct
from collections.abc import Iterator
from typing import Any

_VARINT, _EIGHT_BYTES, _LENGTH_PREFIXED, _FOUR_BYTES = 0, 1, 2, 5
_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}


def read_fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The (number, value) pairs of a message, in the order they are written in.

    A value is a whole number, or bytes: a string, a message, or a number of fixed size.

    Raises:
        ValueError: not a message.
    """
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        wire_type = key & 7
        if wire_type == _VARINT:
            value, at = read_varint(data, at)
        elif wire_type == _LENGTH_PREFIXED or wire_type in _SIZES:
            size, at = (_SIZES[wire_type], at) if wire_type in _SIZES else read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("damaged")
        if at > len(data):
            raise ValueError("damaged")
        yield key >> 3, value


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends.

    Raises:
        ValueError: it does not end.
    """
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("damaged")


def field(number: int, value: int | float | bytes) -> bytes:
    """One field of a message: a whole number, a float32, or bytes (a string, a message)."""
    if isinstance(value, bytes):
        return varint(number << 3 | _LENGTH_PREFIXED) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | _FOUR_BYTES) + struct.pack("<f", value)
    return varint(number << 3 | _VARINT) + varint(value)


def varint(value: int) -> bytes:
    """A whole number from 0 up, in groups of seven bits."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
