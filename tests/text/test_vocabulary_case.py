"""Whether a `vocab.txt` of a Hugging Face folder is read as cased."""

import json

import pytest

from bertjax.text.tokenizer import load_tokenizer
from tests.text.hard_cases import SPECIALS, google_vocabulary, write_vocabulary
from tests.text.test_added_tokens import opened_by_transformers
from tests.text.test_huggingface import assert_reads_alike


@pytest.mark.parametrize(
    ("tokens", "config", "cased", "expected"),
    [
        (["dog"], None, None, False),
        (["dog", "Dog"], None, None, True),
        (["dog", "\u00c9", "\u2126"], None, None, False),
        (["dog", "<S>", "<T>"], None, None, False),  # Google's Chinese vocabulary
        (["dog"], None, True, True),
        (["dog"], {"do_lower_case": False}, None, True),
        (["dog", "Dog"], {"do_lower_case": True}, None, False),
        (["dog", "Dog"], {"model_max_length": 512}, None, True),
        (["dog", "Dog"], {"tokenizer_class": "BertTokenizer"}, True, True),
    ],
)
def test_case_comes_from_the_caller_the_files_beside_or_the_pieces(
    tmp_path, tokens, config, cased, expected
):
    file = write_vocabulary(tmp_path, [*SPECIALS, *tokens])
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(file, cased)
    assert tokenizer.cased is expected
    assert (tokenizer.encode("DOG") == [tokenizer.token_to_id("dog")]) is not expected


@pytest.mark.parametrize("tokenizer_class", ["BertTokenizer", "BertTokenizerFast"])
@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"do_lower_case": True}])
def test_berts_own_class_lower_cases_unless_it_is_told_otherwise(
    tmp_path, tokenizer_class, settings
):
    write_vocabulary(tmp_path, google_vocabulary(cased=True))
    config = {"tokenizer_class": tokenizer_class} | settings
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert_reads_alike(load_tokenizer(tmp_path), opened_by_transformers(tmp_path))


@pytest.mark.parametrize(
    "config",
    [None, {}, {"model_max_length": 512}, {"do_basic_tokenize": True}, {"tokenizer_class": None}],
)
def test_capitals_keep_a_cased_model_cased_where_no_class_is_named(tmp_path, config):
    write_vocabulary(tmp_path, google_vocabulary(cased=True))
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    # Transformers goes by config.json's model type here, to the harm of such models.
    assert opened_by_transformers(tmp_path).tokenize("UN Un") == ["un", "un"]
    tokenizer = load_tokenizer(tmp_path)
    assert [tokenizer.id_to_token(n) for n in tokenizer.encode("UN Un")] == ["UN", "Un"]
