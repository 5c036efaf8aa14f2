"""Rows of a table as inputs of the encoder: special tokens, segments, cutting, what is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.config import Classification
from bertjax.errors import UserError
from bertjax.tasks.task import Notes, TextInputs
from bertjax.tasks.text_records import example_of, kept_tokens, read_records
from tests.tasks.small_bert import TOKENIZER, WORDS

CLS, SEP = TOKENIZER.classifier_id, TOKENIZER.separator_id
PAIR = Classification(text="first", second="second")


def read(folder, rows, settings=PAIR, length=12, num_segments=2, with_targets=True):
    """Records of a table with these rows, and the notes."""
    columns = [name for name in (settings.text, settings.second, settings.label) if name]
    file = folder / "table.tsv"
    file.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))
    notes = Notes()
    inputs = TextInputs(TOKENIZER, length, num_segments)
    records = read_records(file, with_targets, notes, settings, inputs, float)
    return list(records), notes


def ids(*words):
    return TOKENIZER.encode(" ".join(words))


def test_a_pair_is_two_segments_between_special_tokens(tmp_path):
    (record,), notes = read(tmp_path, [(f"{WORDS[0]} {WORDS[1]}", WORDS[2], "3")])
    expected = [CLS, *ids(*WORDS[:2]), SEP, *ids(WORDS[2]), SEP]
    assert record.token_ids.tolist() == expected
    assert record.segment_ids.tolist() == [0, 0, 0, 0, 1, 1]
    assert (record.row, record.target, notes) == (2, 3.0, Notes())


def test_a_single_text_is_one_segment(tmp_path):
    settings = Classification(text="first")
    (record,), _ = read(tmp_path, [(WORDS[0], "1")], settings)
    assert record.token_ids.tolist() == [CLS, *ids(WORDS[0]), SEP]
    assert (record.segment_ids.tolist(), record.second) == ([0, 0, 0], None)


def test_special_tokens_in_a_text_are_text(tmp_path):
    (record,), _ = read(tmp_path, [("[SEP] [MASK]", "[CLS] [PAD]", "3")], length=64)
    assert record.token_ids.tolist().count(SEP) == 2  # those that end the two texts
    specials = {CLS, SEP, TOKENIZER.mask_id, TOKENIZER.pad_id}
    assert not specials & set(record.token_ids[1:-1].tolist()) - {SEP}


def test_a_model_with_one_segment_gets_no_other(tmp_path):
    (record,), _ = read(tmp_path, [(WORDS[0], WORDS[1], "1")], num_segments=1)
    assert record.segment_ids.tolist() == [0] * 5


def test_the_longer_text_is_cut_at_its_end_and_rows_that_are_cut_are_counted(tmp_path):
    rows = [(" ".join(WORDS[:20]), " ".join(WORDS[20:23]), "1"), (WORDS[0], WORDS[1], "1")]
    records, notes = read(tmp_path, rows)
    assert records[0].token_ids.tolist() == [CLS, *ids(*WORDS[:6]), SEP, *ids(*WORDS[20:23]), SEP]
    assert notes.counts == {"rows cut to 12 tokens": 1}
    assert notes.first == {"rows cut to 12 tokens": "row 2"}


def test_an_empty_text_is_kept_and_counted(tmp_path):
    records, notes = read(tmp_path, [("", WORDS[0], "1"), (WORDS[1], "", "0")])
    assert records[0].token_ids.tolist() == [CLS, SEP, *ids(WORDS[0]), SEP]
    assert notes.counts == {"rows with an empty text": 2}
    assert notes.first == {"rows with an empty text": "row 2"}


def test_without_targets_the_column_need_not_be_there(tmp_path):
    file = tmp_path / "input.tsv"
    file.write_text(f"first\tsecond\n{WORDS[0]}\t{WORDS[1]}\n")
    records = read_records(file, False, Notes(), PAIR, TextInputs(TOKENIZER, 12, 2), float)
    (record,) = records
    assert record.target is None
    assert example_of(record, "labels", np.int32).targets == {}


def test_a_label_that_means_nothing_is_told_with_its_row(tmp_path):
    with pytest.raises(UserError, match=r"table.tsv: row 3: could not convert string to float"):
        read(tmp_path, [(WORDS[0], WORDS[1], "1"), (WORDS[0], WORDS[1], "one")])


def test_rows_beyond_those_tokenized_together_follow_in_order(tmp_path):
    rows = [(WORDS[number % len(WORDS)], WORDS[0], str(number)) for number in range(600)]
    records, _ = read(tmp_path, rows)
    assert [record.target for record in records] == list(range(600))
    assert [record.token_ids[1] for record in records] == [ids(row[0])[0] for row in rows]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_tokens_go_one_by_one_from_the_longer_text_and_from_the_second_of_two_equals(
    first, second, room
):
    kept = [first, second]
    while sum(kept) > room:
        kept[0 if kept[0] > kept[1] else 1] -= 1
    assert kept_tokens(first, second, room) == tuple(kept)
