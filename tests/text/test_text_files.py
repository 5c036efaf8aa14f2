"""Lines as they stand, for files whose white space means something; see test_corpus.py too."""

import pytest

from bertjax.errors import UserError
from bertjax.text.text_files import read_lines


def test_white_space_is_kept_where_it_is_asked_for(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_bytes(b"\xef\xbb\xbf \tO\r\na\t\n\n  \nlast\r")
    assert list(read_lines(file, 1 << 20, strip=False)) == [" \tO", "a\t", "", "  ", "last"]
    assert list(read_lines(file, 1 << 20)) == ["O", "a", "", "", "last"]


@pytest.mark.parametrize("content", [b"12345678\n" * 3 + b"123456789\n", b"1\n2\n3\n" + b"4" * 99])
def test_a_line_that_is_too_long_is_told_by_its_number(tmp_path, content):
    file = tmp_path / "a.tsv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"a.tsv: line 4 is longer than 0 MiB"):
        list(read_lines(file, 9, cut_long=False))


def test_a_line_that_is_cut_counts_once(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"one two three four\n\xff\n")
    with pytest.raises(UserError, match=r"a.txt: line 2: not UTF-8 text .bad byte 0xff at"):
        list(read_lines(file, 8))
