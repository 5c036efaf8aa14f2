"""Which piece bears whose label, and how labels come back from pieces to words and characters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.tasks.entities import well_formed
from bertjax.tasks.tag_pieces import character_pieces, first_tokens, spread, word_pieces
from bertjax.text.tokenizer import train_sentencepiece
from bertjax.text.wordpiece import WordPieceSettings, make_wordpiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, "ada", "love", "##la", "##ce", ".", "서울", "##시", "##은", "김", "##모"]
WORDPIECE = make_wordpiece(VOCABULARY, WordPieceSettings(cased=False, recompose=True), "here")
UNKNOWN = WORDPIECE.unknown_id


@pytest.fixture(scope="module")
def sentencepiece():
    lines = ["서울시 은 김모 씨 는 서울 에", "김모 는 서울시 은 에"] * 20
    return train_sentencepiece(lines, vocab_size=17, cased=True)


def tokens_of(tokenizer, pieces):
    return [tokenizer.id_to_token(index) for index in pieces.ids]


def test_the_first_piece_of_a_word_bears_its_label():
    pieces = word_pieces(WORDPIECE, ["Ada", "Lovelace", "."])
    assert tokens_of(WORDPIECE, pieces) == ["ada", "love", "##la", "##ce", "."]
    assert pieces.owners == [0, 1, 4]


@pytest.mark.parametrize("nothing", ["", "\u200d", "\u00ad", " ", "\u0301"])
def test_a_word_that_the_tokenizer_turns_into_nothing_is_unknown(nothing):
    assert WORDPIECE.encode(nothing) == []
    pieces = word_pieces(WORDPIECE, ["Ada", nothing, "."])
    assert pieces.ids == [5, UNKNOWN, 9]
    assert pieces.owners == [0, 1, 2]


def test_a_special_token_in_the_text_is_text():
    for pieces in (word_pieces(WORDPIECE, ["[MASK]"]), character_pieces(WORDPIECE, "[SEP]")):
        assert not set(pieces.ids) & {WORDPIECE.mask_id, WORDPIECE.separator_id}


def test_a_piece_bears_the_labels_of_its_characters_but_not_of_spaces():
    pieces = character_pieces(WORDPIECE, "서울시은 김모.")
    assert tokens_of(WORDPIECE, pieces) == ["서울", "##시", "##은", "김", "##모", "."]
    assert pieces.owners == [0, 0, 1, 2, -1, 3, 4, 5]


def test_characters_without_a_piece_have_no_owner():
    pieces = character_pieces(WORDPIECE, "김\u200d모 \u200d은")
    assert tokens_of(WORDPIECE, pieces) == ["김", "##모", "[UNK]"]
    assert pieces.owners == [0, -1, 1, -1, -1, 2]


def test_sentencepiece_marks_of_words_bear_nothing(sentencepiece):
    text = "  서울시  에 김모"
    pieces = character_pieces(sentencepiece, text)
    borne = [text[place] for place, owner in enumerate(pieces.owners) if owner >= 0]
    assert "".join(borne) == "서울시에김모"
    marks = {sentencepiece.token_to_id("\u2581")} - {None}
    bearers = {pieces.ids[owner] for owner in pieces.owners if owner >= 0}
    assert not bearers & marks


def test_pieces_that_share_a_character_leave_its_label_to_the_first():
    # As Google's uncased vocabularies, which take syllables apart.
    jamo = [*SPECIAL, "\u1100", "##\u1100", "##\u1161", "b"]
    tokenizer = make_wordpiece(jamo, WordPieceSettings(cased=False), "here")
    pieces = character_pieces(tokenizer, "가가 b")
    assert tokens_of(tokenizer, pieces) == ["\u1100", "##\u1161", "##\u1100", "##\u1161", "b"]
    assert pieces.owners == [0, 2, -1, 4]
    assert [list(found) for found in first_tokens(pieces.owners)] == [[0, 2, 4], [0, 1, 3]]


def test_pieces_with_a_label_have_the_label_of_their_first_token():
    pieces, tokens = first_tokens([0, 0, -1, 1, 3, 3, -1])
    assert pieces.tolist() == [0, 1, 3]
    assert tokens.tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("labels", "owners", "expected"),
    [
        ("B-a O", [0, 0, 0, 1, 1], "B-a I-a I-a O O"),
        ("B-a I-a B-a", [0, 0, 1, 1, 2, 2], "B-a I-a I-a I-a B-a I-a"),
        ("B-a I-a", [0, -1, 1], "B-a I-a I-a"),
        ("B-a B-a", [0, -1, -1, 1], "B-a O O B-a"),
        ("B-a O", [-1, 0, -1, 1, -1], "O B-a O O O"),
        ("O I-a I-b", [0, 1, -1, 2], "O B-a O B-b"),
        ("I-a I-a", [0, 0, -1, -1, 1, 1], "B-a I-a I-a I-a I-a I-a"),
        ("B-a I-b I-c O", [0, 3], "B-a O"),
        ("", [-1, -1], "O O"),
        ("", [], ""),
    ],
)
def test_labels_spread_over_tokens(labels, owners, expected):
    tokens = [" " if owner < 0 else "x" for owner in owners]
    assert spread(labels.split(), owners, tokens) == expected.split()


@pytest.mark.parametrize("mark", ["\ufe0f", "\u200b", "\u00ad"])
@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("김모*은", "B-a I-a O", "B-a I-a I-a O"),
        ("김*모은", "B-a I-a O", "B-a I-a I-a O"),
        ("김모* 은", "B-a I-a O", "B-a I-a I-a O O"),
        ("김 *모은", "B-a I-a O", "B-a I-a I-a I-a O"),
        ("김 *모은", "B-a O O", "B-a O O O O"),
        ("김*모은", "B-a B-b O", "B-a I-a B-b O"),
        ("*김모은", "B-a I-a O", "O B-a I-a O"),
        ("은*김모", "O B-a I-a", "O O B-a I-a"),
    ],
)
def test_a_mark_that_takes_no_room_belongs_to_the_entity_right_before_it(
    mark, text, labels, expected
):
    bears = [character in "김모은" for character in text]
    owners = [sum(bears[:place]) if own else -1 for place, own in enumerate(bears)]
    assert spread(labels.split(), owners, text.replace("*", mark)) == expected.split()


LABELS = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])


@settings(deadline=None)
@given(st.lists(LABELS, min_size=1, max_size=20))
def test_words_get_their_labels_back(labels):
    pieces = word_pieces(WORDPIECE, ["Lovelace"] * len(labels))
    by_piece = ["O"] * len(pieces.ids)
    for label, owner in zip(labels, pieces.owners, strict=True):
        by_piece[owner] = label
    assert spread(by_piece, pieces.owners, ["Lovelace"] * len(labels)) == well_formed(labels)


@settings(deadline=None)
@given(st.text(st.sampled_from("서울시은김모. a\u200d漢"), max_size=30), st.data())
def test_whatever_is_predicted_for_pieces_gives_well_formed_labels(text, data):
    pieces = character_pieces(WORDPIECE, text)
    size = len(pieces.ids)
    predicted = data.draw(st.lists(LABELS, min_size=size, max_size=size))
    labels = spread(predicted, pieces.owners, text)
    assert len(labels) == len(text)
    assert well_formed(labels) == labels
    for character, owner, label in zip(text, pieces.owners, labels, strict=True):
        if owner >= 0:
            assert (label == "O") == (predicted[owner] == "O"), character
