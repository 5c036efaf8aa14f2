from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.interop.snappy import decompress
from tests.interop.bundles import varint

FIXTURES = Path(__file__).parent.parent / "fixtures" / "google"
LITERALS = st.binary(min_size=1, max_size=70)
COPIES = st.tuples(st.integers(1, 60), st.integers(1, 64))  # how far back, how many
PARTS = st.lists(LITERALS | COPIES, max_size=8).map(lambda parts: [b"start", *parts])


def literal(content, widest=False):
    """The length stands in the tag, or in one to four bytes behind it."""
    if len(content) <= 60 and not widest:
        return bytes([len(content) - 1 << 2]) + content
    width = 4 if widest else 1
    tag = bytes([59 + width << 2])
    return tag + (len(content) - 1).to_bytes(width, "little") + content


def copy(offset, length, width):
    """One of the three ways to write it."""
    if width == 1:
        return bytes([offset >> 8 << 5 | length - 4 << 2 | 1, offset & 255])
    kind = {2: 2, 4: 3}[width]
    return bytes([length - 1 << 2 | kind]) + offset.to_bytes(width, "little")


@given(PARTS, st.sampled_from([1, 2, 4]), st.booleans())
def test_literals_and_copies_in_any_order(parts, width, widest):
    plain, packed = b"", b""
    for part in parts:
        if isinstance(part, bytes):
            plain, packed = plain + part, packed + literal(part, widest)
            continue
        offset, length = min(part[0], len(plain)), part[1]
        length = 4 + length % 8 if width == 1 else length
        packed += copy(offset, length, width)
        for _ in range(length):
            plain += plain[-offset : len(plain) - offset + 1]
    assert decompress(varint(len(plain)) + packed) == plain


def test_what_the_published_compressor_wrote():
    index = (FIXTURES / "pretrained" / "model.ckpt-1000000.index").read_bytes()
    assert decompress((FIXTURES / "index.snappy").read_bytes()) == index


@pytest.mark.parametrize(
    "data",
    [
        b"",
        varint(5) + literal(b"four"),
        varint(3) + literal(b"four"),
        varint(4) + literal(b"four")[:-1],
        varint(8) + literal(b"four") + copy(5, 4, 2),
        varint(8) + literal(b"four") + copy(0, 4, 2),
        varint(4) + literal(b"four") + bytes([2]),
    ],
    ids=["empty", "short", "long", "cut literal", "too far back", "from nowhere", "cut copy"],
)
def test_damage_is_noticed(data):
    with pytest.raises(ValueError, match="damaged"):
        decompress(data)
