"""Snappy's decompression (google/snappy, format_description.txt)."""

from bertjax.protobuf import read_varint


def decompress(data: bytes) -> bytes:
    """What was compressed into a single block.

    Raises:
        ValueError: no such block, or a damaged one.
    """
    size, at = read_varint(data, 0)
    output = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        kind, number = tag & 3, tag >> 2
        if kind == 0:  # bytes as they are; long ones have their length behind the tag
            width = max(number - 59, 0)
            length = 1 + (int.from_bytes(data[at : at + width], "little") if width else number)
            output += data[at + width : at + width + length]
            at += width + length
        else:  # bytes that stand further up
            width = (1, 2, 4)[kind - 1]
            offset = int.from_bytes(data[at : at + width], "little")
            at += width
            if kind == 1:
                offset, length = offset | number >> 3 << 8, 4 + (number & 7)
            else:
                length = 1 + number
            _repeat(output, offset, length)
    if at != len(data) or len(output) != size:
        raise ValueError("damaged")
    return bytes(output)


def _repeat(output: bytearray, offset: int, length: int) -> None:
    """Appends `length` bytes from `offset` before the end; what is appended may be read again."""
    if not 0 < offset <= len(output):
        raise ValueError("damaged")
    repeated = output[-offset:]
    output += (repeated * (length // offset + 1))[:length]
