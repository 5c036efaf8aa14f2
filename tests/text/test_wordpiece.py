import copy
import gzip
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.text.tokenizer import load_tokenizer, train_wordpiece
from tests.text.hard_cases import HARD_CASES, SPECIALS, google_vocabulary, write_vocabulary

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"
TEXT = [
    "The quick brown fox jumps over the lazy dog near the café.",
    "한국어 문장을 토큰으로 나눈다. 대한민국의 수도는 서울이다.",
    "Cafés and naïve coöperation, 3.14 times: “quoted” text!",
    "나라의 말이 중국과 달라 한자와는 서로 통하지 아니하다.",
] * 3


def test_uncased_google_on_korean_gives_jamo(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path, google_vocabulary(cased=False)))
    assert [tokenizer.id_to_token(index) for index in tokenizer.encode("한")] == ["ᄒ", "##ᅡ", "##ᆫ"]


def test_special_tokens_are_found_by_name(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path, google_vocabulary(cased=False)))
    assert (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.classifier_id) == (0, 5, 6)
    assert (tokenizer.separator_id, tokenizer.mask_id) == (7, 8)
    assert tokenizer.special_ids == tuple(range(9))
    assert tokenizer.kind == "wordpiece"


def test_pieces_that_continue_a_word_are_marked(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path, [*SPECIALS, "un", "##aff", "#"]))
    assert tokenizer.continues_word.tolist() == [False] * 6 + [True, False]


def test_missing_special_tokens_are_named(tmp_path):
    file = write_vocabulary(tmp_path, ["[PAD]", "[UNK]", "[CLS]", "word"])
    with pytest.raises(UserError, match=r"lacks \[SEP\] or <sep> or </s>, \[MASK\] or <mask>"):
        load_tokenizer(file)


def test_a_mask_written_out_in_the_text_is_found_unless_plain_text_is_asked_for(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path, [*SPECIALS, "[", "]", "mask"]))
    assert tokenizer.encode("[MASK]") == tokenizer.encode_batch(["[MASK]"])[0] == [4]
    assert tokenizer.encode("[MASK]", plain_text=True) == [5, 7, 6]
    assert tokenizer.encode_batch(["[MASK]"], plain_text=True) == [[5, 7, 6]]
    assert tokenizer.encode_with_offsets("a [MASK]") == ([1, 4], [(0, 1), (2, 8)])
    spans = [(0, 1), (2, 3), (3, 7), (7, 8)]
    assert tokenizer.encode_with_offsets("a [MASK]", plain_text=True) == ([1, 5, 7, 6], spans)


def test_a_copy_takes_plain_text_as_plain_too(tmp_path):
    tokenizer = load_tokenizer(write_vocabulary(tmp_path, [*SPECIALS, "[", "]", "mask"]))
    assert copy.deepcopy(tokenizer).encode("[MASK]", plain_text=True) == [5, 7, 6]


def test_case_that_contradicts_the_settings_is_refused(tmp_path):
    train_wordpiece(TEXT, 200, cased=False).save(tmp_path)
    with pytest.raises(UserError, match="its settings say uncased"):
        load_tokenizer(tmp_path, cased=True)


@pytest.mark.parametrize("cased", [False, True])
def test_a_saved_vocabulary_tokenizes_equally(tmp_path, cased):
    trained = train_wordpiece(TEXT, 300, cased)
    trained.save(tmp_path / "tokenizer")
    for place in (tmp_path, tmp_path / "tokenizer", tmp_path / "tokenizer" / "vocab.txt"):
        loaded = load_tokenizer(place)
        assert (loaded.digest, loaded.cased) == (trained.digest, cased)
        assert loaded.encode_batch(HARD_CASES) == [trained.encode(text) for text in HARD_CASES]


def test_the_digest_tells_vocabularies_and_settings_apart(tmp_path):
    file = write_vocabulary(tmp_path, [*SPECIALS, "dog"])
    other = write_vocabulary(tmp_path / "..", [*SPECIALS, "cat"])
    digests = {load_tokenizer(path, cased).digest for path in (file, other) for cased in (0, 1)}
    assert len(digests) == 4


@pytest.mark.parametrize("text", ["한국어 문장", unicodedata.normalize("NFD", "한국어 문장")])
@pytest.mark.parametrize("cased", [False, True])
def test_a_trained_vocabulary_never_leaves_jamo(cased, text):
    tokenizer = train_wordpiece(TEXT, 300, cased)
    pieces = [tokenizer.id_to_token(index) for index in tokenizer.encode(text)]
    assert "".join(pieces).replace("##", "") == "한국어문장"
    assert not any("\u1100" <= letter <= "\u11ff" for piece in pieces for letter in piece)


def test_an_uncased_vocabulary_strips_case_and_accents():
    tokenizer = train_wordpiece(TEXT, 300, cased=False)
    assert tokenizer.encode("CAFÉ Naïve") == tokenizer.encode("cafe naive")
    assert tokenizer.decode(tokenizer.encode("CAFÉ Naïve")) == "cafe naive"


def test_offsets_point_into_the_original_text():
    tokenizer = train_wordpiece(TEXT, 300, cased=False)
    text = "  Cafés,  " + unicodedata.normalize("NFD", "한국어 각")
    _, offsets = tokenizer.encode_with_offsets(text)
    covered = "".join(text[start:end] for start, end in offsets)
    assert unicodedata.normalize("NFC", covered) == "Cafés,한국어각"


@pytest.mark.parametrize("text", ["", " ", "\u200d"])
def test_a_text_without_a_word_has_neither_pieces_nor_offsets(text):
    assert train_wordpiece(TEXT, 300, cased=False).encode_with_offsets(text) == ([], [])


def test_special_tokens_come_first_and_have_the_asked_size():
    tokenizer = train_wordpiece(TEXT, 150, cased=False)
    assert [tokenizer.id_to_token(index) for index in range(5)] == SPECIALS
    assert tokenizer.vocab_size == 150


def test_decoding_leaves_special_tokens_out_but_shows_unknown_ones():
    tokenizer = train_wordpiece(TEXT, 300, cased=False)
    ids = [tokenizer.classifier_id, *tokenizer.encode("the fox 🙂"), tokenizer.separator_id]
    assert tokenizer.decode(ids) == "the fox [UNK]"


def test_characters_are_chosen_by_count_then_code_point():
    text = [" ".join(letter * 9 for letter in "abcdefgh"), "ㄱ ㄴ ㄷ ㄹ"]
    smallest = smallest_size(text, 6)
    tokenizer = train_wordpiece(text, smallest, cased=False)
    kept = {tokenizer.id_to_token(index) for index in range(tokenizer.vocab_size)}
    assert set("abcdefgh") <= kept
    assert kept & set("ㄱㄴㄷㄹ") == set("ㄱㄴㄷㄹ"[: len(kept & set("ㄱㄴㄷㄹ"))])


def smallest_size(lines, too_small):
    with pytest.raises(UserError, match="smallest that works is") as caught:
        train_wordpiece(lines, too_small, cased=False)
    return int(str(caught.value).split()[-1])


def test_a_size_too_small_is_refused_with_the_smallest_that_works():
    smallest = smallest_size(TEXT, 20)
    assert train_wordpiece(TEXT, smallest, cased=False).vocab_size == smallest
    assert smallest_size(TEXT, smallest - 1) == smallest


@pytest.mark.parametrize("lines", [[], ["", "  "], ["\x00"]])
def test_no_text_is_refused(lines):
    with pytest.raises(UserError, match="no text"):
        train_wordpiece(lines, 100, cased=False)


_TRAIN = """
import sys
from bertjax.text.tokenizer import train_wordpiece
print(train_wordpiece(sys.stdin.read().splitlines(), 400, False).digest)
"""


@pytest.mark.process
def test_training_repeats_in_other_processes_and_thread_counts():
    words = Counter("".join(TEXT).split())
    lines = [" ".join(f"{word}{suffix}" for word in words) for suffix in "abcdefghij" * 2]
    digests = set()
    for threads in ("1", "2", "7"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        done = subprocess.run(
            [sys.executable, "-c", _TRAIN],
            input="\n".join(lines),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpora are not there")
def test_korean_wikipedia_has_few_unknown_words():
    with gzip.open(CORPUS / "ko_wiki.txt.gz", "rt", encoding="utf-8") as file:
        lines = list(islice(file, 3000))
    tokenizer = train_wordpiece(lines, 8192, cased=False)
    ids = [index for row in tokenizer.encode_batch(lines) for index in row]
    syllables = [tokenizer.id_to_token(index) for index in range(tokenizer.vocab_size)]
    assert sum("가" <= piece <= "힣" for piece in syllables if len(piece) == 1) > 500
    assert ids.count(tokenizer.unknown_id) < 0.003 * len(ids)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\n\xff\xfe\n", "not UTF-8 text at byte 6"),
        (b"", "lacks"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def test_nothing_to_load_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no tokenizer in it"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match="no such tokenizer"):
        load_tokenizer(tmp_path / "nothing.txt")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the tokenizer"):
        train_wordpiece(TEXT, 300, cased=False).save(tmp_path / "file" / "below")
