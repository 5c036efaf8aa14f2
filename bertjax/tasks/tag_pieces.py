"""A sentence of labelled tokens as pieces of the model's vocabulary, and back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bertjax.tasks.entities import OUTSIDE, well_formed

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


class Pieces(NamedTuple):
    """A sentence in pieces.

    Attributes:
        ids: of the pieces, without special tokens.
        owners: for each token (a word, or a character) the piece that bears its label; -1 for none.
    """

    ids: list[int]
    owners: list[int]


def word_pieces(tokenizer: "Tokenizer", words: Sequence[str]) -> Pieces:
    """Each word's first piece bears its label (Devlin et al. 2018, section 5.3).

    A word that the tokenizer turns into nothing, such as a lone control character, is unknown.
    """
    ids: list[int] = []
    owners = []
    for pieces in tokenizer.encode_batch(list(words), plain_text=True):
        owners.append(len(ids))
        ids += pieces or [tokenizer.unknown_id]
    return Pieces(ids, owners)


def character_pieces(tokenizer: "Tokenizer", characters: Sequence[str]) -> Pieces:
    """Each piece bears the labels of its characters, the first piece where several share one.

    White space, and characters that the tokenizer leaves out, have no piece.
    """
    text = "".join(characters)
    ids, offsets = tokenizer.encode_with_offsets(text, plain_text=True)
    owners, done = [-1] * len(text), 0
    for piece, (start, end) in enumerate(offsets):
        for place in range(max(start, done), end):
            if not text[place].isspace():
                owners[place] = piece
        done = max(done, end)
    return Pieces(ids, owners)


def first_tokens(owners: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The pieces that bear labels, ascending, and the first token of each: int64 [pieces] both."""
    pieces, tokens = np.unique(np.array(owners, np.int64), return_index=True)
    return pieces[pieces >= 0], tokens[pieces >= 0]


def spread(labels: Sequence[str], owners: Sequence[int], tokens: Sequence[str]) -> list[str]:
    """A label for every token from one for every piece.

    Of a piece with several tokens the first has the piece's label, the others are inside of the
    same entity. A token without a piece is inside of an entity that goes on after it, and, if it is
    no white space, such as a variation selector, inside of one that ends right before it. The
    result is well-formed BIO.
    """
    spread_labels = [OUTSIDE] * len(owners)
    owned = [token for token, owner in enumerate(owners) if owner >= 0]
    before = -1
    for token in owned:
        label = labels[owners[token]]
        inside = owners[token] == before and label != OUTSIDE
        spread_labels[token] = f"I-{label[2:]}" if inside else label
        before = owners[token]
    repaired = well_formed([spread_labels[token] for token in owned])
    for token, label in zip(owned, repaired, strict=True):
        spread_labels[token] = label
    for token in range(1, len(owners)):
        label = spread_labels[token - 1]
        if owners[token] < 0 and label != OUTSIDE and not tokens[token].isspace():
            spread_labels[token] = f"I-{label[2:]}"
    for token in reversed(range(len(owners) - 1)):
        if owners[token] < 0 and spread_labels[token + 1].startswith("I-"):
            spread_labels[token] = spread_labels[token + 1]
    return spread_labels
