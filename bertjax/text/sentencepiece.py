"""SentencePiece: KoBERT-like models as they are, and new unigram or BPE models trained here."""

import bisect
import functools
import io
import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sentencepiece

from bertjax.errors import UserError
from bertjax.protobuf import field, read_fields
from bertjax.text.normalization import safe_normalizer
from bertjax.text.renumbering import renumbered
from bertjax.text.vocabulary import (
    SPECIAL_TOKENS,
    WORD_START,
    digest_of,
    find_special_ids,
    require_unicode,
    without_spaces,
    without_special,
    write_files,
)

MODEL_FILE = "tokenizer.model"

# The trainer splits its sums over this many parts, so that the number decides the last bits of
# the result: it is fixed, whatever the machine has.
_TRAINING_THREADS = 4
_QUIET = 2  # log errors only
_LONGEST_LINE = 1 << 16  # bytes; the trainer leaves out longer ones
_LONGEST_WORD = _LONGEST_LINE // 4 - 1  # characters
_SCORE_UNIT = 2.0**-8
_PIECES, _SCORE = 1, 2  # fields of ModelProto and its SentencePiece, sentencepiece_model.proto


class SentencePiece:
    """A SentencePiece model. See `bertjax.text.tokenizer.Tokenizer` for the methods.

    Attributes:
        model: its file.
        backend: the library's own object.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes, origin: str) -> None:
        """Opens a serialized model; `origin` names it in error messages.

        Raises:
            UserError: not a model, or a special token is missing.
        """
        self.backend = _open(model, origin)
        self.model = model
        self.vocab_size = self.backend.get_piece_size()
        self._tokens = _pieces(self.backend)
        # Our own table: the library answers the unknown id for a piece that does not exist.
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        special = find_special_ids(self._ids, origin)
        self.pad_id, self.unknown_id = special.pad, special.unknown
        self.classifier_id, self.separator_id = special.classifier, special.separator
        self.mask_id = special.mask
        every = range(self.vocab_size)
        silent = (self.backend.is_control, self.backend.is_unknown, self.backend.is_unused)
        controls = {index for index in every if any(check(index) for check in silent)}
        self.special_ids = tuple(sorted(controls | set(special.all)))
        self.continues_word = np.array([not token.startswith(WORD_START) for token in self._tokens])
        self.continues_word[list(self.special_ids)] = False
        self.cased = "A" in self.backend.normalize("A")
        self.digest = digest_of({MODEL_FILE: model})
        # Some models hold "[MASK]" as a user-defined symbol, which they would read from the text.
        self._readable_specials = {
            index
            for index in set(self.special_ids) - {self.unknown_id}
            if index in self.backend.encode(self._tokens[index])
        }

    # A model reads no special token from a text, so `plain_text` changes nothing here.

    def encode(self, text: str, *, plain_text: bool = False) -> list[int]:
        del plain_text
        return self._plain(self.backend.encode(require_unicode(text)))

    def encode_batch(self, texts: list[str], *, plain_text: bool = False) -> list[list[int]]:
        del plain_text
        checked = [require_unicode(text) for text in texts]
        return [self._plain(ids) for ids in self.backend.encode(checked)]

    def encode_with_offsets(
        self, text: str, *, plain_text: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        del plain_text
        mapping = self.backend.encode(require_unicode(text), return_type="offset_mapping")
        offsets = [without_spaces(text, start, end) for start, end in mapping["offsets"]]
        return self._plain(mapping["ids"]), offsets

    def decode(self, ids: Sequence[int]) -> str:
        hidden = set(self.special_ids) - {self.unknown_id}
        return self.backend.decode(without_special(ids, hidden, self.vocab_size))

    def id_to_token(self, index: int) -> str:
        return self._tokens[index]

    def token_to_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def save(self, folder: str | Path) -> None:
        write_files(folder, {MODEL_FILE: self.model})

    def _plain(self, ids: list[int]) -> list[int]:
        if not self._readable_specials:
            return ids
        return [self.unknown_id if index in self._readable_specials else index for index in ids]


def read_pieces(path: Path) -> list[str]:
    """A model's pieces in the order of their ids; raises UserError if it is no model."""
    return _pieces(_open(_read(path), str(path)))


def load_sentencepiece(
    path: Path, cased: bool | None = None, tokens: list[str] | None = None
) -> SentencePiece:
    """Reads a model file.

    Args:
        path: the file.
        cased: what the caller expects.
        tokens: every piece in the order of the ids, where that is not the model's own.

    Raises:
        UserError: not readable, not a model, special tokens missing, `tokens` of another model, or
            the model's own normalisation contradicts `cased`.
    """
    model = _read(path)
    if tokens is not None and tokens != _pieces(_open(model, str(path))):
        model = renumbered(model, tokens, str(path))
    tokenizer = SentencePiece(model, str(path))
    if cased is not None and tokenizer.cased != cased:
        habit = "keeps case" if tokenizer.cased else "lower-cases"
        raise UserError(f"{path}: the model {habit} by itself; leave the choice of case to it")
    return tokenizer


def _open(model: bytes, origin: str) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise UserError(f"{origin}: not a SentencePiece model") from error


def _pieces(backend: sentencepiece.SentencePieceProcessor) -> list[str]:
    return backend.id_to_piece(list(range(backend.get_piece_size())))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def train_sentencepiece(
    lines: Iterable[str],
    vocab_size: int,
    cased: bool,
    model_type: Literal["unigram", "bpe"] = "unigram",
) -> SentencePiece:
    """Trains a model; the same lines give the same model, on any machine.

    Cased models normalise as SentencePiece does by default (NFKC), uncased ones as
    `safe_normalizer`. All lines are held in memory: a caller with a large corpus gives a sample.

    Raises:
        UserError: no text, or a size that the text cannot fill or that cannot hold its characters.
    """
    model = io.BytesIO()
    pad, unknown, classifier, separator, mask = SPECIAL_TOKENS
    sentencepiece.SetMinLogLevel(_QUIET)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_one_line_each(lines),
            model_writer=model,
            model_type=model_type,
            vocab_size=vocab_size,
            normalizer=_normalizer(cased),
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece=pad,
            unk_piece=unknown,
            bos_piece=classifier,
            eos_piece=separator,
            control_symbols=[mask],
            max_sentence_length=_LONGEST_LINE,
            num_threads=_TRAINING_THREADS,
            minloglevel=_QUIET,
        )
    except RuntimeError as error:
        raise _training_error(str(error), vocab_size) or error from error
    return SentencePiece(_with_round_scores(model.getvalue()), "the trained model")


def _with_round_scores(model: bytes) -> bytes:
    """The model with every piece's score rounded to a multiple of `_SCORE_UNIT`.

    Then float32 and float64 add the scores of a sentence up without error, and two ways to cut it
    that are equally likely tie wherever they are computed: the exported model cuts alike.
    """
    rounded = bytearray()
    for number, value in read_fields(model):
        if number == _PIECES:
            piece = dict(read_fields(value))
            (score,) = struct.unpack("<f", piece[_SCORE])
            piece[_SCORE] = round(score / _SCORE_UNIT) * _SCORE_UNIT
            value = b"".join(field(*item) for item in piece.items())
        rounded += field(number, value)
    return bytes(rounded)


def _training_error(message: str, vocab_size: int) -> UserError | None:
    """The trainer's complaint in our words, None if it is no fault of the input."""
    if found := re.search(r"Vocabulary size too high .* value <= (\d+)", message):
        return UserError(
            f"the corpus is too small for a vocabulary of {vocab_size}; "
            f"the largest that works is {found[1]}"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"a vocabulary of {vocab_size} cannot hold the characters of this text; "
            f"the smallest that works is {int(found[1]) + 1}"
        )
    if "sentences_.empty()" in message:
        return UserError("cannot train a vocabulary: the corpus holds no text")
    return None


def _one_line_each(lines: Iterable[str]) -> Iterator[str]:
    """The lines without superfluous white space; long ones in parts that the trainer takes.

    Words, too: a page of Chinese is one.
    """
    for line in lines:
        words = [
            word[start : start + _LONGEST_WORD]
            for word in line.split()
            for start in range(0, len(word), _LONGEST_WORD)
        ]
        while words:
            size = list(accumulate(len(word.encode()) + 1 for word in words))
            count = max(bisect.bisect_right(size, _LONGEST_LINE), 1)
            yield " ".join(words[:count])
            words = words[count:]


def _normalizer(cased: bool) -> sentencepiece.SentencePieceNormalizer:
    """What a trained model carries with it to normalise text."""
    rules: dict[str, Any] = {"rule_name": "nmt_nfkc"} if cased else {"norm_map": _uncased_rules()}
    return sentencepiece.SentencePieceNormalizer(
        **rules, add_dummy_prefix=True, escape_whitespaces=True, remove_extra_whitespaces=True
    )


@functools.cache
def _uncased_rules() -> list[tuple[str, str]]:
    """`safe_normalizer` as a table: characters, and what they become.

    Hangul written as jamo is a sequence of characters, so that every syllable's spellings are
    listed.
    """
    normalizer = safe_normalizer(cased=False, separate_chinese=False)
    rules: dict[str, str] = {}
    private_use = range(0xE000, 0xF900)
    for code in chain(range(1, 0xD800), range(0xE000, 0x30000), range(0xE0000, 0xE01F0)):
        if code not in private_use and (plain := normalizer.normalize_str(chr(code))) != chr(code):
            rules[chr(code)] = plain
    for code in range(ord("가"), ord("힣") + 1):
        jamo = unicodedata.normalize("NFD", chr(code))
        rules[jamo] = chr(code)
        if len(jamo) == 3:
            rules[unicodedata.normalize("NFC", jamo[:2]) + jamo[2]] = chr(code)
    return sorted(rules.items())
