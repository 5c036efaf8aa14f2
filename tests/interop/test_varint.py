import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.interop.varint import read_varint
from tests.interop.bundles import varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_numbers_read_back(number, before):
    data = before + varint(number)
    assert read_varint(data + b"rest", len(before)) == (number, len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff"])
def test_a_number_that_does_not_end_is_refused(data):
    with pytest.raises(ValueError, match="damaged"):
        read_varint(data, 0)
