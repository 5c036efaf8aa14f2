"""Exported tokenizers, opened by `transformers.AutoTokenizer`."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from bertjax.interop.huggingface_tokenizer import save_tokenizer
from bertjax.interop.sentencepiece_model import read_model
from bertjax.text.tokenizer import load_tokenizer, train_sentencepiece, train_wordpiece
from bertjax.text.wordpiece import WordPieceSettings, wordpiece_backend
from tests.interop.test_sentencepiece_backend import library_model
from tests.text.hard_cases import HARD_CASES, WRITTEN_OUT, google_vocabulary, write_vocabulary
from tests.text.test_sentencepiece import TEXT

transformers = pytest.importorskip("transformers")

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"
LINES = 10_000


def opened(tokenizer, folder):
    """What AutoTokenizer makes of the export, beside the config of a BERT."""
    save_tokenizer(tokenizer, folder, max_length=64)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return transformers.AutoTokenizer.from_pretrained(folder)


def koberts_order(folder):
    (folder / "spiece.model").write_bytes(library_model())
    return load_tokenizer(folder)


def koberts_two_files(folder):
    """The model knows none of BERT's special tokens; the list beside it numbers the pieces."""
    data = library_model(
        unk_piece="<unk>",
        bos_id=1,
        bos_piece="<s>",
        eos_id=2,
        eos_piece="</s>",
        pad_id=-1,
        control_symbols=[],
    )
    (folder / "spiece.model").write_bytes(data)
    pieces = sorted(piece.text for piece in read_model(data).pieces[3:])
    write_vocabulary(folder, ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *pieces])
    return load_tokenizer(folder)


MAKERS = {
    "google uncased": lambda folder: load_tokenizer(
        write_vocabulary(folder, google_vocabulary(False))
    ),
    "google cased": lambda folder: load_tokenizer(
        write_vocabulary(folder, google_vocabulary(True))
    ),
    "wordpiece uncased": lambda _: train_wordpiece(TEXT, 200, cased=False),
    "wordpiece cased": lambda _: train_wordpiece(TEXT, 200, cased=True),
    "unigram uncased": lambda _: train_sentencepiece(TEXT, 100, cased=False),
    "unigram cased": lambda _: train_sentencepiece(TEXT, 100, cased=True),
    "bpe uncased": lambda _: train_sentencepiece(TEXT, 100, cased=False, model_type="bpe"),
    "kobert's order": koberts_order,
    "kobert's two files": koberts_two_files,
}


@pytest.fixture(scope="module", params=MAKERS)
def both(request, tmp_path_factory):
    """Our tokenizer, and AutoTokenizer's of its export."""
    tokenizer = MAKERS[request.param](tmp_path_factory.mktemp("source"))
    return tokenizer, opened(tokenizer, tmp_path_factory.mktemp("export") / "bert")


def test_texts_have_our_ids_between_the_classifier_and_the_separator(both):
    tokenizer, exported = both
    for text in HARD_CASES:
        ids = [tokenizer.classifier_id, *tokenizer.encode(text), tokenizer.separator_id]
        assert exported(text)["input_ids"] == ids


def test_pairs_have_segment_ids(both):
    tokenizer, exported = both
    first, second = tokenizer.encode(HARD_CASES[2]), tokenizer.encode(HARD_CASES[4])
    encoded = exported(HARD_CASES[2], HARD_CASES[4])
    separator = tokenizer.separator_id
    ids = [tokenizer.classifier_id, *first, separator, *second, separator]
    assert encoded["input_ids"] == ids
    assert encoded["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)


def test_special_tokens_and_lengths_are_known(both):
    tokenizer, exported = both
    assert exported.mask_token_id == tokenizer.mask_id
    assert exported.unk_token_id == tokenizer.unknown_id
    assert exported.pad_token_id == tokenizer.pad_id
    assert (exported.model_max_length, exported.padding_side) == (64, "right")
    assert len(exported) == tokenizer.vocab_size
    assert exported.convert_ids_to_tokens(7) == tokenizer.id_to_token(7)
    batch = exported(["the fox " * 99, "the"], padding=True, truncation=True)
    assert [len(row) for row in batch["input_ids"]] == [64, 64]
    assert batch["input_ids"][1][-1] == tokenizer.pad_id
    assert batch["attention_mask"][1] == [1] * (len(tokenizer.encode("the")) + 2) + [0] * (
        62 - len(tokenizer.encode("the"))
    )


def test_a_mask_written_out_in_a_text_is_found(both):
    tokenizer, exported = both
    mask = exported.mask_token
    ids = exported(f"the {mask} fox {mask}.", add_special_tokens=False)["input_ids"]
    parts = [tokenizer.encode("the"), tokenizer.encode("fox")]
    assert ids[:-1] == [*parts[0], tokenizer.mask_id, *parts[1], tokenizer.mask_id]
    assert tokenizer.id_to_token(ids[-1]) in (".", "[UNK]")  # not a word of its own: no ▁


def test_special_tokens_written_out_are_read_as_wordpiece_reads_them_here(both):
    tokenizer, exported = both
    if tokenizer.kind == "wordpiece":
        for text in WRITTEN_OUT:
            ids = exported(text, add_special_tokens=False)["input_ids"]
            assert ids == tokenizer.encode(text)


def test_words_come_back_from_ids(both):
    tokenizer, exported = both
    ids = exported("the quick fox")["input_ids"]
    assert exported.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)


def test_our_own_reader_makes_the_same_tokenizer_of_an_export(both):
    tokenizer, exported = both
    assert load_tokenizer(exported.name_or_path).digest == tokenizer.digest


def test_an_imported_tokenizer_of_any_rules_is_exported_as_it_was(tmp_path):
    words = ["▁", "▁a", "▁the", "the", "a", "t", "h", "e", "."]
    scored = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scored += [(word, -1.0 - n) for n, word in enumerate(words)] + [("<mask>", 0.0)]
    owner = transformers.XLMRobertaTokenizer(vocab=scored)
    owner.save_pretrained(tmp_path / "owner")
    tokenizer = load_tokenizer(tmp_path / "owner")
    exported = opened(tokenizer, tmp_path / "export")
    for text in ["the a. the", "a <mask> the", ""]:
        ids = [tokenizer.classifier_id, *tokenizer.encode(text), tokenizer.separator_id]
        assert exported(text)["input_ids"] == ids
    assert load_tokenizer(tmp_path / "export").encode("the") == tokenizer.encode("the")


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not there")
@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_ten_thousand_lines_of_each_language_have_our_ids(kind, cased, tmp_path):
    corpora = {}
    for name in ("ko_wiki", "en_wiki"):
        with gzip.open(CORPORA / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
            corpora[name] = list(islice((line[:-1] for line in file if line.strip()), LINES))
    sample = [line for lines in corpora.values() for line in lines[:3000]]
    tokenizer = (
        train_wordpiece(sample, 8000, cased)
        if kind == "wordpiece"
        else train_sentencepiece(sample, 8000, cased, kind)
    )
    exported = opened(tokenizer, tmp_path / "bert")
    for name, lines in corpora.items():
        expected = tokenizer.encode_batch(lines)
        found = exported(lines, add_special_tokens=False)["input_ids"]
        differences = sum(a != b for a, b in zip(found, expected, strict=True))
        print(f"{kind}, {name}: {len(lines)} lines, {differences} differ")
        assert (len(lines), differences) == (LINES, 0)


def test_of_a_model_with_one_segment_both_texts_of_a_pair_have_it(tmp_path):
    tokenizer = train_wordpiece(TEXT, 200, cased=True)
    save_tokenizer(tokenizer, tmp_path, max_length=64, num_segments=1)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    exported = transformers.AutoTokenizer.from_pretrained(tmp_path)
    first, second = tokenizer.encode("the first"), tokenizer.encode("the second")
    begin, end = tokenizer.classifier_id, tokenizer.separator_id
    found = exported("the first", "the second")
    assert found["input_ids"] == [begin, *first, end, *second, end]
    assert not any(found["token_type_ids"])


def test_a_piece_that_no_line_can_hold_leaves_the_list_of_pieces_out(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a\nb", "z"]
    backend = wordpiece_backend(
        {piece: index for index, piece in enumerate(pieces)}, WordPieceSettings(cased=True), "[UNK]"
    )
    (source / "tokenizer.json").write_text(backend.to_str())
    exported = opened(load_tokenizer(source), tmp_path / "bert")
    assert exported.convert_tokens_to_ids(["a\nb", "z"]) == [6, 7]
    assert not (tmp_path / "bert" / "vocab.txt").exists()
