"""A SentencePiece model as a tokenizer of the `tokenizers` library, which Hugging Face reads."""

from collections.abc import Container, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from bertjax.errors import UserError
from bertjax.interop.sentencepiece_model import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Model,
    Piece,
    read_model,
)
from bertjax.interop.sentencepiece_normalizer import sentencepiece_normalizer
from bertjax.text.vocabulary import WORD_START

# Unigram would take a written "<0x0A>" for the piece of that byte, whose name the library needs.
_BYTE_BREAK = pre_tokenizers.Split(Regex("<(?=0x[0-9A-F]{2}>)"), "merged_with_previous")


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
    names = [_name(piece, special) for piece in model.pieces]
    backend = Tokenizer((_unigram if model.type == UNIGRAM else _bpe)(model, names))
    backend.normalizer = sentencepiece_normalizer(model)
    scheme = "first" if model.dummy_prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=WORD_START, prepend_scheme=scheme, split=False
    )
    backend.decoder = decoders.Metaspace(replacement=WORD_START, prepend_scheme=scheme)
    if model.type == UNIGRAM and model.byte_fallback:
        backend.pre_tokenizer = pre_tokenizers.Sequence([_BYTE_BREAK, backend.pre_tokenizer])
    if model.byte_fallback:
        backend.decoder = decoders.Sequence([decoders.ByteFallback(), backend.decoder])
    return backend


def _refuse_unsupported(model: Model, special: Container[str]) -> None:
    own = {piece.text for piece in model.pieces if piece.type == USER_DEFINED}
    reasons = {
        "its type is neither unigram nor BPE": model.type not in (UNIGRAM, BPE),
        "its spaces belong to the word before them": model.suffix,
        "it does not mark spaces": not model.escapes,
        "it has unused pieces": any(piece.type == UNUSED for piece in model.pieces),
        "it has bytes, and pieces with <0 in them": (
            model.type == UNIGRAM
            and model.byte_fallback
            and any("<0" in piece.text for piece in model.pieces if piece.type != BYTE)
        ),
        "it is a BPE model with symbols of its user's": (
            model.type == BPE and any(symbol not in special for symbol in own)
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"this SentencePiece model cannot become a tokenizer.json: {reason}")


def _name(piece: Piece, special: Container[str]) -> str:
    """The piece's text; with a space, which no text has left, if no text becomes the piece."""
    hidden = piece.type in (CONTROL, UNKNOWN) and piece.text not in special
    return f"{piece.text} " if hidden else piece.text


def _unigram(model: Model, names: Sequence[str]) -> models.Unigram:
    normal = [piece.score for piece in model.pieces if piece.type == NORMAL]
    # As src/unigram_model.cc scores a user-defined symbol, so that it always wins.
    scored = [
        (
            name,
            len(piece.text.encode()) * max(normal) - 0.1
            if piece.type == USER_DEFINED
            else piece.score,
        )
        for name, piece in zip(names, model.pieces, strict=True)
    ]
    unknown = next(i for i, piece in enumerate(model.pieces) if piece.type == UNKNOWN)
    return models.Unigram(scored, unknown, model.byte_fallback)


def _bpe(model: Model, names: Sequence[str]) -> models.BPE:
    """Every way to put a piece together from two is a merge; the pieces' order is the merges'."""
    ids = {name: index for index, name in enumerate(names)}
    merged = sorted(
        (piece for piece in model.pieces if piece.type == NORMAL),
        key=lambda piece: -piece.score,
    )
    merges = [
        (piece.text[:cut], piece.text[cut:])
        for piece in merged
        for cut in range(1, len(piece.text))
        if piece.text[:cut] in ids and piece.text[cut:] in ids
    ]
    unknown = next(i for i, piece in enumerate(model.pieces) if piece.type == UNKNOWN)
    return models.BPE(
        vocab=ids,
        merges=merges,
        unk_token=names[unknown],
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )
