"""A SentencePiece model run by the `tokenizers` library, against SentencePiece itself."""

import io
import unicodedata

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from bertjax.errors import UserError
from bertjax.interop.sentencepiece_backend import to_backend
from bertjax.interop.sentencepiece_model import read_model
from bertjax.text.tokenizer import train_sentencepiece
from tests.text.hard_cases import HARD_CASES
from tests.text.test_sentencepiece import KOBERT, SPECIALS, TEXT

HARDER_CASES = [
    *HARD_CASES,
    "▁the ▁ fox▁",
    "the<s> x</s>the <s>",
    "<0x0A>the<0x41><0x4<0xC3><0xA9> <0xZZ> ☃",
    "\u200b \u0301the fox \n",
    "ｶﾞｷﾞ Ａ\u0301 ㅎㅏㄴ ①Ⅷ㎏½",
    unicodedata.normalize("NFD", "Việt Nam, ǖ; 각 나라"),
]


def library_model(**options):
    """A model's file as SentencePiece itself makes it."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=model,
        minloglevel=2,
        **({"vocab_size": 100, "control_symbols": ["[MASK]"]} | KOBERT | options),
    )
    return model.getvalue()


def ids_of(data, texts):
    """Each text's ids by SentencePiece and by the converted model."""
    owner = sentencepiece.SentencePieceProcessor(model_proto=data)
    encodings = to_backend(data, SPECIALS).encode_batch(texts, add_special_tokens=False)
    return owner.encode(texts), [encoding.ids for encoding in encodings]


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("cased", [False, True])
def test_a_model_trained_here_cuts_hard_cases_alike(model_type, cased):
    model = train_sentencepiece(TEXT, 100, cased, model_type).model
    expected, found = ids_of(model, HARDER_CASES)
    assert found == expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model_type": "bpe"},
        {"normalization_rule_name": "nfkc"},
        {"normalization_rule_name": "nmt_nfkc_cf"},
        {"normalization_rule_name": "identity"},
        {"byte_fallback": True, "vocab_size": 360},
        {"byte_fallback": True, "vocab_size": 360, "model_type": "bpe"},
        {"control_symbols": ["<s>", "</s>", "[MASK]", "qu", "☃"]},
        {"control_symbols": ["<s>", "</s>", "[MASK]", "qu", "☃"], "model_type": "bpe"},
        {"byte_fallback": True, "vocab_size": 360, "add_dummy_prefix": False},
        {"add_dummy_prefix": False},
        {"remove_extra_whitespaces": False},
        {"user_defined_symbols": ["fox", "<num>"]},
        {"user_defined_symbols": ["[MASK]"], "control_symbols": [], "model_type": "bpe"},
        {"split_by_whitespace": False},
    ],
    ids=str,
)
def test_any_other_model_cuts_hard_cases_alike(options):
    expected, found = ids_of(library_model(**options), HARDER_CASES)
    assert found == expected


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def uncased(request):
    model = train_sentencepiece(TEXT, 100, cased=False, model_type=request.param)
    return model, to_backend(model.model, SPECIALS)


BUT_THE_BORDER = st.characters(exclude_categories=["Cs"], exclude_characters="\ufdd0")


@given(text=st.text(BUT_THE_BORDER, max_size=60))
def test_any_text_is_cut_alike_by_an_uncased_model(uncased, text):
    tokenizer, backend = uncased
    assert backend.encode(text, add_special_tokens=False).ids == tokenizer.encode(text)


def test_pieces_scores_and_rules_are_read_from_the_file():
    data = library_model(user_defined_symbols=["fox"], add_dummy_prefix=False)
    model = read_model(data)
    owner = sentencepiece.SentencePieceProcessor(model_proto=data)
    assert [piece.text for piece in model.pieces] == owner.id_to_piece(list(range(100)))
    assert [piece.score for piece in model.pieces] == owner.get_score(list(range(100)))
    kinds = {owner.is_unknown: 2, owner.is_control: 3}
    for kind, number in kinds.items():
        assert [piece.type == number for piece in model.pieces] == [kind(n) for n in range(100)]
    assert (model.dummy_prefix, model.single_spaces, model.byte_fallback) == (False, True, False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model_type": "char", "vocab_size": 60}, "its type is neither unigram nor BPE"),
        ({"treat_whitespace_as_suffix": True}, "its spaces belong to the word before"),
        (
            {"byte_fallback": True, "vocab_size": 360, "user_defined_symbols": ["<0x0A>the"]},
            "pieces with <0 in them",
        ),
        ({"model_type": "bpe", "user_defined_symbols": ["fox"]}, "symbols of its user's"),
    ],
)
def test_a_model_that_the_library_cannot_run_is_refused_with_the_reason(options, reason):
    with pytest.raises(UserError, match=f"cannot become a tokenizer.json: .*{reason}"):
        to_backend(library_model(**options), SPECIALS)
