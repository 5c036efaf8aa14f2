"""What the file of a SentencePiece model says, read without the library that describes it.

The file is a protocol buffer (src/sentencepiece_model.proto of google/sentencepiece).
"""

import struct
import unicodedata
from dataclasses import dataclass
from typing import Any

import sentencepiece

from bertjax.protobuf import read_fields

# Numbers in sentencepiece_model.proto: TrainerSpec.ModelType, ModelProto.SentencePiece.Type.
UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Piece:
    """A piece and what the model knows of it."""

    text: str
    score: float = 0.0
    type: int = NORMAL


@dataclass(frozen=True)
class Model:
    """What a model's file says about how a text is cut.

    Attributes:
        pieces: in the order of their ids.
        type: unigram (1), BPE (2), or one that the `tokenizers` library does not know.
        suffix: spaces belong to the word before them.
        byte_fallback: unknown characters become bytes.
        characters: what becomes of characters, compiled; empty if they stay as they are.
        composes: sequences of characters become one, such as the jamo of a syllable.
        keeps_marks: accents that cannot be composed stay.
        dummy_prefix: a text starts with a space, whether written or not.
        single_spaces: runs of spaces count as one, those around a text not at all.
        escapes: spaces become visible characters.
    """

    pieces: tuple[Piece, ...]
    type: int
    suffix: bool
    byte_fallback: bool
    characters: bytes
    composes: bool
    keeps_marks: bool
    dummy_prefix: bool
    single_spaces: bool
    escapes: bool


def read_model(data: bytes) -> Model:
    """Reads a model's file, which must be sound."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    pieces, specs = [], {}
    for number, value in read_fields(data):
        if number == 1:
            pieces.append(_piece(dict(read_fields(value))))
        else:
            specs[number] = dict(read_fields(value))
    trainer, normalizer = specs.get(2, {}), specs.get(3, {})
    return Model(
        pieces=tuple(pieces),
        type=trainer.get(3, UNIGRAM),
        suffix=bool(trainer.get(24, 0)),
        byte_fallback=bool(trainer.get(35, 0)),
        characters=normalizer.get(2, b""),
        keeps_marks="x\u0301" in processor.normalize("x\u0301"),
        composes="한" in processor.normalize(unicodedata.normalize("NFD", "한")),
        dummy_prefix=bool(normalizer.get(3, 1)),
        single_spaces=bool(normalizer.get(4, 1)),
        escapes=bool(normalizer.get(5, 1)),
    )


def _piece(values: dict[int, Any]) -> Piece:
    (score,) = struct.unpack("<f", values.get(2, bytes(4)))
    return Piece(values.get(1, b"").decode(), score, values.get(3, NORMAL))
