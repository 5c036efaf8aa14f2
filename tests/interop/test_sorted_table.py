"""Tables written here by the published format; test_tensor_bundle has TensorFlow's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.interop.sorted_table import read_table
from tests.interop.bundles import table_of

TABLES = st.dictionaries(st.binary(max_size=20), st.binary(max_size=200), min_size=1, max_size=30)


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


def test_compressed_blocks_are_read():
    entries = {b"key": b"value", b"king": b"value" * 10}
    assert read_table(table_of(entries, compression=1)) == entries


def test_an_unknown_compression_is_named():
    with pytest.raises(ValueError, match=r"unknown compression \(7\)"):
        read_table(table_of({b"key": b"value"}, compression=7))
