"""How well a vocabulary fits a text: what the report after training and the manifest show."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np


@dataclass
class TokenCounts:
    """Counts that add up over parts of a text, made in any order by any number of workers.

    Attributes:
        used: bool [vocab_size], True for ids that occur, the unknown one left out.
        tokens: pieces, unknown ones included.
        unknown: unknown pieces.
        words: stretches between white space.
        characters: of the text, white space included.
    """

    used: np.ndarray
    tokens: int = 0
    unknown: int = 0
    words: int = 0
    characters: int = 0

    @classmethod
    def empty(cls, vocab_size: int) -> "TokenCounts":
        return cls(np.zeros(vocab_size, bool))

    def add(self, lines: Sequence[str], ids: Sequence[Sequence[int]], unknown_id: int) -> None:
        """Counts lines and the ids that they were tokenized to."""
        flat = np.fromiter(chain.from_iterable(ids), np.int64)
        self.used[flat] = True
        self.used[unknown_id] = False
        self.tokens += flat.size
        self.unknown += int(np.count_nonzero(flat == unknown_id))
        self.words += sum(len(line.split()) for line in lines)
        self.characters += sum(map(len, lines))

    def merge(self, other: "TokenCounts") -> None:
        """Adds the counts of another part."""
        self.used |= other.used
        self.tokens += other.tokens
        self.unknown += other.unknown
        self.words += other.words
        self.characters += other.characters

    def summary(self) -> dict[str, float]:
        """The report: counts, and shares rounded to what a reader can use."""
        used = int(np.count_nonzero(self.used))
        return {
            "pieces_used": used,
            "vocabulary_share": round(used / len(self.used), 4),
            "unknown_rate": round(self.unknown / max(self.tokens, 1), 6),
            "tokens_per_word": round(self.tokens / max(self.words, 1), 4),
            "tokens_per_character": round(self.tokens / max(self.characters, 1), 4),
        }

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold; the used ids as the hexadecimal digits of a bit set."""
        return {
            "used": np.packbits(self.used).tobytes().hex(),
            "vocab_size": len(self.used),
            "tokens": self.tokens,
            "unknown": self.unknown,
            "words": self.words,
            "characters": self.characters,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TokenCounts":
        """The counts that `to_json` wrote."""
        numbers = dict(values)
        bits = np.frombuffer(bytes.fromhex(numbers.pop("used")), np.uint8)
        used = np.unpackbits(bits, count=numbers.pop("vocab_size")).astype(bool)
        return cls(used, **numbers)
