"""Scalars as TensorBoard event files, written and read back without TensorFlow.

A file is a sequence of TFRecords (length, masked CRC of the length, bytes, masked CRC of the bytes;
tensorflow/core/lib/io/record_writer.cc), each holding one Event message (tensorflow/core/util/
event.proto) in protocol-buffer encoding.
"""

import struct
from collections.abc import Iterator, Mapping

from bertjax.protobuf import field, read_varint

EVENTS_FILE = "events.out.tfevents.0000000000.bertjax"


def file_header(wall_time: float) -> bytes:
    """The first record of an event file."""
    return _record(_event_start(wall_time, 0) + field(3, b"brain.Event:2"))


def scalars(step: int, wall_time: float, values: Mapping[str, float]) -> bytes:
    """One record with the scalars of one step."""
    summary = b"".join(
        field(1, field(1, tag.encode()) + field(2, float(value))) for tag, value in values.items()
    )
    return _record(_event_start(wall_time, step) + field(5, summary))


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (step, record) pairs of a file written here; ends at the first damaged record."""
    start = 0
    while start + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + 12 + length + 4
        event = data[start + 12 : end - 4]
        if end > len(data) or data[start:end] != _record(event):
            return
        yield _step(event), data[start:end]
        start = end


def _event_start(wall_time: float, step: int) -> bytes:
    return b"\x09" + struct.pack("<d", wall_time) + field(2, step)


def _step(event: bytes) -> int:
    return read_varint(event, 10)[0]  # after the 9 bytes of wall_time and the tag of step


def _record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return length + _masked_crc(length) + event + _masked_crc(event)


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc_table() -> list[int]:
    """CRC-32C (Castagnoli), reflected polynomial 0x82F63B78."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()
