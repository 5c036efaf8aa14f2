import io
import json
import os
import subprocess
import sys
import unicodedata

import pytest
import sentencepiece as library
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from bertjax.errors import UserError
from bertjax.text.tokenizer import load_tokenizer, train_sentencepiece

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "나라 한국어 문장 대한민국 서울 walk talk jump work look play naive cafe quick"
TEXT = [
    "The quick brown fox jumps over the lazy dog near the café.",
    "한국어 문장을 토큰으로 나눈다. 대한민국의 수도는 서울이다.",
    "Cafés and naïve coöperation, 3.14 times: “quoted” text!",
    "나라의 말이 중국과 달라 한자와는 서로 통하지 아니하다.",
    *(f"{stem}{end} the" for stem in WORDS.split() for end in ("의", "는", "에서", "ed", "ing")),
] * 5
ADDED = {"id": 99, "content": "foxes", "special": False} | dict.fromkeys(
    ("single_word", "lstrip", "rstrip", "normalized"), False
)
HARD_CASES = [
    "",
    "   ",
    "Héllo Wörld, ÀÉÎÕÜ naïve İstanbul ß ﬁ",
    "中文字符 한국어는 교착어이다.",
    unicodedata.normalize("NFD", "한국어는 Café"),
    "emoji 👩‍👩‍👧 ok 🙂🇰🇷 \x07\u200b",
    "a literal [MASK] and [SEP]",
]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def uncased(request):
    return train_sentencepiece(TEXT, 100, cased=False, model_type=request.param)


def library_model(folder, lines=TEXT, vocab_size=100, **options):
    """A model that somebody else trained, with their own order and names of special pieces."""
    model = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=vocab_size,
        minloglevel=2,
        **options,
    )
    file = folder / "spiece.model"
    file.write_bytes(model.getvalue())
    return file


KOBERT = {
    "unk_id": 0,
    "pad_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "unk_piece": "[UNK]",
    "pad_piece": "[PAD]",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
}


def test_special_pieces_come_first_and_have_the_asked_size(uncased):
    assert [uncased.id_to_token(index) for index in range(5)] == SPECIALS
    assert uncased.special_ids == (0, 1, 2, 3, 4)
    assert uncased.vocab_size == 100
    assert uncased.kind == "sentencepiece"


def test_a_model_in_koberts_order_tokenizes_as_its_owner_does(tmp_path):
    file = library_model(tmp_path, control_symbols=["[MASK]"], **KOBERT)
    tokenizer = load_tokenizer(file)
    assert (tokenizer.unknown_id, tokenizer.pad_id, tokenizer.classifier_id) == (0, 1, 2)
    assert (tokenizer.separator_id, tokenizer.mask_id) == (3, 4)
    owner = library.SentencePieceProcessor(model_file=str(file))
    assert tokenizer.encode_batch(HARD_CASES) == owner.encode(HARD_CASES)


def test_names_in_angle_brackets_are_understood(tmp_path):
    file = library_model(tmp_path, pad_id=5, control_symbols=["<mask>"])
    tokenizer = load_tokenizer(file)
    assert (tokenizer.unknown_id, tokenizer.classifier_id, tokenizer.separator_id) == (0, 1, 2)
    assert tokenizer.id_to_token(tokenizer.pad_id) == "<pad>"
    assert tokenizer.id_to_token(tokenizer.mask_id) == "<mask>"


def test_missing_special_pieces_are_named(tmp_path):
    file = library_model(tmp_path, unk_piece="[UNK]", eos_id=-1)
    with pytest.raises(UserError, match=r"lacks \[PAD\] or <pad>, \[SEP\].*, \[MASK\] or <mask>"):
        load_tokenizer(file)


def test_a_mask_that_a_foreign_model_would_read_from_text_becomes_unknown(tmp_path):
    tokenizer = load_tokenizer(library_model(tmp_path, user_defined_symbols=["[MASK]"], **KOBERT))
    for ids in (
        tokenizer.encode("the [MASK] dog"),
        tokenizer.encode_batch(["the [MASK] dog"])[0],
        tokenizer.encode_with_offsets("the [MASK] dog")[0],
    ):
        assert tokenizer.mask_id not in ids
        assert tokenizer.unknown_id in ids


@pytest.mark.parametrize("plain_text", [False, True])
def test_a_literal_mask_in_the_text_is_text(uncased, plain_text):
    text = "[MASK] the [MASK]"
    ids = uncased.encode(text, plain_text=plain_text)
    assert uncased.mask_id not in ids
    assert ids == uncased.encode_batch([text], plain_text=plain_text)[0]
    assert ids == uncased.encode_with_offsets(text, plain_text=plain_text)[0]


@pytest.mark.parametrize(
    "name", ["spiece.model", "tokenizer.model", "tokenizer_78b3253a26.model", "kobert.spiece"]
)
def test_a_model_is_found_in_a_folder_under_the_names_in_use(tmp_path, name):
    library_model(tmp_path, control_symbols=["[MASK]"], **KOBERT).rename(tmp_path / name)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_tokenizer(tmp_path).mask_id == 4


@pytest.mark.parametrize("alike", [True, False])
def test_a_tokenizer_file_that_numbers_pieces_otherwise_is_read_instead_of_the_model(
    tmp_path, alike
):
    file = library_model(tmp_path, control_symbols=["[MASK]"], **KOBERT)
    owner = load_tokenizer(file)
    pieces = [owner.id_to_token(index) for index in range(owner.vocab_size)]
    scored = [(piece, -1.0) for piece in (pieces if alike else pieces[:5] + pieces[:4:-1])]
    whole = tokenizers.Tokenizer(tokenizers.models.Unigram(scored, unk_id=0))
    whole.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.digest == owner.digest) is alike
    assert tokenizer.token_to_id(pieces[5]) == (5 if alike else len(pieces) - 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"added_tokens": [ADDED]},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}},
    ],
    ids=["an added token", "lower case"],
)
def test_a_tokenizer_file_that_does_more_than_the_model_is_read_instead_of_it(tmp_path, changes):
    owner = load_tokenizer(library_model(tmp_path, control_symbols=["[MASK]"], **KOBERT))
    scored = [(owner.id_to_token(index), -1.0) for index in range(owner.vocab_size)]
    whole = tokenizers.Tokenizer(tokenizers.models.Unigram(scored, unk_id=0))
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(whole.to_str()) | changes))
    assert load_tokenizer(tmp_path).digest != owner.digest


def test_pieces_that_continue_a_word_are_marked(uncased):
    for index, continues in enumerate(uncased.continues_word):
        starts = uncased.id_to_token(index).startswith("\u2581")
        assert continues == (not starts and index not in uncased.special_ids)


@pytest.mark.parametrize("text", ["한국어 문장", unicodedata.normalize("NFD", "한국어 문장")])
@pytest.mark.parametrize("cased", [False, True])
def test_a_trained_model_never_leaves_jamo(cased, text):
    tokenizer = train_sentencepiece(TEXT, 100, cased)
    assert tokenizer.decode(tokenizer.encode(text)) == "한국어 문장"


def test_every_syllable_is_composed_from_jamo(uncased):
    syllables = "".join(map(chr, range(ord("가"), ord("힣") + 1)))
    assert uncased.backend.normalize(unicodedata.normalize("NFD", syllables))[1:] == syllables


def test_an_uncased_model_strips_case_and_accents(uncased):
    assert uncased.encode("CAFÉ Naïve") == uncased.encode("cafe nai\u0308ve")
    assert uncased.decode(uncased.encode("CAFÉ Naïve")) == "cafe naive"
    assert not uncased.cased


def test_a_cased_model_keeps_case_and_accents():
    tokenizer = train_sentencepiece(TEXT, 100, cased=True)
    assert tokenizer.decode(tokenizer.encode("Cafés The")) == "Cafés The"
    assert tokenizer.cased


def test_offsets_point_into_the_original_text_without_spaces(uncased):
    text = "  The Cafés,  " + unicodedata.normalize("NFD", "한국어")
    ids, offsets = uncased.encode_with_offsets(text)
    assert ids == uncased.encode(text)
    covered = "".join(text[start:end] for start, end in offsets)
    assert unicodedata.normalize("NFC", covered) == "TheCafés,한국어"


@given(text=st.text(max_size=60))
def test_any_text_gives_ids_of_words_alone(uncased, text):
    ids, offsets = uncased.encode_with_offsets(text)
    assert ids == uncased.encode(text) == uncased.encode_batch([text])[0]
    assert not set(ids) & (set(uncased.special_ids) - {uncased.unknown_id})
    assert all(0 <= start <= end <= len(text) for start, end in offsets)


def test_a_saved_model_tokenizes_equally(uncased, tmp_path):
    uncased.save(tmp_path / "tokenizer")
    for place in (tmp_path, tmp_path / "tokenizer"):
        loaded = load_tokenizer(place)
        assert (loaded.digest, loaded.cased) == (uncased.digest, False)
        assert loaded.encode_batch(HARD_CASES) == uncased.encode_batch(HARD_CASES)


def test_tokens_and_ids_are_inverse(uncased):
    for index in range(uncased.vocab_size):
        assert uncased.token_to_id(uncased.id_to_token(index)) == index
    assert uncased.token_to_id("no such piece") is None


def test_scores_add_up_without_error_so_that_ties_are_ties_everywhere(uncased):
    scores = uncased.backend.get_score(list(range(uncased.vocab_size)))
    assert all((score * 256).is_integer() for score in scores)
    assert len(set(scores)) > 10


def test_decoding_leaves_special_pieces_out(uncased):
    ids = [uncased.classifier_id, *uncased.encode("the fox"), uncased.separator_id]
    assert uncased.decode(ids) == "the fox"


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_size_that_does_not_fit_is_refused_with_one_that_works(model_type):
    def refused(vocab_size, message):
        with pytest.raises(UserError, match=message) as caught:
            train_sentencepiece(TEXT, vocab_size, cased=False, model_type=model_type)
        return int(str(caught.value).split()[-1])

    largest = refused(8000, "too small for a vocabulary of 8000; the largest that works is")
    smallest = refused(20, "cannot hold the characters of this text; the smallest that works is")
    for size in (smallest, largest):
        tokenizer = train_sentencepiece(TEXT, size, cased=False, model_type=model_type)
        assert tokenizer.vocab_size == size


@pytest.mark.slow
@pytest.mark.parametrize("space", [" ", ""], ids=["words", "one word"])
def test_lines_of_any_length_are_learnt_from(space):
    line = space.join(" ".join(TEXT * 30).split())
    assert len(line.encode()) > 1 << 16
    assert train_sentencepiece([line], 100, cased=False).vocab_size == 100


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_no_text_is_refused(lines):
    with pytest.raises(UserError, match="no text"):
        train_sentencepiece(lines, 100, cased=False)


def test_case_that_contradicts_the_model_is_refused(uncased, tmp_path):
    uncased.save(tmp_path)
    assert load_tokenizer(tmp_path, cased=False).digest == uncased.digest
    with pytest.raises(UserError, match="lower-cases by itself"):
        load_tokenizer(tmp_path, cased=True)


def test_a_damaged_model_is_one_line(tmp_path):
    file = tmp_path / "broken.model"
    file.write_bytes(b"no model")
    with pytest.raises(UserError, match="not a SentencePiece model"):
        load_tokenizer(file)


_TRAIN = """
import sys
from bertjax.text.tokenizer import train_sentencepiece
print(train_sentencepiece(sys.stdin.read().splitlines(), 100, False, sys.argv[1]).digest)
"""


@pytest.mark.process
def test_training_repeats_in_another_process(uncased, request):
    model_type = request.node.callspec.params["uncased"]
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, model_type],
        input="\n".join(TEXT),
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == uncased.digest
