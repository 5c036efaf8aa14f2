"""Writes a tokenizer as the files from which `transformers.AutoTokenizer` makes the same one."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import processors

from bertjax.interop.sentencepiece_backend import to_backend
from bertjax.text.backend import BackendTokenizer
from bertjax.text.huggingface import CONFIG_FILE, GENERIC_CLASS, NAME_KEYS, TOKENIZER_FILE
from bertjax.text.sentencepiece import MODEL_FILE, SentencePiece
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary import as_text, write_files
from bertjax.text.wordpiece import (
    LONGEST_WORD,
    PREFIX,
    VOCABULARY_FILE,
    register_special,
    survive_lines,
)


def save_tokenizer(
    tokenizer: Tokenizer, folder: str | Path, max_length: int, num_segments: int = 2
) -> None:
    """Writes `tokenizer.json`, `tokenizer_config.json` and the vocabulary or model itself.

    AutoTokenizer then gives our ids between the classifier's and separators, with segment ids for
    pairs. It finds special tokens that are written out in a text, with SentencePiece too.

    Args:
        tokenizer: any of ours.
        folder: made if it is not there.
        max_length: positions of the model, special tokens included.
        num_segments: segments of the model; with one the second text of a pair has segment 0 too.

    Raises:
        UserError: the folder cannot be written, or a SentencePiece model that only its own
            library can run.
    """
    names = {
        key: tokenizer.id_to_token(getattr(tokenizer, f"{role}_id"))
        for role, key in NAME_KEYS.items()
    }
    backend, vocabulary = _backend(tokenizer, list(names.values()))
    backend.post_processor = processors.TemplateProcessing(
        single="{cls_token} $A {sep_token}".format(**names),
        pair="{cls_token} $A {sep_token} $B:{second} {sep_token}:{second}".format(
            **names, second=min(1, num_segments - 1)
        ),
        special_tokens=[
            (names["cls_token"], tokenizer.classifier_id),
            (names["sep_token"], tokenizer.separator_id),
        ],
    )
    values = json.loads(backend.to_str())
    config = {
        **(_class(values) if num_segments > 1 else {"tokenizer_class": GENERIC_CLASS}),
        **names,
        "model_max_length": max_length,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
    }
    write_files(folder, {TOKENIZER_FILE: _json(values), CONFIG_FILE: _json(config), **vocabulary})


def _backend(
    tokenizer: Tokenizer, special: list[str]
) -> tuple[tokenizers.Tokenizer, dict[str, bytes]]:
    """One to be changed, with its special tokens, and the file of its bare vocabulary."""
    if isinstance(tokenizer, SentencePiece):
        backend = to_backend(tokenizer.model, special)
        register_special(backend, special)
        return backend, {MODEL_FILE: tokenizer.model}
    assert isinstance(tokenizer, BackendTokenizer)
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    if tokenizer.kind != "wordpiece":
        return backend, {}
    tokens = [tokenizer.id_to_token(index) for index in range(tokenizer.vocab_size)]
    return backend, {VOCABULARY_FILE: as_text(tokens).encode()} if survive_lines(tokens) else {}


def _class(values: dict[str, Any]) -> dict[str, Any]:
    """The class that makes exactly this tokenizer, BERT's own where it does.

    In transformers 5 that class looks at the vocabulary and at these settings alone; it would
    break the Hangul of a vocabulary trained here.
    """
    model, rules = values["model"], values["normalizer"] or {}
    is_berts = (
        model["type"] == "WordPiece"
        and model["continuing_subword_prefix"] == PREFIX
        and model["max_input_chars_per_word"] == LONGEST_WORD
        and values["pre_tokenizer"] == {"type": "BertPreTokenizer"}
        and rules.get("type") == "BertNormalizer"
        and rules["clean_text"]
    )
    if not is_berts:
        return {"tokenizer_class": GENERIC_CLASS}
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": rules["lowercase"],
        "strip_accents": rules["strip_accents"],
        "tokenize_chinese_chars": rules["handle_chinese_chars"],
    }


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
