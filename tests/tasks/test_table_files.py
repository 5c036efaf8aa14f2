"""Labelled tables: which files are read, what of them, and what is refused in one line."""

import csv
import gzip
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.errors import UserError
from bertjax.tasks.table_files import read_table
from tests.train.bucket import use_bucket

COLUMNS = {"text": "sentence", "label": "label"}
ROWS = [("a fine film", "1"), ('she said "no', "0"), ("영화 참 좋다", "1")]


def written(folder, name, text):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def values(path, columns=COLUMNS):
    return [tuple(row.values[field] for field in columns) for row in read_table(path, columns)]


def as_tsv(rows):
    return "".join(f"{text}\t{label}\n" for text, label in [("sentence", "label"), *rows])


def as_json(rows):
    lines = [json.dumps({"label": label, "sentence": text}) for text, label in rows]
    return "\n".join(lines)


def as_csv(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("sentence", "label"), *rows])
    return path


def test_a_quote_in_a_tsv_file_is_a_character_like_any_other(tmp_path):
    assert values(written(tmp_path, "a.tsv", as_tsv(ROWS))) == ROWS


def test_txt_is_read_as_tsv_and_compression_by_its_suffix(tmp_path):
    data = gzip.compress(as_tsv(ROWS).encode())
    assert values(written(tmp_path, "ratings.txt.gz", data)) == ROWS


def test_a_quoted_csv_field_holds_commas_quotes_and_line_breaks(tmp_path):
    rows = [*ROWS, ("one, two\nthree", "0"), ("after it", "1")]
    path = as_csv(tmp_path / "a.csv", rows)
    assert values(path) == rows
    assert [row.number for row in read_table(path, COLUMNS)] == [2, 3, 4, 5, 7]


def test_a_whole_label_in_json_is_one_whether_it_has_a_point_or_not(tmp_path):
    text = '{"sentence": 2.0, "label": 1.0}\n{"sentence": "1.0", "label": 1}\n'
    path = written(tmp_path, "a.jsonl", text)
    assert values(path) == [("2.0", "1"), ("1.0", "1")]
    assert [row.values["label"] for row in read_table(path, COLUMNS, ("1.0", "1"))] == ["1.0", "1"]


def test_json_lines_take_numbers_and_truth_values_as_they_are_written(tmp_path):
    text = '{"sentence": "a", "label": 1}\n\n{"label": true, "sentence": "b"}\n'
    path = written(tmp_path, "a.jsonl", text)
    assert values(path) == [("a", "1"), ("b", "true")]
    assert [row.number for row in read_table(path, COLUMNS)] == [1, 3]


def test_other_columns_blank_lines_white_space_and_windows_line_ends_do_not_matter(tmp_path):
    text = "\ufeffid\tlabel\tsentence\r\n7\t 1 \t a b \r\n\r\n8\t0\t\r\n"
    path = written(tmp_path, "a.tsv", text)
    assert values(path) == [("a b", "1"), ("", "0")]
    assert [row.number for row in read_table(path, COLUMNS)] == [2, 4]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_in_a_table_of_one_column_an_empty_line_is_a_row(tmp_path, name):
    path = written(tmp_path, name, "text\nhello\n\nworld\n")
    rows = list(read_table(path, {"text": "text"}))
    assert [(row.number, row.values["text"]) for row in rows] == [
        (2, "hello"),
        (3, ""),
        (4, "world"),
    ]


def test_a_suffix_may_be_in_capital_letters(tmp_path):
    path = written(tmp_path, "A.TSV", "sentence\tlabel\na\t1\n")
    assert values(path) == [("a", "1")]


def test_half_a_surrogate_pair_in_json_is_replaced(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"sentence": "a \\ud83d b", "label": "1"}')
    assert values(path) == [("a \ufffd b", "1")]


@pytest.mark.parametrize(("written_as", "asked_as"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl"])
def test_a_column_is_found_in_whichever_normal_form_it_is_named(
    tmp_path, name, written_as, asked_as
):
    column, asked = (unicodedata.normalize(form, "문장") for form in (written_as, asked_as))
    text = f"{column}\tlabel\na\t1\n" if name == "a.tsv" else json.dumps({column: "a", "label": 1})
    path = written(tmp_path, name, text)
    assert values(path, {"text": asked, "label": "label"}) == [("a", "1")]


def test_a_column_in_both_normal_forms_is_there_twice(tmp_path):
    names = [unicodedata.normalize(form, "문장") for form in ("NFC", "NFD")]
    path = written(tmp_path, "a.tsv", "\t".join([*names, "label"]) + "\na\tb\t1\n")
    with pytest.raises(UserError, match="2 columns '문장'"):
        values(path, {"text": names[0], "label": "label"})


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    path = written(tmp_path, "a.tsv", as_tsv(ROWS) + "too few\n")
    rows = read_table(path, COLUMNS)
    assert [next(rows).number for _ in ROWS] == [2, 3, 4]
    with pytest.raises(UserError, match="row 5: 1 field, but the header has 2"):
        next(rows)


FIELDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=5))
def test_what_is_written_is_read_whatever_the_kind_of_file(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("table")
    assert values(written(folder, "a.tsv", as_tsv(rows))) == rows
    assert values(written(folder, "a.jsonl", as_json(rows))) == rows
    assert values(as_csv(folder / "a.csv", rows)) == rows


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "", "empty; its first line names the columns"),
        ("a.jsonl", "", "no rows in it"),
        ("a.tsv", "sentence\tlabel\n", "no rows in it"),
        (
            "a.tsv",
            "text\tlabel\na\t1\n",
            "no column 'sentence', which task.text names; there",
        ),
        (
            "a.tsv",
            "sentence\tx\na\t1\n",
            "no column 'label', which .* there are sentence, x",
        ),
        ("a.csv", "sentence,label,label\na,1,0\n", "2 columns 'label'"),
        ("a.csv", '"my\ntext",label\na,1\n', r"there are 'my\\ntext', label"),
        ("a.jsonl", '{"my\\ntext": 1, "label": 1}', r"there are 'my\\ntext', label"),
        ("a.tsv", "sentence\tlabel\ra\t1\rb\t0\r", "its lines end in a carriage return alone"),
        ("a.csv", "sentence,label\ra,1\rb,0\r", "its lines end in a carriage return alone"),
        ("a.csv", "sentence,label\na,1\nb\rc,0\n", "row 3: new-line character seen"),
        ("a.jsonl", '{"sentence": "a", "label": 1}\r{}\r', "its lines end in a carriage return al"),
        ("a.tsv", "sentence\tlabel\na\t1\nb\n", r"row 3: 1 field, but the header has 2 \(sentence"),
        ("a.csv", "sentence,label\na,b,1\n", "row 2: 3 fields, but the header has 2"),
        ("a.csv", 'sentence,label\na,1\n"b,1\nc,0\n', "row 3: unexpected end of data; a field"),
        ("a.csv", f'sentence,label\n"{"a" * 200_000}', "row 2: unexpected end of data; a field"),
        (
            "a.jsonl",
            '{"sentence": "a", "label": 1}\n{"sen',
            "row 2: not valid JSON .Unterminated",
        ),
        ("a.jsonl", "[" * 100_000, "row 1: cannot be read"),
        ("a.jsonl", '["a", 1]\n', "row 1: expected a JSON object"),
        ("a.jsonl", '{"sentence": "a"}\n', "row 1: no column 'label', which task.label names"),
        ("a.jsonl", '{"sentence": ["a"], "label": 1}', "row 1: 'sentence' must be a string or a n"),
        ("a.tsv", b"sentence\tlabel\ncaf\xe9\t1\n", "line 2: not UTF-8 text .bad byte 0xe9 at off"),
        ("a.tsv.gz", b"sentence\tlabel\n", "damaged or not a gz file"),
        ("a.xlsx", "sentence", "its name does not say what it holds: expected .tsv, .csv or .json"),
    ],
)
def test_what_is_wrong_is_told_with_the_row_in_one_line(tmp_path, name, text, message):
    path = written(tmp_path, name, text)
    with pytest.raises(UserError, match=message) as caught:
        list(read_table(path, COLUMNS))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"a\.tsv: cannot be read"):
        list(read_table(tmp_path / "a.tsv", COLUMNS))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A set such as `glue` holds, written as array_record: its `tfds:` name without a split."""
    import tensorflow_datasets as tfds

    class Pairs(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="plain", version="1.0.0"),)

        def _info(self):
            classes = tfds.features.ClassLabel(names=["different", "alike"])
            text = tfds.features.Text()
            features = {"sentence": text, "label": classes, "score": np.float32, "idx": np.int32}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples(1), "test": self._generate_examples(-1)}

        def _generate_examples(self, label):
            for number in range(300):
                row = {"sentence": f"문장 {number}", "label": label, "score": 3.75, "idx": number}
                yield number, row

    folder = tmp_path_factory.mktemp("tfds")
    builder = Pairs(data_dir=folder, config="plain", file_format="array_record")
    builder.download_and_prepare()
    return f"tfds:{folder}/pairs/plain/1.0.0"


def read_prepared(name, columns, labels=()):
    return list(read_table(Path(name), columns, labels))


def test_a_prepared_set_is_a_table_too(prepared):
    rows = read_prepared(f"{prepared}@train", COLUMNS | {"score": "score"})
    assert [row.number for row in rows] == list(range(1, 301))
    assert rows[7].values == {"text": "문장 7", "label": "alike", "score": "3.75"}


def test_a_prepared_set_may_lie_in_a_bucket(prepared, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    use_bucket(monkeypatch, tmp_path)
    asked, local = [], tfds.builder_from_directory(prepared.removeprefix("tfds:"))
    monkeypatch.setattr(
        tfds, "builder_from_directory", lambda folder: asked.append(str(folder)) or local
    )
    assert len(read_prepared("tfds:gs://bucket/pairs/1.0.0@train[:2]", COLUMNS)) == 2
    assert asked == ["gs://bucket/pairs/1.0.0"]


@pytest.mark.parametrize(
    ("labels", "label"),
    [((), "alike"), (("alike", "different"), "alike"), (("0", "1"), "1"), (("x", "y"), "alike")],
)
def test_a_class_goes_by_its_number_where_the_labels_are_numbers(prepared, labels, label):
    rows = read_prepared(f"{prepared}@train[:2]", COLUMNS, labels)
    assert [row.values["label"] for row in rows] == [label, label]


def test_a_hidden_class_is_no_label(prepared):
    assert read_prepared(f"{prepared}@test[:1]", COLUMNS)[0].values["label"] == ""


@pytest.mark.parametrize(
    ("suffix", "columns", "message"),
    [
        ("@dev", COLUMNS, "no split 'dev'; there are test, train"),
        ("", {"text": "text"}, "no column 'text', which task.text names; there are .*sentence"),
    ],
)
def test_what_a_prepared_set_lacks_is_told(prepared, suffix, columns, message):
    with pytest.raises(UserError, match=message):
        read_prepared(prepared + suffix, columns)
