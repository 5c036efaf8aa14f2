import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bertjax.interop.crc32c import crc32c

RFC_3720 = [  # appendix B.4
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]


def bit_by_bit(data):
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "checksum"), RFC_3720)
def test_published_examples(data, checksum):
    assert crc32c(data) == checksum


@given(st.binary(max_size=300))
@example(b"")
def test_any_bytes_agree_with_the_definition(data):
    assert crc32c(data) == bit_by_bit(data)


@given(st.binary(min_size=1, max_size=40), st.sampled_from([1, 4, 5, 16, 64]))
def test_where_a_large_buffer_is_cut_does_not_matter(data, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bertjax.interop.crc32c._CHUNK", chunk)
        assert crc32c(data) == bit_by_bit(data)
