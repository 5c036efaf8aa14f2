"""Lines as they stand, for files whose white space means something; see test_corpus.py too."""

from bertjax.text.text_files import read_lines


def test_white_space_is_kept_where_it_is_asked_for(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_bytes(b"\xef\xbb\xbf \tO\r\na\t\n\n  \nlast\r")
    assert list(read_lines(file, 1 << 20, strip=False)) == [" \tO", "a\t", "", "  ", "last"]
    assert list(read_lines(file, 1 << 20)) == ["O", "a", "", "", "last"]
