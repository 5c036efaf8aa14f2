"""Models that split text as one file says and number the pieces as another does, as KoBERT's."""

from pathlib import Path
from typing import NamedTuple

import pytest
import sentencepiece as library

from bertjax.errors import UserError
from bertjax.text.tokenizer import load_tokenizer
from tests.text.test_sentencepiece import HARD_CASES, SPECIALS, TEXT, library_model

# KoBERT's first lines; what follows them is sorted.
FIRST = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]


class KoBert(NamedTuple):
    """A folder with both files, and what is in them."""

    folder: Path
    owner: library.SentencePieceProcessor  # none of BERT's special pieces, its own order
    tokens: list[str]


@pytest.fixture
def kobert(tmp_path):
    return write_kobert(tmp_path)


def write_kobert(folder, **options):
    """Both files in the folder; `options` for the trainer."""
    owner = library.SentencePieceProcessor(model_file=str(library_model(folder, **options)))
    pieces = pieces_of(owner)
    assert pieces[:3] == ["<unk>", "<s>", "</s>"]
    assert not set(SPECIALS) & set(pieces)
    return KoBert(folder, owner, write_tokens(folder, [*FIRST, *sorted(pieces[3:])]))


def pieces_of(owner):
    return [owner.id_to_piece(index) for index in range(owner.get_piece_size())]


def write_tokens(folder, tokens):
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    return tokens


@pytest.mark.parametrize("name", ["", "spiece.model"])
def test_the_id_of_a_piece_is_its_line(kobert, name):
    tokenizer = load_tokenizer(kobert.folder / name)
    tokens = [tokenizer.id_to_token(index) for index in range(tokenizer.vocab_size)]
    assert tokens == kobert.tokens
    ids = {token: index for index, token in enumerate(tokens)} | {"<unk>": 0}
    for text in [*TEXT, *HARD_CASES]:
        pieces = [kobert.owner.id_to_piece(index) for index in kobert.owner.encode(text)]
        assert tokenizer.encode(text) == [ids[piece] for piece in pieces]


def test_special_tokens_are_found_by_name_and_no_text_yields_them(kobert):
    tokenizer = load_tokenizer(kobert.folder)
    assert (tokenizer.unknown_id, tokenizer.pad_id) == (0, 1)
    assert (tokenizer.classifier_id, tokenizer.separator_id, tokenizer.mask_id) == (2, 3, 4)
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert not {1, 2, 3, 4} & set(tokenizer.encode(" ".join(FIRST)))


def test_korean_reads_back(kobert):
    tokenizer, text = load_tokenizer(kobert.folder), "대한민국의 수도는 서울이다."
    assert tokenizer.unknown_id not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_offsets_are_those_of_the_text(kobert):
    ids, offsets = load_tokenizer(kobert.folder).encode_with_offsets("한국어 문장")
    assert len(ids) == len(offsets)
    assert "".join("한국어 문장"[start:end] for start, end in offsets) == "한국어문장"


def test_what_is_saved_needs_no_list_of_pieces(kobert):
    tokenizer, copy = load_tokenizer(kobert.folder), kobert.folder / "copy"
    tokenizer.save(copy)
    assert [file.name for file in copy.iterdir()] == ["tokenizer.model"]
    assert load_tokenizer(copy).digest == tokenizer.digest
    assert load_tokenizer(copy).encode_batch(TEXT) == tokenizer.encode_batch(TEXT)


def test_a_list_in_the_models_own_order_changes_nothing(tmp_path):
    file = library_model(tmp_path, unk_piece="[UNK]", control_symbols=["[PAD]", *FIRST[2:]])
    alone = load_tokenizer(tmp_path)
    write_tokens(tmp_path, pieces_of(library.SentencePieceProcessor(model_file=str(file))))
    assert load_tokenizer(tmp_path).digest == alone.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tokens: tokens[:-1], "its piece .* is not in the vocabulary beside it"),
        (lambda tokens: [*tokens, tokens[7]], "the vocabulary beside it holds .* twice"),
        (lambda tokens: tokens[:4] + tokens[5:], r"lacks \[MASK\] or <mask>"),
    ],
    ids=["a piece is missing", "a piece is there twice", "a special token is missing"],
)
def test_a_list_of_another_model_is_refused(kobert, change, message):
    write_tokens(kobert.folder, change(kobert.tokens))
    with pytest.raises(UserError, match=f"^{kobert.folder / 'spiece.model'}: .*{message}"):
        load_tokenizer(kobert.folder)
