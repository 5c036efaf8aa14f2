"""WordPiece vocabularies: Google's, exactly as their owner reads them, and those trained here."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from bertjax.errors import UserError
from bertjax.files import read_json, read_text
from bertjax.text.backend import BackendTokenizer
from bertjax.text.normalization import safe_normalizer
from bertjax.text.vocabulary import as_text, find_special_ids

VOCABULARY_FILE = "vocab.txt"
SETTINGS_FILE = "wordpiece.json"

PREFIX = "##"  # of a piece that goes on with a word
LONGEST_WORD = 100  # characters; longer words become [UNK], as in Hugging Face's BertTokenizer


@dataclass(frozen=True)
class WordPieceSettings:
    """How text is normalised before it is cut into pieces."""

    cased: bool
    strip_accents: bool | None = None  # None: as Google does, exactly when uncased
    separate_chinese: bool = True  # spaces around CJK ideographs
    recompose: bool = False  # compose Hangul again after accents are stripped: trained here


def make_wordpiece(
    tokens: Sequence[str], settings: WordPieceSettings, origin: str
) -> BackendTokenizer:
    """The tokenizer of a vocabulary in the order of its ids; `origin` names it in error messages.

    Raises:
        UserError: a special token is missing.
    """
    ids = {token: index for index, token in enumerate(tokens)}
    special = find_special_ids(ids, origin)
    backend = wordpiece_backend(ids, settings, tokens[special.unknown])
    register_special(backend, (tokens[index] for index in special.all))
    written = json.dumps(dataclasses.asdict(settings), indent=2) + "\n"
    files = {VOCABULARY_FILE: as_text(tokens).encode(), SETTINGS_FILE: written.encode()}
    return BackendTokenizer(backend, special, files, composes=settings.recompose)


def load_wordpiece(path: Path, cased: bool | None = None) -> BackendTokenizer:
    """Reads a `vocab.txt` with our settings beside it.

    Raises:
        UserError: not readable, not UTF-8, special tokens missing, or settings that say otherwise
            than `cased`.
    """
    beside = path.with_name(SETTINGS_FILE)
    try:
        settings = WordPieceSettings(**read_json(beside))
    except TypeError as error:
        raise UserError(f"{beside}: not the settings of a tokenizer ({error})") from error
    refuse_other_case(settings.cased, cased, path)
    return make_wordpiece(read_lines(path), settings, str(path))


def read_lines(path: Path) -> list[str]:
    """The tokens of a `vocab.txt`; raises UserError if it is no text."""
    return _lines(read_text(path))


def survive_lines(tokens: Sequence[str]) -> bool:
    """Whether a `vocab.txt` gives these tokens back: none ends in white space or breaks a line."""
    return _lines(as_text(tokens).encode().decode("utf-8-sig")) == list(tokens)


def _lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    return [line.rstrip() for line in lines]


def has_capitals(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary looks cased.

    Told by A to Z alone: an uncased one may hold other signs that have a lower case. Tokens in
    brackets do not count: Google's Chinese vocabulary has `<S>` and `<T>`.
    """
    return any(re.search("[A-Z]", token) for token in tokens if not token.startswith(("[", "<")))


def refuse_other_case(is_cased: bool, cased: bool | None, path: Path) -> None:
    """Raises UserError if `cased` is given and is not what the tokenizer at `path` is."""
    if cased is not None and is_cased != cased:
        raise UserError(
            f"{path}: its settings say {'cased' if is_cased else 'uncased'}; "
            f"it cannot be read as {'cased' if cased else 'uncased'}"
        )


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


def wordpiece_backend(
    ids: Mapping[str, int], settings: WordPieceSettings, unknown: str
) -> tokenizers.Tokenizer:
    """The library's tokenizer, its special tokens not yet registered."""
    model = models.WordPiece(dict(ids), unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = wordpiece_normalizer(settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix=PREFIX)
    return backend


def register_special(backend: tokenizers.Tokenizer, tokens: Iterable[str]) -> None:
    """Lets the backend find these tokens in a text, as Hugging Face's tokenizers do.

    Those registered already keep their habits, such as taking the space before them along.
    """
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in tokens if t not in known]
    )
