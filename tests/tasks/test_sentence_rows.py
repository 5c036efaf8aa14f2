"""Sentences packed into rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.tasks import sentence_rows
from bertjax.tasks.sentence_rows import Window, most_sentences, pack_sentences, read_windows
from tests.tasks.small_bert import TOKENIZER, sentences

PAD = -1


def window(lengths):
    """Sentence number i holds i * 1000, i * 1000 + 1, ..."""
    ids = [1000 * number + np.arange(length) for number, length in enumerate(lengths)]
    return Window(np.concatenate(ids).astype(np.int32), np.array(lengths), 0)


def shapes(lengths, batch_tokens):
    return [batch.token_ids.shape for batch in pack_sentences(window(lengths), PAD, batch_tokens)]


@settings(deadline=None)
@given(st.lists(st.integers(2, 300), min_size=1, max_size=80), st.sampled_from([64, 512, 4096]))
def test_every_sentence_stands_once_in_one_piece_under_its_own_pair_id(lengths, batch_tokens):
    seen = []
    for batch in pack_sentences(window(lengths), PAD, batch_tokens):
        assert np.array_equal(batch.token_ids == PAD, batch.pair_ids == 0)
        assert batch.pair_ids.max() <= most_sentences(batch.token_ids.shape[1])
        for sentence, row, slot in zip(batch.sentences, batch.rows, batch.slots, strict=True):
            own = np.flatnonzero(batch.pair_ids[row] == slot + 1)
            expected = 1000 * sentence + np.arange(lengths[sentence])
            np.testing.assert_array_equal(batch.token_ids[row, own], expected)
            np.testing.assert_array_equal(own, own[0] + np.arange(len(own)))
        seen += batch.sentences.tolist()
        filled = {(row, slot) for row, slot in zip(batch.rows, batch.slots, strict=True)}
        assert len(filled) == len(batch.sentences)
    assert sorted(seen) == list(range(len(lengths)))


def test_a_window_of_prose_leaves_little_padding_and_few_shapes():
    lengths = np.clip(np.random.default_rng(0).lognormal(3.4, 0.5, 8192), 4, 256).astype(int)
    found = shapes(lengths.tolist(), 2048)
    assert sum(rows * length for rows, length in found) < 1.03 * lengths.sum()
    assert len(set(found)) <= 4


def test_a_single_sentence_is_a_single_row():
    assert shapes([10], 2048) == [(1, 64)]
    assert shapes([65], 2048) == [(1, 128)]


def test_a_few_sentences_of_all_lengths_share_one_shape():
    assert shapes([3, 60, 100, 20, 70, 8], 2048) == [(4, 128)]


def test_texts_are_cut_to_the_longest_length_and_counted():
    (found,) = read_windows(sentences([3, 8, 9, 20]), TOKENIZER, longest=10)
    np.testing.assert_array_equal(found.lengths, [5, 10, 10, 10])
    assert found.cut == 2
    ids = found.token_ids
    assert (ids[0], ids[4], ids[-1]) == (
        TOKENIZER.classifier_id,
        TOKENIZER.separator_id,
        TOKENIZER.separator_id,
    )
    assert ids[1:4].tolist() == TOKENIZER.encode(sentences([3])[0])


@pytest.mark.parametrize(("chunk", "characters"), [(3, 1 << 20), (1024, 20)])
def test_texts_are_read_in_chunks_of_bounded_size(monkeypatch, chunk, characters):
    texts = sentences([4] * 10)
    (whole,) = read_windows(texts, TOKENIZER, 50)
    monkeypatch.setattr(sentence_rows, "_CHUNK_SENTENCES", chunk)
    monkeypatch.setattr(sentence_rows, "_CHUNK_CHARACTERS", characters)
    monkeypatch.setattr(sentence_rows, "_WINDOW_SENTENCES", 6)
    parts = list(read_windows(iter(texts), TOKENIZER, 50))
    assert len(parts) == 2
    np.testing.assert_array_equal(
        np.concatenate([part.token_ids for part in parts]), whole.token_ids
    )
