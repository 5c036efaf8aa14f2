"""The tokenizer files of a Hugging Face folder, read as `transformers` reads them.

tokenizer.json holds everything: vocabulary, rules, special tokens. A folder without it has a
vocab.txt. Beside either stand tokenizer_config.json (how to normalise, names of special tokens)
and, in older folders, special_tokens_map.json and added_tokens.json.
"""

import functools
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models

from bertjax.errors import UserError
from bertjax.files import read_json
from bertjax.text.added_tokens import CONFIG_FILE, NAME_KEYS, add_tokens, names_of_special
from bertjax.text.backend import BackendTokenizer
from bertjax.text.vocabulary import WORD_START, SpecialIds, find_special_ids
from bertjax.text.wordpiece import (
    LONGEST_WORD,
    PREFIX,
    WordPieceSettings,
    has_capitals,
    make_wordpiece,
    read_lines,
    refuse_other_case,
    register_special,
    survive_lines,
    wordpiece_backend,
    wordpiece_normalizer,
)

TOKENIZER_FILE = "tokenizer.json"
GENERIC_CLASS = "PreTrainedTokenizerFast"
"""The `tokenizer_class` that takes tokenizer.json as it is, in transformers 4 and 5 alike."""

# These normalise as tokenizer_config.json says, whatever tokenizer.json says.
_BERT_CLASSES = ("BertTokenizer", "BertTokenizerFast")
_NORMALIZER_KEYS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_NORMALIZER_DEFAULTS = {"lowercase": True, "strip_accents": None, "handle_chinese_chars": True}


def load_tokenizer_json(path: Path, cased: bool | None = None) -> BackendTokenizer:
    """Reads a `tokenizer.json` and the settings beside it.

    Raises:
        UserError: not a tokenizer, neither WordPiece nor SentencePiece, special tokens missing,
            added tokens whose ids contradict it, or one that does otherwise than `cased`.
    """
    config = _read_config(path.parent)
    values = read_json(path) | {"truncation": None, "padding": None}
    match values.get("normalizer"):
        case {"type": "BertNormalizer"} as rules:
            said = {ours: config[key] for key, ours in _NORMALIZER_KEYS.items() if key in config}
            if (named := config.get("tokenizer_class")) in _BERT_CLASSES:
                rules |= _NORMALIZER_DEFAULTS | said
            elif named is None:
                rules |= said
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(values))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: not a tokenizer that can be read ({error})") from error
    _refuse_unknown_kind(backend, path)
    if add_tokens(backend, path, config):
        values = json.loads(backend.to_str())
    ids = backend.get_vocab(with_added_tokens=True)
    special = find_special_ids(ids, str(path), names_of_special(path.parent, config))
    tokens = sorted(ids, key=ids.__getitem__)
    settings = _wordpiece_settings(backend, special)
    has_gaps = ids[tokens[-1]] != len(tokens) - 1
    if settings is not None and not has_gaps and survive_lines(tokens):
        tokenizer = make_wordpiece(tokens, settings, str(path))
    else:
        tokenizer = _as_it_is(backend, special, values)
    refuse_other_case(tokenizer.cased, cased, path)
    return tokenizer


def load_vocabulary(path: Path, cased: bool | None = None) -> BackendTokenizer:
    """Reads a `vocab.txt` and the settings beside it.

    Case is what `do_lower_case` says, else `cased`; else BERT's own class is uncased, as by its
    default, and where it is not named, capital letters mean cased.

    Raises:
        UserError: not a vocabulary, special tokens missing, added tokens whose ids contradict the
            vocabulary, or settings that say otherwise than `cased`.
    """
    config, tokens = _read_config(path.parent), read_lines(path)
    if any(token.startswith(WORD_START) for token in tokens) and PREFIX not in "".join(tokens):
        raise UserError(f"{path}: these are the pieces of a SentencePiece model; give the model")
    if (lower_case := config.get("do_lower_case")) is not None:
        refuse_other_case(not lower_case, cased, path)
        cased = not lower_case
    elif cased is None:
        # Not by config.json's model type: cased models without a class, as BioBERT and SciBERT
        # have been published, would become uncased, as they do in transformers.
        cased = config.get("tokenizer_class") not in _BERT_CLASSES and has_capitals(tokens)
    settings = WordPieceSettings(
        cased=cased,
        strip_accents=config.get("strip_accents"),
        separate_chinese=config.get("tokenize_chinese_chars") is not False,
    )
    ids = {token: index for index, token in enumerate(tokens)}
    special = find_special_ids(ids, str(path), names_of_special(path.parent, config))
    backend = wordpiece_backend(ids, settings, tokens[special.unknown])
    add_tokens(backend, path, config)
    if _wordpiece_settings(backend, special) == settings:
        return make_wordpiece(tokens, settings, str(path))
    return _as_it_is(backend, special, json.loads(backend.to_str()))


@functools.lru_cache(maxsize=1)
def lower_cased(tokenizer: BackendTokenizer) -> BackendTokenizer:
    """The tokenizer with every text in lower case first, all but the special tokens in it.

    As sentence-transformers changes one if `do_lower_case` is set.
    """
    values = json.loads(tokenizer.backend.to_str())
    steps = [{"type": "Lowercase"}, *([values["normalizer"]] if values["normalizer"] else [])]
    values["normalizer"] = {"type": "Sequence", "normalizers": steps}
    special = SpecialIds(
        tokenizer.pad_id,
        tokenizer.unknown_id,
        tokenizer.classifier_id,
        tokenizer.separator_id,
        tokenizer.mask_id,
    )
    return _as_it_is(tokenizers.Tokenizer.from_str(json.dumps(values)), special, values)


def is_model_alone(path: Path, pieces: Sequence[str]) -> bool:
    """Whether a `tokenizer.json` does no more than the SentencePiece model with these pieces.

    It may number the pieces otherwise, as XLM-RoBERTa's does, lower-case, or have added tokens.
    """
    values = read_json(path)
    kinds = set(_kinds(values.get("normalizer")))
    changes = kinds & {"Lowercase", "StripAccents", "BertNormalizer"}
    added = any(token.get("special") is False for token in values.get("added_tokens") or ())
    return tokens_of_json(path) == list(pieces) and not changes and not added


def _kinds(step: Any) -> Iterator[str]:
    """The kinds of a normaliser and of those within it."""
    match step:
        case {"type": "Sequence", "normalizers": list() as steps}:
            for each in steps:
                yield from _kinds(each)
        case {"type": str() as kind}:
            yield kind


def tokens_of_json(path: Path) -> list[str]:
    """The vocabulary of a `tokenizer.json` in the order of its ids; empty if it holds none."""
    match read_json(path).get("model"):
        case {"vocab": list() as scored}:
            return [piece for piece, _ in scored]
        case {"vocab": dict() as ids}:
            return sorted(ids, key=ids.__getitem__)
    return []


def _as_it_is(
    backend: tokenizers.Tokenizer, special: SpecialIds, values: dict[str, Any]
) -> BackendTokenizer:
    """A tokenizer that is saved as the JSON `values` that it came from."""
    names: dict[str, Any] = {
        key: backend.id_to_token(getattr(special, role)) for role, key in NAME_KEYS.items()
    }
    register_special(backend, names.values())
    files = {TOKENIZER_FILE: values, CONFIG_FILE: {"tokenizer_class": GENERIC_CLASS, **names}}
    written = {name: json.dumps(file).encode() for name, file in files.items()}
    return BackendTokenizer(backend, special, written)


def _wordpiece_settings(
    backend: tokenizers.Tokenizer, special: SpecialIds
) -> WordPieceSettings | None:
    """With which `make_wordpiece` makes the same tokenizer, so that it has the same digest."""
    for index, token in backend.get_added_tokens_decoder().items():
        has_habits = token.lstrip or token.rstrip or token.single_word or token.normalized
        if index not in special.all or has_habits or not token.special:
            return None
    values = json.loads(backend.to_str())
    model, splitter, rules = values["model"], values["pre_tokenizer"], values["normalizer"]
    same_model = (
        model["type"] == "WordPiece"
        and model["continuing_subword_prefix"] == PREFIX
        and model["max_input_chars_per_word"] == LONGEST_WORD
        and model["vocab"].get(model["unk_token"]) == special.unknown
        and _have_usual_names(model["vocab"], special)
    )
    if not same_model or splitter != {"type": "BertPreTokenizer"} or rules is None:
        return None
    return _settings_of(rules)


def _settings_of(rules: dict[str, Any]) -> WordPieceSettings | None:
    if rules["type"] == "BertNormalizer" and rules["clean_text"]:
        return WordPieceSettings(
            not rules["lowercase"], rules["strip_accents"], rules["handle_chinese_chars"]
        )
    for cased, separate_chinese in itertools.product((False, True), repeat=2):
        settings = WordPieceSettings(cased, None, separate_chinese, recompose=True)
        if json.loads(wordpiece_normalizer(settings).__getstate__()) == rules:
            return settings
    return None


def _have_usual_names(ids: Mapping[str, int], special: SpecialIds) -> bool:
    try:
        return find_special_ids(ids, "") == special
    except UserError:
        return False


def _refuse_unknown_kind(backend: tokenizers.Tokenizer, path: Path) -> None:
    ids = backend.get_vocab(with_added_tokens=True)
    is_wordpiece = isinstance(backend.model, models.WordPiece)
    if not is_wordpiece and not any(token.startswith(WORD_START) for token in ids):
        raise UserError(
            f"{path}: a tokenizer of type {type(backend.model).__name__} that marks neither the "
            "starts nor the insides of words; WordPiece and SentencePiece can be read"
        )
    if max(ids.values(), default=0) > 2 * len(ids):
        raise UserError(f"{path}: the ids of its vocabulary have gaps wider than itself")


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG_FILE
    config = read_json(file) if file.is_file() else {}
    for key in _NORMALIZER_KEYS:
        if not isinstance(config.get(key), bool | None):
            raise UserError(f"{file}: {key} must be true, false or null, not {config[key]!r}")
    if config.get("tokenizer_class") == "BertJapaneseTokenizer":
        raise UserError(
            f"{file}: BertJapaneseTokenizer cuts words with a dictionary of its own, which cannot "
            "be read here"
        )
    return config
