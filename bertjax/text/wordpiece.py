"""WordPiece vocabularies: Google's, exactly as their owner reads them, and those trained here."""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from bertjax.errors import UserError
from bertjax.text.normalization import safe_normalizer
from bertjax.text.vocabulary import (
    as_text,
    digest_of,
    find_special_ids,
    read_text,
    write_files,
)

VOCABULARY_FILE = "vocab.txt"
SETTINGS_FILE = "wordpiece.json"

LONGEST_WORD = 100  # characters; longer words become [UNK], as in Hugging Face's BertTokenizer
_UNUSED = re.compile(r"\[unused\d+\]")


@dataclass(frozen=True)
class WordPieceSettings:
    """How text is normalised before it is cut into pieces."""

    cased: bool
    strip_accents: bool | None = None  # None: as Google does, exactly when uncased
    separate_chinese: bool = True  # spaces around CJK ideographs
    recompose: bool = False  # compose Hangul again after accents are stripped: trained here


class WordPiece:
    """A WordPiece vocabulary. See `bertjax.text.tokenizer.Tokenizer` for the methods."""

    kind = "wordpiece"

    def __init__(self, tokens: Sequence[str], settings: WordPieceSettings, origin: str) -> None:
        """Builds the tokenizer; `origin` names the vocabulary in error messages.

        Raises:
            UserError: a special token is missing.
        """
        self._tokens = list(tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        special = find_special_ids(self._ids, origin)
        self.pad_id, self.unknown_id = special.pad, special.unknown
        self.classifier_id, self.separator_id = special.classifier, special.separator
        self.mask_id = special.mask
        self.settings = settings
        self.cased = settings.cased
        self.vocab_size = len(self._tokens)
        unused = {index for index, token in enumerate(self._tokens) if _UNUSED.fullmatch(token)}
        self.special_ids = tuple(sorted(unused | set(dataclasses.astuple(special))))
        self.continues_word = np.array([token.startswith("##") for token in self._tokens])
        self.digest = digest_of(self._files())
        self.backend = _backend(self._ids, settings, self._tokens[self.unknown_id])

    def encode(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        encodings = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoding = self.backend.encode(text, add_special_tokens=False)
        if not self.settings.recompose:
            return encoding.ids, encoding.offsets
        starts = [start for start, _ in encoding.offsets[1:]] + [len(text)]
        pairs = zip(encoding.offsets, starts, strict=False)
        offsets = [(start, _end_of_character(text, end, stop)) for (start, end), stop in pairs]
        return encoding.ids, offsets

    def decode(self, ids: Sequence[int]) -> str:
        hidden = set(self.special_ids) - {self.unknown_id}
        return self.backend.decode([int(index) for index in ids if int(index) not in hidden])

    def id_to_token(self, index: int) -> str:
        return self._tokens[index]

    def token_to_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def save(self, folder: str | Path) -> None:
        write_files(folder, self._files())

    def _files(self) -> dict[str, bytes]:
        settings = json.dumps(dataclasses.asdict(self.settings), indent=2) + "\n"
        return {VOCABULARY_FILE: as_text(self._tokens).encode(), SETTINGS_FILE: settings.encode()}


def load_wordpiece(path: Path, cased: bool | None = None) -> WordPiece:
    """Reads a `vocab.txt`; how to normalise comes from `cased`, the files beside it, or a guess.

    Beside it may stand our own settings or Hugging Face's `tokenizer_config.json`. Without them a
    vocabulary that holds capital letters is cased.

    Raises:
        UserError: not readable, not UTF-8, special tokens missing, or settings that say otherwise
            than `cased`.
    """
    lines = read_text(path).replace("\r\n", "\n").rstrip("\n").split("\n")
    tokens = [line.rstrip() for line in lines]
    settings = _settings_beside(path)
    if settings is None:
        settings = WordPieceSettings(cased=_has_capitals(tokens) if cased is None else cased)
    _refuse_other_case(settings, cased, path)
    return WordPiece(tokens, settings, str(path))


def wordpiece_from_huggingface(path: Path, cased: bool | None = None) -> WordPiece:
    """Reads Hugging Face's `tokenizer.json` of a BERT tokenizer (type WordPiece).

    Raises:
        UserError: another type of model or of normalisation, ids with gaps, or settings that say
            otherwise than `cased`.
    """
    match _read_json(path):
        case {
            "model": {"type": "WordPiece", "vocab": dict() as vocabulary},
            "normalizer": {
                "type": "BertNormalizer",
                "lowercase": bool() as lowercase,
                "strip_accents": (bool() | None) as strip_accents,
                "handle_chinese_chars": bool() as separate_chinese,
            },
        }:
            settings = WordPieceSettings(not lowercase, strip_accents, separate_chinese)
        case _:
            raise UserError(f"{path}: not the tokenizer of a BERT (WordPiece with BertNormalizer)")
    _refuse_other_case(settings, cased, path)
    ids = [index for index in vocabulary.values() if isinstance(index, int)]
    if len(ids) != len(vocabulary) or sorted(ids) != list(range(len(ids))):
        raise UserError(f"{path}: the ids of its vocabulary are not 0, 1, 2, ... without gaps")
    return WordPiece(sorted(vocabulary, key=vocabulary.__getitem__), settings, str(path))


def wordpiece_normalizer(settings: WordPieceSettings) -> normalizers.Normalizer:
    """What happens to a text before it is cut into words."""
    if settings.recompose:
        return safe_normalizer(settings.cased, settings.separate_chinese)
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.separate_chinese,
        strip_accents=settings.strip_accents,
        lowercase=not settings.cased,
    )


def _backend(
    ids: dict[str, int], settings: WordPieceSettings, unknown: str
) -> tokenizers.Tokenizer:
    """Without registered special tokens, so that a literal "[MASK]" in a text stays text."""
    model = models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = wordpiece_normalizer(settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def _end_of_character(text: str, end: int, stop: int) -> int:
    """Includes all that was composed into the last character; the library counts its first part."""
    while end < stop and (unicodedata.combining(text[end]) or "\u1160" <= text[end] <= "\u11ff"):
        end += 1
    return end


def _refuse_other_case(settings: WordPieceSettings, cased: bool | None, path: Path) -> None:
    if cased is not None and settings.cased != cased:
        raise UserError(
            f"{path}: its settings say {'cased' if settings.cased else 'uncased'}; "
            f"it cannot be read as {'cased' if cased else 'uncased'}"
        )


def _has_capitals(tokens: Sequence[str]) -> bool:
    return any(token != token.lower() for token in tokens if not token.startswith("["))


def _settings_beside(path: Path) -> WordPieceSettings | None:
    own, huggingface = path.with_name(SETTINGS_FILE), path.with_name("tokenizer_config.json")
    if own.is_file():
        try:
            return WordPieceSettings(**_read_json(own))
        except TypeError as error:
            raise UserError(f"{own}: not the settings of a tokenizer ({error})") from error
    values = _read_json(huggingface) if huggingface.is_file() else {}
    if "do_lower_case" not in values:
        return None
    return WordPieceSettings(
        cased=not values["do_lower_case"],
        strip_accents=values.get("strip_accents"),
        separate_chinese=values.get("tokenize_chinese_chars", True),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object")
    return values
