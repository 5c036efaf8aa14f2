"""Fields and numbers of protocol buffers, read back as they were written."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.protobuf import field, read_fields, read_varint, varint

NUMBERS = st.integers(0, 2**64 - 1)


@given(NUMBERS, st.binary(max_size=3))
def test_numbers_read_back(number, before):
    data = before + varint(number)
    assert read_varint(data + b"rest", len(before)) == (number, len(data))


def test_numbers_are_written_as_the_format_says():
    # The example of https://protobuf.dev/programming-guides/encoding
    assert varint(150) == b"\x96\x01"
    assert field(1, 150) == b"\x08\x96\x01"
    assert field(2, b"testing") == b"\x12\x07testing"
    assert field(3, 1.5) == b"\x1d" + struct.pack("<f", 1.5)


@given(st.lists(st.tuples(st.integers(1, 2**20), NUMBERS | st.binary(max_size=300))))
def test_fields_read_back_in_order(fields):
    message = b"".join(field(number, value) for number, value in fields)
    assert list(read_fields(message)) == fields


def test_numbers_of_fixed_size_are_bytes():
    message = field(1, 2.5) + b"\x11" + bytes(range(8)) + field(3, 7)
    assert list(read_fields(message)) == [(1, struct.pack("<f", 2.5)), (2, bytes(range(8))), (3, 7)]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff"])
def test_a_number_that_does_not_end_is_refused(data):
    with pytest.raises(ValueError, match="damaged"):
        read_varint(data, 0)


@pytest.mark.parametrize("data", [b"\x0a\x05four", b"\x0d\x00", b"\x0b\x00", b"\x08"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError, match="damaged"):
        list(read_fields(data))
