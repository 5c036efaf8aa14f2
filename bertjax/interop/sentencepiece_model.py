"""A SentencePiece model as a tokenizer of the `tokenizers` library, which Hugging Face reads.

The file is read here by its field numbers (src/sentencepiece_model.proto of google/sentencepiece);
the library's own converter needs a description of them that it fetches from the network.
"""

import struct
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from bertjax.errors import UserError
from bertjax.protobuf import read_fields
from bertjax.text.vocabulary import WORD_START

# Numbers in sentencepiece_model.proto: TrainerSpec.ModelType, ModelProto.SentencePiece.Type.
_UNIGRAM, _BPE = 1, 2
_NORMAL, _UNKNOWN, _USER_DEFINED, _UNUSED = 1, 2, 4, 5

# What a model does to characters is a table, of single ones and of sequences that become one. The
# library's `Precompiled` looks a whole grapheme up and takes the shortest entry that it begins
# with, so that a fullwidth letter loses its accent and jamo are not found. Here a border around
# every character that can be part of a grapheme makes it look single ones up, and NFC composes the
# sequences. Where marks remain, another border keeps NFC from what the table does not do: reorder
# marks, and compose what is composed already with more.
_BORDER = "\ufdd0"  # a noncharacter: Unicode keeps it out of texts
_SPECIAL = "[^ -~가-힣]"
_AROUND_SPECIAL = f"(?<={_SPECIAL})(?=.)|(?<=.)(?={_SPECIAL})"
_ABOVE = 230  # canonical combining class
_LATIN_MARKS = [chr(code) for code in range(0x300, 0x370)]
_UPPER = "".join(mark for mark in _LATIN_MARKS if unicodedata.combining(mark) >= _ABOVE)
_LOWER = "".join(mark for mark in _LATIN_MARKS if 0 < unicodedata.combining(mark) < _ABOVE)
_FOREIGN = r"[\p{M}&&[^\u0300-\u036f]]"
_COMPOSED = "".join(
    letter
    for letter in map(chr, range(0xC0, 0x2000))
    if len(unicodedata.normalize("NFD", letter)) > 1
)
_UNLIKE_NFC = "|".join(
    f"(?<={before})(?={after})"
    for before, after in [
        (_FOREIGN, r"\p{M}"),
        (r"\p{M}", _FOREIGN),
        (f"[{_UPPER}]", f"[{_LOWER}]"),
        (f"[{_COMPOSED}가-힣]", r"[\p{M}\u1161-\u11ff]"),
    ]
)


@dataclass(frozen=True)
class Piece:
    """A piece and what the model knows of it."""

    text: str
    score: float = 0.0
    type: int = _NORMAL


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
        type=trainer.get(3, _UNIGRAM),
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
    return Piece(values.get(1, b"").decode(), score, values.get(3, _NORMAL))


def to_backend(data: bytes, special: Container[str]) -> Tokenizer:
    """A tokenizer that cuts texts as the model in the file does.

    Args:
        data: the model's file.
        special: special tokens, which the caller registers.

    Raises:
        UserError: the model does what the library cannot.
    """
    model = read_model(data)
    _refuse_unsupported(model, special)
    backend = Tokenizer(_unigram(model) if model.type == _UNIGRAM else _bpe(model))
    backend.normalizer = _normalizer(model)
    scheme = "first" if model.dummy_prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=WORD_START, prepend_scheme=scheme, split=False
    )
    backend.decoder = decoders.Metaspace(replacement=WORD_START, prepend_scheme=scheme)
    if model.byte_fallback:
        backend.decoder = decoders.Sequence([decoders.ByteFallback(), backend.decoder])
    return backend


def _refuse_unsupported(model: Model, special: Container[str]) -> None:
    own = {piece.text for piece in model.pieces if piece.type == _USER_DEFINED}
    reasons = {
        "its type is neither unigram nor BPE": model.type not in (_UNIGRAM, _BPE),
        "its spaces belong to the word before them": model.suffix,
        "it does not mark spaces": not model.escapes,
        "it has unused pieces": any(piece.type == _UNUSED for piece in model.pieces),
        "it is a BPE model with symbols of its user's": (
            model.type == _BPE and any(symbol not in special for symbol in own)
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"this SentencePiece model cannot become a tokenizer.json: {reason}")


def _unigram(model: Model) -> models.Unigram:
    normal = [piece.score for piece in model.pieces if piece.type == _NORMAL]
    # As src/unigram_model.cc scores a user-defined symbol, so that it always wins.
    scored = [
        (
            piece.text,
            len(piece.text.encode()) * max(normal) - 0.1
            if piece.type == _USER_DEFINED
            else piece.score,
        )
        for piece in model.pieces
    ]
    unknown = next(i for i, piece in enumerate(model.pieces) if piece.type == _UNKNOWN)
    return models.Unigram(scored, unknown, model.byte_fallback)


def _bpe(model: Model) -> models.BPE:
    """Every way to put a piece together from two is a merge; the pieces' order is the merges'."""
    ids = {piece.text: index for index, piece in enumerate(model.pieces)}
    merged = sorted(
        (piece for piece in model.pieces if piece.type == _NORMAL),
        key=lambda piece: -piece.score,
    )
    merges = [
        (piece.text[:cut], piece.text[cut:])
        for piece in merged
        for cut in range(1, len(piece.text))
        if piece.text[:cut] in ids and piece.text[cut:] in ids
    ]
    unknown = next(piece.text for piece in model.pieces if piece.type == _UNKNOWN)
    return models.BPE(
        vocab=ids,
        merges=merges,
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


def _normalizer(model: Model) -> normalizers.Normalizer:
    def replace(pattern: str, content: str) -> normalizers.Normalizer:
        return normalizers.Replace(Regex(pattern), content)

    steps: list[normalizers.Normalizer] = []
    if model.composes and not model.keeps_marks:
        steps.append(normalizers.NFC())
    if model.characters:
        steps += [
            replace(_AROUND_SPECIAL, _BORDER),
            normalizers.Precompiled(model.characters),
            # Nothing is left of the first character: the text still starts with a space.
            replace(rf"\A{_BORDER}", " " if model.dummy_prefix else ""),
            replace(_BORDER, ""),
        ]
    if model.composes and model.keeps_marks:
        steps += [replace(_UNLIKE_NFC, _BORDER), normalizers.NFC(), replace(_BORDER, "")]
    if model.single_spaces:
        steps += [replace(" {2,}", " "), replace(rf"[ {WORD_START}]+\z", "")]
    if model.dummy_prefix:
        # The splitter adds no space before one that is there; the model does, to any that it keeps.
        kept = WORD_START if model.single_spaces else f" {WORD_START}"
        steps.append(replace(rf"\A(?=[{kept}])", " "))
    elif model.single_spaces:
        steps.append(replace(r"\A +", ""))
    return normalizers.Sequence(steps)
