"""Any tokenizer that the `tokenizers` library runs, behind our interface."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models

from bertjax.text.vocabulary import (
    WORD_START,
    SpecialIds,
    digest_of,
    require_unicode,
    without_spaces,
    without_special,
    write_files,
)

_UNUSED = re.compile(r"\[unused\d+\]")


class BackendTokenizer:
    """A tokenizer with a vocabulary and rules of any origin.

    See `bertjax.text.tokenizer.Tokenizer` for the methods.

    Attributes:
        backend: the library's own object; its special tokens are registered, so that it finds
            them in a text.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special: SpecialIds,
        files: Mapping[str, bytes],
        composes: bool = False,
    ) -> None:
        """Wraps a tokenizer.

        Args:
            backend: without padding and truncation; not to be changed any more.
            special: ids of the five special tokens.
            files: what `save` writes.
            composes: the normaliser composes characters, which the library's offsets miss.
        """
        self.backend, self._files, self._composes = backend, dict(files), composes
        self._ids: dict[str, int] = backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(self._ids.values()) + 1
        self._tokens = [""] * self.vocab_size  # "" remains where the vocabulary has a gap
        for token, index in self._ids.items():
            self._tokens[index] = token
        self.pad_id, self.unknown_id = special.pad, special.unknown
        self.classifier_id, self.separator_id = special.classifier, special.separator
        self.mask_id = special.mask
        self.special_ids = _special_ids(backend, self._tokens, special)
        self.kind = "wordpiece" if isinstance(backend.model, models.WordPiece) else "sentencepiece"
        self.continues_word = _continuations(backend, self._tokens)
        self.continues_word[list(self.special_ids)] = False
        self.cased = backend.normalizer is None or "A" in backend.normalizer.normalize_str("A")
        self.digest = digest_of(self._files)
        self._plain = tokenizers.Tokenizer.from_str(backend.to_str())
        self._plain.encode_special_tokens = True
        # Some models hold "[MASK]" among their pieces, and would read it from plain text.
        self._readable_specials = {
            index
            for index in set(self.special_ids) - {self.unknown_id}
            if index in self._plain.encode(self._tokens[index], add_special_tokens=False).ids
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The library's objects lose this one setting when they are copied or pickled."""
        self.__dict__.update(state)
        self._plain.encode_special_tokens = True

    def encode(self, text: str, *, plain_text: bool = False) -> list[int]:
        backend = self._plain if plain_text else self.backend
        encoding = backend.encode(require_unicode(text), add_special_tokens=False)
        return self._checked(encoding.ids, plain_text)

    def encode_batch(self, texts: list[str], *, plain_text: bool = False) -> list[list[int]]:
        backend = self._plain if plain_text else self.backend
        checked = [require_unicode(text) for text in texts]
        encodings = backend.encode_batch_fast(checked, add_special_tokens=False)
        return [self._checked(encoding.ids, plain_text) for encoding in encodings]

    def encode_with_offsets(
        self, text: str, *, plain_text: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """The pieces of a text, and for each where it starts and ends in it, in characters."""
        backend = self._plain if plain_text else self.backend
        encoding = backend.encode(require_unicode(text), add_special_tokens=False)
        offsets = encoding.offsets
        if self._composes:
            stops = [*(start for start, _ in offsets), len(text)][1:]
            offsets = [
                (start, _end_of_character(text, end, stop))
                for (start, end), stop in zip(offsets, stops, strict=True)
            ]
        if self.kind == "sentencepiece":
            offsets = [without_spaces(text, start, end) for start, end in offsets]
        return self._checked(encoding.ids, plain_text), offsets

    def decode(self, ids: Sequence[int]) -> str:
        hidden = set(self.special_ids) - {self.unknown_id}
        shown = without_special(ids, hidden, self.vocab_size)
        return self.backend.decode(shown, skip_special_tokens=False)

    def id_to_token(self, index: int) -> str:
        return self._tokens[index]

    def token_to_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def save(self, folder: str | Path) -> None:
        write_files(folder, self._files)

    def _checked(self, ids: list[int], plain_text: bool) -> list[int]:
        if not plain_text or not self._readable_specials:
            return ids
        return [self.unknown_id if index in self._readable_specials else index for index in ids]


def _special_ids(
    backend: tokenizers.Tokenizer, tokens: Sequence[str], special: SpecialIds
) -> tuple[int, ...]:
    """The five, every other token registered as special, unused ones and gaps; ascending."""
    added = backend.get_added_tokens_decoder()
    registered = {index for index, token in added.items() if token.special}
    unused = {index for index, token in enumerate(tokens) if not token or _UNUSED.fullmatch(token)}
    return tuple(sorted(registered | unused | set(special.all)))


def _continuations(backend: tokenizers.Tokenizer, tokens: Sequence[str]) -> np.ndarray:
    if isinstance(backend.model, models.WordPiece):
        prefix = backend.model.continuing_subword_prefix
        return np.array([token.startswith(prefix) for token in tokens])
    return np.array([not token.startswith(WORD_START) for token in tokens])


def _end_of_character(text: str, end: int, stop: int) -> int:
    """Includes all that was composed into the last character; the library counts its first part."""
    while end < stop and (unicodedata.combining(text[end]) or "\u1160" <= text[end] <= "\u11ff"):
        end += 1
    return end
