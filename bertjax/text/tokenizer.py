"""Text to token ids and back: one small interface over WordPiece and SentencePiece."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from bertjax.errors import UserError
from bertjax.text.huggingface import (
    TOKENIZER_FILE,
    is_model_alone,
    load_tokenizer_json,
    load_vocabulary,
)
from bertjax.text.sentencepiece import load_sentencepiece, read_pieces, train_sentencepiece
from bertjax.text.wordpiece import SETTINGS_FILE, VOCABULARY_FILE, load_wordpiece, read_lines
from bertjax.text.wordpiece_training import train_wordpiece

__all__ = ["Tokenizer", "load_tokenizer", "train_sentencepiece", "train_wordpiece"]

_MODEL_SUFFIXES = (".model", ".spiece")


class Tokenizer(Protocol):
    """A fixed vocabulary, and the rule that cuts text into its pieces.

    Attributes:
        kind: "wordpiece" or "sentencepiece".
        cased: whether capitals and accents are kept.
        vocab_size: number of ids.
        special_ids: every id that text never yields as a word, unknown included, ascending.
        digest: SHA-256, in hexadecimal, of the saved files.
        continues_word: bool [vocab_size], True where a piece goes on with the word before it.
    """

    kind: str
    cased: bool
    vocab_size: int
    pad_id: int
    unknown_id: int
    classifier_id: int
    separator_id: int
    mask_id: int
    special_ids: tuple[int, ...]
    digest: str
    continues_word: np.ndarray

    def encode(self, text: str, *, plain_text: bool = False) -> list[int]:
        """Ids without special tokens around them.

        This and the next two raise UserError for what is no text in valid Unicode.

        A special token that is written out in the text, such as "[MASK]", is read as the
        vocabulary's owner reads it: WordPiece finds it, as Hugging Face's BertTokenizerFast does;
        to SentencePiece it is text.

        Args:
            text: any text.
            plain_text: read every special token in it as text. For text that nobody wrote for the
                model, such as a corpus, which must not bring structure of its own.
        """
        ...

    def encode_batch(self, texts: list[str], *, plain_text: bool = False) -> list[list[int]]:
        """`encode` of each text, faster."""
        ...

    def encode_with_offsets(
        self, text: str, *, plain_text: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """`encode`, and for each id the (start, end) characters of `text` that it stands for."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Readable text of the ids; special tokens other than the unknown one are left out.

        Raises UserError for an id that no piece has.
        """
        ...

    def id_to_token(self, index: int) -> str:
        """The piece as it stands in the vocabulary."""
        ...

    def token_to_id(self, token: str) -> int | None:
        """The id of a piece, None if there is no such piece."""
        ...

    def save(self, folder: str | Path) -> None:
        """Writes what `load_tokenizer` needs; the loaded tokenizer has the same digest."""
        ...


def load_tokenizer(path: str | Path, cased: bool | None = None) -> Tokenizer:
    """Opens a tokenizer.

    Args:
        path: a folder written by `save`, or holding one in `tokenizer/` (DATA, RUN); a Hugging
            Face or Google folder; one of their files: `vocab.txt`, `tokenizer.json`, a
            SentencePiece model (`.model`, `.spiece`), whose ids a `vocab.txt` beside it may change.
        cased: for a bare `vocab.txt`; None takes the settings beside it or their class's default,
            else a vocabulary with capital letters is cased.

    Raises:
        UserError: nothing readable there, special tokens missing, files that contradict each
            other, or `cased` contradicted.
    """
    path = Path(path)
    if path.is_dir():
        path = _find_vocabulary(path)
    if not path.is_file():
        raise UserError(f"{path}: no such tokenizer file or folder")
    if path.suffix == ".json":
        return load_tokenizer_json(path, cased)
    if path.suffix in _MODEL_SUFFIXES:
        return load_sentencepiece(path, cased, _tokens_beside(path))
    if path.with_name(SETTINGS_FILE).is_file():
        return load_wordpiece(path, cased)
    return load_vocabulary(path, cased)


def _find_vocabulary(folder: Path) -> Path:
    """The file to read: ours first, then a model that the other files agree with."""
    for place in (folder / "tokenizer", folder):
        vocabulary, whole = place / VOCABULARY_FILE, place / TOKENIZER_FILE
        if (place / SETTINGS_FILE).is_file():
            return vocabulary
        for model in sorted(file for end in _MODEL_SUFFIXES for file in place.glob(f"*{end}")):
            pieces = _tokens_beside(model) or read_pieces(model)
            return whole if whole.is_file() and not is_model_alone(whole, pieces) else model
        for file in (whole, vocabulary):
            if file.is_file():
                return file
    raise UserError(f"{folder}: no tokenizer in it (vocab.txt, a .model file or tokenizer.json)")


def _tokens_beside(model: Path) -> list[str] | None:
    """The pieces by id where a `vocab.txt` beside the model lists them, as KoBERT's does."""
    vocabulary = model.with_name(VOCABULARY_FILE)
    return read_lines(vocabulary) if vocabulary.is_file() else None
