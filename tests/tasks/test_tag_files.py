"""Labelled files of words and of characters, and what is said about bad ones."""

import gzip

import pytest

from bertjax.errors import UserError
from bertjax.task_settings import Tagging
from bertjax.tasks.tag_files import REPAIRED, check_labels, labels_of, read_sentences
from bertjax.tasks.task import Notes

CONLL, KLUE = Tagging(), Tagging(layout="klue")
PEOPLE = "Ada\tB-per\nLovelace\tI-per\nsat\tO\n\nThere\tO\n"


def write(folder, text, name="a.conll"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(file, settings=CONLL, labelled=True, notes=None, known=()):
    notes = Notes() if notes is None else notes
    return list(read_sentences(file, settings, labelled, notes, known))


def shown(sentences):
    return [(" ".join(each.tokens), " ".join(each.labels)) for each in sentences]


def test_a_blank_line_separates_sentences_and_rows_are_line_numbers(tmp_path):
    found = read(write(tmp_path, "\n\n" + PEOPLE.replace("\n\n", "\n \t\n\r\n")))
    assert shown(found) == [("Ada Lovelace sat", "B-per I-per O"), ("There", "O")]
    assert [each.row for each in found] == [3, 8]


@pytest.mark.parametrize("space", ["\u3000", "\u00a0"])
def test_white_space_that_is_a_token_ends_no_sentence(tmp_path, space):
    found = read(write(tmp_path, f"a\n{space}\nb\n"), labelled=False)
    assert [each.tokens for each in found] == [("a", space, "b")]


@pytest.mark.parametrize(
    "text", [PEOPLE, PEOPLE.replace("\n", "\r\n"), "\ufeff" + PEOPLE, PEOPLE.rstrip()]
)
def test_line_ends_and_byte_order_marks_make_no_difference(tmp_path, text):
    assert len(shown(read(write(tmp_path, text)))) == 2
    assert read(write(tmp_path, text))[0].tokens == ("Ada", "Lovelace", "sat")


def test_compressed_files_are_read(tmp_path):
    file = write(tmp_path, gzip.compress(PEOPLE.encode()), "a.conll.gz")
    assert shown(read(file)) == shown(read(write(tmp_path, PEOPLE)))


def test_columns_are_cut_by_spaces_where_there_is_no_tab(tmp_path):
    file = write(tmp_path, "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n")
    assert shown(read(file)) == [("EU rejects", "B-ORG O")]
    assert shown(read(file, Tagging(column=2))) == [("EU rejects", "B-NP B-VP")]
    assert shown(read(file, Tagging(column=-2))) == [("EU rejects", "B-NP B-VP")]


def test_a_word_may_hold_spaces_where_columns_are_cut_by_tabs(tmp_path):
    (found,) = read(write(tmp_path, "New York\tB-loc\n\u00a0\tO\n"))
    assert found.tokens == ("New York", "\u00a0")


def test_docstart_lines_begin_documents_and_are_no_sentences(tmp_path):
    start = "-DOCSTART- -X- -X- O\n"
    file = write(
        tmp_path, f"{start}\na x y O\n\nb x y O\n{start}c x y O\n\n{start}\n{start}\nd O\n"
    )
    found = read(file)
    assert [(each.tokens, each.document) for each in found] == [
        (("a",), 1),
        (("b",), 1),
        (("c",), 2),
        (("d",), 4),
    ]


def test_characters_stand_one_to_a_line_and_a_space_is_one_of_them(tmp_path):
    text = "## 주석 : ##\n## id\t<김:PS> 씨\n김\tB-PS\n \tO\n씨\tO\n\n## id\t#\n#\tO\n\t\tO\n"
    found = read(write(tmp_path, text), KLUE)
    assert [each.tokens for each in found] == [("김", " ", "씨"), ("#", "\t")]
    assert [each.labels for each in found] == [("B-PS", "O", "O"), ("O", "O")]
    assert [each.row for each in found] == [3, 8]


def test_entities_that_begin_with_i_are_repaired_and_counted(tmp_path):
    notes = Notes()
    text = "a\tI-x\nb\tI-x\nc\tI-y\n\nd\tI-y\ne\tO\nf\tI-x\n"
    found = read(write(tmp_path, text), notes=notes)
    assert [each.labels for each in found] == [("B-x", "I-x", "B-y"), ("B-y", "O", "B-x")]
    assert notes.counts == {REPAIRED: 4}
    assert notes.first == {REPAIRED: "line 1"}


def test_columns_that_are_not_read_are_told_unless_the_last_is_a_label(tmp_path):
    notes = Notes()
    read(write(tmp_path, "a NN O\nb NN B-x\n"), labelled=False, notes=notes)
    read(write(tmp_path, "a O NN\nb B-x NN\n"), Tagging(column=1), labelled=False, notes=notes)
    assert not notes.counts
    found = read(write(tmp_path, "a\tb\n\nthis is\ntext too\n"), labelled=False, notes=notes)
    assert [each.tokens for each in found] == [("a",), ("this", "text")]
    assert notes.counts == {"rows whose further columns are not read": 3}
    assert notes.first == {"rows whose further columns are not read": "line 1"}


def test_nothing_is_noted_where_nothing_is_repaired(tmp_path):
    notes = Notes()
    read(write(tmp_path, PEOPLE), notes=notes)
    assert not notes.counts


@pytest.mark.parametrize(
    ("settings", "text", "tokens"),
    [
        (CONLL, "one\tDET\ntwo\tNOUN\n\nthree four\n", [("one", "two"), ("three",)]),
        (KLUE, "하\n \n나\tO\n\n둘\n", [("하", " ", "나"), ("둘",)]),
    ],
)
def test_without_labels_only_the_first_column_is_read(tmp_path, settings, text, tokens):
    found = read(write(tmp_path, text), settings, labelled=False)
    assert [each.tokens for each in found] == tokens
    assert {each.labels for each in found} == {()}


@pytest.mark.parametrize("layout", ["10\u00a0000 O\nEU B-org\n", "10\u00a0000\tO\nEU\tB-org\n"])
def test_only_spaces_and_tabs_divide_columns(tmp_path, layout):
    (sentence,) = read(write(tmp_path, layout), CONLL)
    assert sentence.tokens == ("10\u00a0000", "EU")


def test_running_text_without_labels_is_refused(tmp_path):
    file = write(tmp_path, "John lives in Paris .\nMary too .\n")
    with pytest.raises(
        UserError, match="line 2: 3 columns, the first row has 5; a row is one word"
    ):
        read(file, CONLL, labelled=False)


def test_sentences_are_read_as_they_are_asked_for(tmp_path):
    file = write(tmp_path, PEOPLE + "\nbad row\n")
    sentences = read_sentences(file, CONLL, True, Notes())
    assert next(sentences).tokens == ("Ada", "Lovelace", "sat")
    assert next(sentences).tokens == ("There",)
    with pytest.raises(UserError, match="line 7"):
        next(sentences)


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [
        (CONLL, "a\tO\nb\n", "line 2: too few columns (1)"),
        (Tagging(column=3), "a\tO\n", "line 1: too few columns (2)"),
        (Tagging(column=-3), "a O y z\n\nc O\n", "line 3: too few columns (2)"),
        (KLUE, "가\tO\n나\n", "line 2: too few columns (1)"),
        (KLUE, "가나\tO\n", "line 1: '가나' is not one character"),
        (KLUE, "\tO\n", "line 1: '' is not one character"),
        (CONLL, "a\tO\nb\tNN\n", "line 2: the label 'NN' is neither O nor B-TYPE nor I-TYPE"),
        (CONLL, "a\tE-per\n", "the label 'E-per'"),
        (CONLL, "a\tB-\n", "the label 'B-'"),
        (CONLL, "a\t\n", "the label ''"),
        (CONLL, "", "no sentences in it"),
        (CONLL, "\n \n-DOCSTART- O\n", "no sentences in it"),
        (KLUE, "## only a comment\n", "no sentences in it"),
        (CONLL, b"a\tO\n\xff\tO\n", "not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path, settings, text, message):
    file = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read(file, settings)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.conll: cannot be read"):
        read(tmp_path / "absent.conll")


def test_a_label_that_the_training_file_lacks_is_refused(tmp_path):
    known = labels_of(write(tmp_path, PEOPLE), CONLL)
    dev = write(tmp_path, "Paris\tB-loc\n", "dev.conll")
    with pytest.raises(UserError, match=r"dev.conll: line 1: unknown label 'B-loc'; .* are per "):
        read(dev, known=known)


def test_labels_are_o_and_both_of_every_type(tmp_path):
    file = write(tmp_path, "a\tI-y\nb\tB-x\n\nc\tO\n")
    assert labels_of(file, CONLL) == ("O", "B-x", "I-x", "B-y", "I-y")


def test_a_training_file_without_an_entity_is_refused(tmp_path):
    with pytest.raises(UserError, match="every label is O"):
        labels_of(write(tmp_path, "a\tO\n"), CONLL)


def test_a_file_without_blank_lines_is_refused_before_it_fills_the_memory(tmp_path):
    file = write(tmp_path, "a\tO\n" * 100_001)
    with pytest.raises(UserError, match="line 100001: no blank line in 100,000 lines"):
        read(file)


def test_labels_in_a_config_are_checked():
    check_labels(("O", "B-x", "I-x", "B-y"))
    with pytest.raises(UserError, match=r"task\.labels: I-x without B-x"):
        check_labels(("O", "I-x"))
    with pytest.raises(UserError, match=r"task\.labels: 'x' is neither"):
        check_labels(("O", "x"))
