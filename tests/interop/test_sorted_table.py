"""Tables written here by the published format; test_tensor_bundle has TensorFlow's own."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.interop.crc32c import crc32c
from bertjax.interop.sorted_table import read_table, read_varint

TABLES = st.dictionaries(st.binary(max_size=20), st.binary(max_size=200), min_size=1, max_size=30)


def varint(number):
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def block_of(entries, compression=0):
    """A block whose keys share what they can with the key before, and its trailer."""
    block, before = b"", b""
    for key, value in entries:
        shared = next(
            (n for n, (a, b) in enumerate(zip(key, before, strict=False)) if a != b),
            min(len(key), len(before)),
        )
        block += varint(shared) + varint(len(key) - shared) + varint(len(value))
        block += key[shared:] + value
        before = key
    block += struct.pack("<II", 0, 1) + bytes([compression])
    checksum = crc32c(block)
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return block + struct.pack("<I", masked)


def table_of(entries, per_block=3, compression=0):
    """A table of several blocks."""
    data, index = b"", []
    items = sorted(entries.items())
    for start in range(0, len(items), per_block):
        block = block_of(items[start : start + per_block], compression)
        last_key = items[start : start + per_block][-1][0]
        index.append((last_key, varint(len(data)) + varint(len(block) - 5)))
        data += block
    handles = varint(0) + varint(0)
    index_block = block_of(index)
    handles += varint(len(data)) + varint(len(index_block) - 5)
    return data + index_block + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_numbers_read_back(number, before):
    data = before + varint(number)
    assert read_varint(data + b"rest", len(before)) == (number, len(data))


@given(TABLES, st.integers(1, 5))
def test_every_key_and_value_reads_back(entries, per_block):
    assert read_table(table_of(entries, per_block)) == entries


@given(TABLES, st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(entries, data):
    table = bytearray(table_of(entries))
    table[data.draw(st.integers(0, len(table) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_table(bytes(table))
    except ValueError:
        return
    assert found == entries


@given(TABLES, st.data())
def test_a_truncated_table_is_refused(entries, data):
    table = table_of(entries)
    with pytest.raises(ValueError, match=r"truncated|damaged"):
        read_table(table[: data.draw(st.integers(0, len(table) - 1))])


def test_a_compressed_table_is_named():
    with pytest.raises(ValueError, match="compressed, which is not supported"):
        read_table(table_of({b"key": b"value"}, compression=1))
