"""Text to token ids and back: one small interface over WordPiece and SentencePiece."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from bertjax.errors import UserError
from bertjax.text.sentencepiece import load_sentencepiece, train_sentencepiece
from bertjax.text.wordpiece import (
    VOCABULARY_FILE,
    load_wordpiece,
    wordpiece_from_huggingface,
)
from bertjax.text.wordpiece_training import train_wordpiece

__all__ = ["Tokenizer", "load_tokenizer", "train_sentencepiece", "train_wordpiece"]

_SENTENCEPIECE_SUFFIXES = (".model", ".spiece")


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

    def encode(self, text: str) -> list[int]:
        """Ids without special tokens; a literal "[MASK]" in the text is plain text."""
        ...

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """`encode` of each text, faster."""
        ...

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids, and for each the (start, end) characters of `text` that it stands for."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Readable text of the ids; special tokens other than the unknown one are left out."""
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
        path: a folder written by `save` or holding one in `tokenizer/` (DATA, RUN); Google's
            `vocab.txt` or a folder with one; Hugging Face's `tokenizer.json` or a folder with one;
            a SentencePiece model (`.model`, `.spiece`).
        cased: for a bare `vocab.txt`; None takes the settings beside it, else a vocabulary with
            capital letters is cased.

    Raises:
        UserError: nothing readable there, special tokens missing, or `cased` contradicted.
    """
    path = Path(path)
    if path.is_dir():
        path = _find_vocabulary(path)
    if not path.is_file():
        raise UserError(f"{path}: no such tokenizer file or folder")
    if path.suffix == ".json":
        return wordpiece_from_huggingface(path, cased)
    if path.suffix in _SENTENCEPIECE_SUFFIXES:
        return load_sentencepiece(path, cased)
    return load_wordpiece(path, cased)


def _find_vocabulary(folder: Path) -> Path:
    for place in (folder / "tokenizer", folder):
        models = (
            file for kind in _SENTENCEPIECE_SUFFIXES for file in sorted(place.glob(f"*{kind}"))
        )
        for file in (place / VOCABULARY_FILE, *models, place / "tokenizer.json"):
            if file.is_file():
                return file
    raise UserError(f"{folder}: no tokenizer in it (vocab.txt, a .model file or tokenizer.json)")
