"""Tokens that a Hugging Face folder adds to its vocabulary, beside it or within."""

import json

import pytest

from bertjax.errors import UserError
from bertjax.text.added_tokens import NAME_KEYS
from bertjax.text.tokenizer import load_tokenizer
from tests.text.hard_cases import SPECIALS, google_vocabulary, write_vocabulary
from tests.text.test_huggingface import (
    LETTERS,
    TEXTS,
    assert_reads_alike,
    hugging_face_tokenizer,
    tokenizer_json,
)


def test_tokens_that_a_user_added_are_found_whole(tmp_path):
    reference = hugging_face_tokenizer(google_vocabulary(cased=False))
    reference.add_tokens(["unheardof", "[E1]"])
    reference.add_special_tokens({"additional_special_tokens": ["[E2]"]})
    reference.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    texts = [*TEXTS, "an unheardof UNHEARDOF [E1] b[E2]c"]
    assert_reads_alike(tokenizer, reference, texts)
    assert tokenizer.token_to_id("[E2]") in tokenizer.special_ids
    assert tokenizer.token_to_id("unheardof") not in tokenizer.special_ids
    tokenizer.save(tmp_path / "saved")
    saved = load_tokenizer(tmp_path / "saved")
    assert saved.digest == tokenizer.digest
    assert saved.encode_batch(texts) == tokenizer.encode_batch(texts)


def added_token(content, special):
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": not special}
    return {"content": content, "special": special, **flags}


@pytest.mark.parametrize(
    "files",
    [
        {
            "tokenizer_config.json": {
                "added_tokens_decoder": {
                    **{str(n): added_token(token, True) for n, token in enumerate(SPECIALS)},
                    "9": added_token("word", False),
                    "10": added_token("[E1]", True),
                },
            },
        },
        {
            "added_tokens.json": {"[E1]": 10, "word": 9},
            "special_tokens_map.json": {"additional_special_tokens": [{"content": "[E1]"}]},
        },
    ],
    ids=["transformers 4.34 on", "before"],
)
def test_added_tokens_beside_a_vocabulary_are_read(tmp_path, files):
    vocabulary = write_vocabulary(tmp_path, LETTERS)
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("a word[E1]b") == [5, 9, 10, 6]
    assert tokenizer.encode("a word", plain_text=True) == [5, 9]
    assert 10 in tokenizer.special_ids
    vocabulary.write_text(vocabulary.read_text() + "extra\n")
    with pytest.raises(UserError, match="add 'word' as token 9, but it is token 10"):
        load_tokenizer(tmp_path)


def test_added_tokens_that_are_in_the_vocabulary_change_nothing(tmp_path):
    write_vocabulary(tmp_path, LETTERS)
    digest = load_tokenizer(tmp_path).digest
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"mask_token": "[MASK]"}))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {"added_tokens_decoder": {str(n): added_token(t, True) for n, t in enumerate(SPECIALS)}}
        )
    )
    assert load_tokenizer(tmp_path).digest == digest


def opened_by_transformers(folder):
    transformers = pytest.importorskip("transformers")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return transformers.AutoTokenizer.from_pretrained(folder)


ADDED = "a word[E1]b Word [e1] a[HIDE][V1]"
FIVE = {str(n): added_token(token, True) for n, token in enumerate(SPECIALS)}
NAMES = dict(zip(NAME_KEYS.values(), SPECIALS, strict=True))


def write_folder(folder, config, files):
    """A `tokenizer.json` with eight tokens, and files beside it."""
    tokens = {token: n for n, token in enumerate([*SPECIALS, "a", "b", "[V1]"])}
    model = json.loads(tokenizer_json())["model"] | {"vocab": tokens}
    five = [token | {"id": int(n)} for n, token in FIVE.items()]
    (folder / "tokenizer.json").write_text(tokenizer_json(model=model, added_tokens=five))
    for name, values in {"tokenizer_config.json": NAMES | config, **files}.items():
        (folder / name).write_text(json.dumps(values))


@pytest.mark.parametrize("tokenizer_class", ["BertTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize(
    ("config", "files"),
    [
        ({"additional_special_tokens": ["[E1]", "[V1]"]}, {}),
        ({"added_tokens_decoder": FIVE | {"8": added_token("word", False)}}, {}),
        ({"added_tokens_decoder": FIVE, "additional_special_tokens": ["[E1]", "[MASK]"]}, {}),
        ({"extra_special_tokens": {"entity_token": "[E1]"}}, {}),
        (
            {"extra_special_tokens": {"a": "[HIDE]"}, "additional_special_tokens": ["[E1]"]},
            {},
        ),
        ({"extra_special_tokens": ["[E1]"], "additional_special_tokens": ["[HIDE]"]}, {}),
        ({"extra_special_tokens": {}, "additional_special_tokens": ["[HIDE]"]}, {}),
        ({}, {"added_tokens.json": {"[E1]": 9, "word": 8}}),
        ({"mask_token": "[HIDE]"}, {"added_tokens.json": {"[HIDE]": 8}}),
    ],
    ids=[
        "a list",
        "numbered",
        "a list beside numbered",
        "under names",
        "a list beside names",
        "two lists",
        "a list beside none under names",
        "a file",
        "a file with the mask",
    ],
)
def test_added_tokens_beside_a_tokenizer_file_are_read_as_transformers_reads_them(
    tmp_path, config, files, tokenizer_class
):
    write_folder(tmp_path, {"tokenizer_class": tokenizer_class} | config, files)
    tokenizer = load_tokenizer(tmp_path)
    assert_reads_alike(tokenizer, opened_by_transformers(tmp_path), [*TEXTS, ADDED])
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").digest == tokenizer.digest


def test_tokens_that_the_tokenizer_file_adds_already_change_nothing(tmp_path):
    write_folder(tmp_path, {}, {})
    digest = load_tokenizer(tmp_path).digest
    # The tokenizer file has the last word on their ids and habits.
    again = {"9": added_token("[MASK]", False)}
    write_folder(
        tmp_path, {"added_tokens_decoder": again, "additional_special_tokens": ["[SEP]"]}, {}
    )
    assert load_tokenizer(tmp_path).digest == digest


def test_added_tokens_whose_ids_contradict_the_tokenizer_file_are_refused(tmp_path):
    write_folder(tmp_path, {"added_tokens_decoder": {"9": added_token("word", False)}}, {})
    with pytest.raises(
        UserError, match=r"tokenizer\.json: .* add 'word' as token 9, but it is token 8"
    ):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        ({"additional_special_tokens": [3]}, {}, r"special tokens must be text, not \[3\]"),
        ({"additional_special_tokens": 3}, {}, r"special tokens must be text, not \[3\]"),
        ({"extra_special_tokens": {"entity_token": ["[E1]"]}}, {}, "special tokens must be text"),
        ({}, {"added_tokens.json": {"[E1]": "8"}}, r"'\[E1\]' has no id: '8'"),
    ],
)
def test_added_tokens_that_cannot_be_understood_are_one_line(tmp_path, config, files, message):
    write_folder(tmp_path, config, files)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def test_extra_tokens_under_names_are_added_to_a_vocabulary_too(tmp_path):
    write_vocabulary(tmp_path, LETTERS)
    config = {"tokenizer_class": "BertTokenizer", "extra_special_tokens": {"entity_token": "[E1]"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    reference = opened_by_transformers(tmp_path)
    assert_reads_alike(load_tokenizer(tmp_path), reference, [*TEXTS, ADDED, "entity_token"])


def test_two_added_tokens_with_one_id_are_refused(tmp_path):
    pieces = google_vocabulary(cased=False)
    write_vocabulary(tmp_path, pieces)
    both = {"[E1]": len(pieces), "word": len(pieces)}
    (tmp_path / "added_tokens.json").write_text(json.dumps(both))
    with pytest.raises(UserError, match=r"'\[E1\]' and 'word' have the same id"):
        load_tokenizer(tmp_path)
