"""WordPiece: Google's vocabularies exactly as their owner reads them, and new ones trained here."""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from bertjax.errors import UserError
from bertjax.text.normalization import safe_normalizer
from bertjax.text.vocabulary import (
    SPECIAL_TOKENS,
    as_text,
    digest_of,
    find_special_ids,
    read_text,
    write_files,
)

VOCABULARY_FILE = "vocab.txt"
SETTINGS_FILE = "wordpiece.json"

_LONGEST_WORD = 100  # characters; longer words become [UNK], as in Hugging Face's BertTokenizer
_COVERAGE = 0.9999  # share of the text's characters that a trained alphabet tries to keep
_LEAST_COVERAGE = 0.99  # below this a vocabulary is refused as too small
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
        return encoding.ids, encoding.offsets

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
    if cased is not None and settings.cased != cased:
        raise UserError(
            f"{path}: its settings say {'cased' if settings.cased else 'uncased'}; "
            f"it cannot be read as {'cased' if cased else 'uncased'}"
        )
    return WordPiece(tokens, settings, str(path))


def wordpiece_from_huggingface(path: Path) -> WordPiece:
    """Reads Hugging Face's `tokenizer.json` of a BERT tokenizer (type WordPiece).

    Raises:
        UserError: another type of model or of normalisation.
    """
    values = _read_json(path)
    model, normalizer = values.get("model") or {}, values.get("normalizer") or {}
    if model.get("type") != "WordPiece" or normalizer.get("type") != "BertNormalizer":
        raise UserError(f"{path}: not the tokenizer of a BERT (WordPiece with BertNormalizer)")
    settings = WordPieceSettings(
        cased=not normalizer["lowercase"],
        strip_accents=normalizer["strip_accents"],
        separate_chinese=normalizer["handle_chinese_chars"],
    )
    vocabulary = model["vocab"]
    return WordPiece(sorted(vocabulary, key=vocabulary.__getitem__), settings, str(path))


def train_wordpiece(lines: Iterable[str], vocab_size: int, cased: bool) -> WordPiece:
    """Trains a vocabulary; the same lines give the same vocabulary, on any machine.

    Memory grows with the number of distinct words; a caller with a large corpus gives a sample.
    The vocabulary is smaller than `vocab_size` where the text has too few repeated words.

    Raises:
        UserError: no words in the text, or a size that cannot hold its characters.
    """
    settings = WordPieceSettings(cased=cased, recompose=True)
    words = _count_words(lines, settings)
    if not words:
        raise UserError("cannot train a vocabulary: the corpus holds no text")
    alphabet = _choose_alphabet(words, vocab_size)
    tokens = _learn(words, [*SPECIAL_TOKENS, *alphabet], vocab_size)
    return WordPiece(tokens, settings, "the trained vocabulary")


def _count_words(lines: Iterable[str], settings: WordPieceSettings) -> Counter[str]:
    raw: Counter[str] = Counter()
    for line in lines:
        raw.update(line.split())
    normalizer, splitter = _normalizer(settings), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    # Normalising each distinct word once is ten times faster than normalising every line.
    for text, count in raw.items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            if len(word) <= _LONGEST_WORD:
                words[word] += count
    return words


def _choose_alphabet(words: Mapping[str, int], vocab_size: int) -> list[str]:
    """One-character pieces of the commonest characters.

    They fill at most half of the vocabulary, more only if that half covers too little of the text.
    Characters are taken by count, then by code point, never in the order of a hash map.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    initial = {word[0] for word in words}
    inner = {character for word in words for character in word[1:]}
    total, covered, room = sum(counts.values()), 0, (vocab_size - len(SPECIAL_TOKENS)) // 2
    pieces: list[str] = []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        forms = [character] * (character in initial) + [f"##{character}"] * (character in inner)
        if covered >= _COVERAGE * total:
            break
        if len(pieces) + len(forms) > room and covered >= _LEAST_COVERAGE * total:
            break
        pieces += forms
        covered += count
    if (smallest := len(SPECIAL_TOKENS) + len(pieces)) > vocab_size:
        raise UserError(
            f"a vocabulary of {vocab_size} cannot hold the characters of this text; "
            f"the smallest that works is {smallest}"
        )
    return sorted(pieces)


def _learn(words: Mapping[str, int], first: list[str], vocab_size: int) -> list[str]:
    """The vocabulary in order of ids: `first`, then learned pieces, most frequent pairs first.

    The library numbers one-character pieces as it meets them in a hash map, and breaks ties
    between pairs by those numbers. Giving all of them beforehand makes its result repeatable.
    """
    known = set(first)
    learner = tokenizers.Tokenizer(models.WordPiece())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=first, show_progress=False
    )

    def repeated() -> Iterator[str]:
        for word, count in words.items():
            if word[0] in known and all(f"##{character}" in known for character in word[1:]):
                for start in range(0, count, 1000):
                    yield f"{word} " * min(1000, count - start)

    learner.train_from_iterator(repeated(), trainer)
    vocabulary = learner.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _normalizer(settings: WordPieceSettings) -> normalizers.Normalizer:
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
    model = models.WordPiece(ids, unk_token=unknown, max_input_chars_per_word=_LONGEST_WORD)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = _normalizer(settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


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
