"""Tokenizer folders as Hugging Face's library and its users leave them."""

import json

import pytest
from tokenizers import normalizers

from bertjax.errors import UserError
from bertjax.text.huggingface import lower_cased
from bertjax.text.tokenizer import load_tokenizer
from tests.text.hard_cases import (
    HARD_CASES,
    SPECIALS,
    WRITTEN_OUT,
    google_vocabulary,
    write_vocabulary,
)

TEXTS = [*HARD_CASES, *WRITTEN_OUT]
LETTERS = [*SPECIALS, "a", "b", "##a", "##b"]


def hugging_face_tokenizer(tokens, **settings):
    transformers = pytest.importorskip("transformers")
    ids = {token: index for index, token in enumerate(tokens)}
    return transformers.BertTokenizerFast(vocab=ids, **settings)


def assert_reads_alike(tokenizer, reference, texts=TEXTS):
    expected = reference(texts, add_special_tokens=False, return_offsets_mapping=True)
    for text, ids, spans in zip(
        texts, expected["input_ids"], expected["offset_mapping"], strict=True
    ):
        assert tokenizer.encode_with_offsets(text) == (ids, [tuple(span) for span in spans])
    plain = reference(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.encode_batch(texts, plain_text=True) == plain
    assert tokenizer.vocab_size == len(reference)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": True},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
    ],
)
def test_a_folder_that_transformers_wrote_is_read(tmp_path, settings):
    tokens = google_vocabulary(cased=not settings["do_lower_case"])
    reference = hugging_face_tokenizer(tokens, **settings)
    reference.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert_reads_alike(tokenizer, reference)
    assert tokenizer.cased is not settings["do_lower_case"]
    (tmp_path / "tokenizer.json").unlink()
    write_vocabulary(tmp_path, tokens)
    assert load_tokenizer(tmp_path).digest == tokenizer.digest


def test_all_but_special_tokens_can_be_put_in_lower_case(tmp_path):
    reference = hugging_face_tokenizer(google_vocabulary(cased=False), do_lower_case=False)
    reference.save_pretrained(tmp_path)
    backend = reference.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    assert_reads_alike(lower_cased(load_tokenizer(tmp_path)), reference, [*TEXTS, "[MASK] ΟΔΟΣ İ"])


@pytest.mark.parametrize("place", ["tokenizer_config.json", "special_tokens_map.json"])
def test_special_tokens_of_other_names_are_read(tmp_path, place):
    tokens = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "[MASK]", "[HIDE]", "a", "b"]
    write_vocabulary(tmp_path, tokens)
    names = {"cls_token": "[BOS]", "sep_token": {"content": "[EOS]"}, "mask_token": "[HIDE]"}
    (tmp_path / place).write_text(json.dumps(names))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.classifier_id, tokenizer.separator_id, tokenizer.mask_id) == (2, 3, 5)
    assert tokenizer.encode("a[HIDE]b") == [6, 5, 7]
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").digest == tokenizer.digest


def tokenizer_json(**changes):
    """A small `tokenizer.json`, with other values at its top level."""
    values = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "lowercase": True,
            "strip_accents": None,
            "handle_chinese_chars": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: n for n, piece in enumerate([*SPECIALS, "a", "A"])},
        },
    }
    return json.dumps(values | changes)


@pytest.mark.parametrize(
    ("tokenizer_class", "expected"),
    [
        (None, [6]),
        ("BertTokenizer", [6]),
        ("BertTokenizerFast", [6]),
        ("PreTrainedTokenizerFast", [5]),
        ("TokenizersBackend", [5]),
    ],
)
def test_berts_own_class_follows_the_config_and_others_the_tokenizer_file(
    tmp_path, tokenizer_class, expected
):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    config = {"do_lower_case": False} | (
        {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).encode("A") == expected


@pytest.mark.parametrize("named", [True, False])
def test_what_berts_own_class_is_not_told_is_its_default(tmp_path, named):
    rules = {"lowercase": False, "strip_accents": True, "handle_chinese_chars": False}
    normalizer = {"type": "BertNormalizer", "clean_text": True} | rules
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(normalizer=normalizer))
    if named:
        (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert load_tokenizer(tmp_path).encode("A") == ([5] if named else [6])


def test_padding_and_truncation_of_the_tokenizer_file_are_left_out(tmp_path):
    padding = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    truncation = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(padding=padding, truncation=truncation))
    assert load_tokenizer(tmp_path).encode("a a a a") == [5, 5, 5, 5]


def test_gaps_in_the_ids_are_special(tmp_path):
    model = json.loads(tokenizer_json())["model"]
    model["vocab"]["b"] = 9
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(model=model))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.encode("a b")) == (10, [5, 9])
    assert tokenizer.special_ids == (0, 1, 2, 3, 4, 7, 8)


@pytest.mark.parametrize(
    "pieces",
    [
        ["\u3000", "z"],
        ["z", "\u3000"],
        ["foo ", "z"],
        ["a\nb", "z"],
        ["\r", "z"],
        ["\u2028", "\x85", "z"],
        ["z", ""],
    ],
)
def test_pieces_that_no_line_can_hold_survive_saving(tmp_path, pieces):
    model = json.loads(tokenizer_json())["model"]
    model["vocab"] = {piece: n for n, piece in enumerate([*SPECIALS, "a", *pieces])}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(model=model))
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.save(tmp_path / "saved")
    saved = load_tokenizer(tmp_path / "saved")
    assert (saved.digest, saved.vocab_size) == (tokenizer.digest, len(model["vocab"]))
    assert [saved.id_to_token(n) for n in model["vocab"].values()] == list(model["vocab"])
    assert saved.encode("a z [MASK]") == [5, model["vocab"].get("z"), 4]


@pytest.mark.parametrize("pieces", [["z"], ["", " z"], ["\ufeff", "a\u3000b"]])
def test_pieces_that_lines_can_hold_are_saved_as_lines(tmp_path, pieces):
    model = json.loads(tokenizer_json())["model"]
    model["vocab"] = {piece: n for n, piece in enumerate([*SPECIALS, "a", *pieces])}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(model=model))
    load_tokenizer(tmp_path).save(tmp_path / "saved")
    assert sorted(file.name for file in (tmp_path / "saved").iterdir()) == [
        "vocab.txt",
        "wordpiece.json",
    ]


def test_rules_of_any_other_kind_are_followed_as_they_stand(tmp_path):
    rules = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}
    splitter = {"type": "WhitespaceSplit"}
    (tmp_path / "tokenizer.json").write_text(
        tokenizer_json(normalizer=rules, pre_tokenizer=splitter)
    )
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("Ａ [MASK] a!") == [5, 4, 1]
    assert tokenizer.encode("Ａ [MASK]", plain_text=True) == [5, 1]


def test_a_bert_with_pieces_of_xlm_roberta_is_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = ["▁", "▁a", "▁the", "the", "a", "t", "h", "e", ".", "한국", "▁한"]
    scored = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scored += [(word, -1.0 - n) for n, word in enumerate(words)] + [("<mask>", 0.0)]
    reference = transformers.XLMRobertaTokenizer(vocab=scored)
    reference.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    for text in ["the a. the", "a 한국 <mask>. the", "", " xa "]:
        assert tokenizer.encode(text) == reference(text, add_special_tokens=False)["input_ids"]
    assert (tokenizer.kind, tokenizer.mask_id, tokenizer.pad_id) == ("sentencepiece", 15, 1)
    assert tokenizer.encode_with_offsets("the a") == ([6, 5], [(0, 3), (4, 5)])
    assert tokenizer.mask_id not in tokenizer.encode("a <mask>", plain_text=True)
    assert tokenizer.continues_word[[5, 8, 15]].tolist() == [False, True, False]
    assert tokenizer.decode(tokenizer.encode("the a.")) == "the a."


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "WordPiece"}},
        {"model": {"type": "WordPiece", "vocab": ["[PAD]"]}},
        {"model": []},
        {"normalizer": {"type": "BertNormalizer"}},
        {"normalizer": []},
        {"version": 7},
    ],
)
def test_a_damaged_tokenizer_file_is_one_line(tmp_path, change):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(**change))
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer that can be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (dict.fromkeys(["[PAD]"], 0), r"lacks \[UNK\]"),
        ({token: 1000 * n for n, token in enumerate(SPECIALS)}, "gaps wider than itself"),
    ],
)
def test_a_vocabulary_that_cannot_be_berts_is_one_line(tmp_path, vocabulary, message):
    model = json.loads(tokenizer_json())["model"] | {"vocab": vocabulary}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(model=model))
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def test_a_tokenizer_of_another_kind_is_named(tmp_path):
    model = {"type": "BPE", "vocab": {t: n for n, t in enumerate(LETTERS)}, "merges": []}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(model=model))
    with pytest.raises(UserError, match="of type BPE that marks neither"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "a dictionary of its own"),
        ({"do_lower_case": "yes"}, "do_lower_case must be true, false or null, not 'yes'"),
        ({"added_tokens_decoder": {"x": {}}}, "added_tokens_decoder: "),
        ({"added_tokens_decoder": {"9": {"content": 3}}}, "added_tokens_decoder: "),
    ],
)
def test_settings_that_cannot_be_followed_are_one_line(tmp_path, config, message):
    write_vocabulary(tmp_path, LETTERS)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"tokenizer_config\.json: .*{message}"):
        load_tokenizer(tmp_path)


def test_a_list_of_a_models_pieces_is_no_wordpiece_vocabulary(tmp_path):
    write_vocabulary(tmp_path, [*SPECIALS, "▁a", "b"])
    with pytest.raises(UserError, match="the pieces of a SentencePiece model; give the model"):
        load_tokenizer(tmp_path)
