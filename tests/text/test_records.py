"""A tokenized document survives its on-disk form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.text.records import TokenizedDocument, decode_document, encode_document, id_dtype

sentences = st.lists(st.lists(st.integers(0, 65_535), min_size=1, max_size=20), max_size=20)


def document(rows: list[list[int]], dtype: type) -> TokenizedDocument:
    ids = np.array([token for row in rows for token in row], dtype)
    return TokenizedDocument(ids, np.array([len(row) for row in rows], np.int32))


@given(sentences, st.sampled_from([np.uint16, np.uint32]))
def test_decoding_gives_back_what_was_encoded(rows, dtype):
    read = decode_document(encode_document(document(rows, dtype)))
    ends = np.cumsum(read.sentence_lengths)[:-1] if rows else []
    assert [part.tolist() for part in np.split(read.token_ids, ends)][: len(rows)] == rows
    assert read.token_ids.dtype == dtype
    assert read.sentence_lengths.dtype == np.int32


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ids_take_two_bytes_up_to_65536_pieces(vocab_size, dtype):
    assert id_dtype(vocab_size) == dtype
    largest = np.array([vocab_size - 1], id_dtype(vocab_size))
    record = encode_document(TokenizedDocument(largest, np.array([1], np.int32)))
    assert decode_document(record).token_ids[0] == vocab_size - 1


def test_a_sentence_may_be_longer_than_65535_tokens():
    read = decode_document(encode_document(document([[7] * 70_000, [1]], np.uint16)))
    assert read.sentence_lengths.tolist() == [70_000, 1]


def test_a_token_costs_two_bytes_and_a_sentence_two():
    assert len(encode_document(document([[1, 2, 3], [4]], np.uint16))) == 8 + 2 * 2 + 4 * 2


@pytest.mark.parametrize("cut", [0, 5, 9, 13, 15])
def test_a_record_cut_short_is_refused(cut):
    record = encode_document(document([[1, 2, 3], [4]], np.uint16))
    with pytest.raises(ValueError, match="record"):
        decode_document(record[:cut])


def test_foreign_bytes_are_refused():
    with pytest.raises(ValueError, match="unknown header"):
        decode_document(b"no record at all")
