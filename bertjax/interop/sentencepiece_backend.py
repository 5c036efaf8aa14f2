"""A SentencePiece model as a tokenizer of the `tokenizers` library, which Hugging Face reads."""

from collections.abc import Container

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from bertjax.errors import UserError
from bertjax.interop.sentencepiece_model import (
    BPE,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Model,
    read_model,
)
from bertjax.interop.sentencepiece_normalizer import sentencepiece_normalizer
from bertjax.text.vocabulary import WORD_START


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
    backend = Tokenizer(_unigram(model) if model.type == UNIGRAM else _bpe(model))
    backend.normalizer = sentencepiece_normalizer(model)
    scheme = "first" if model.dummy_prefix else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement=WORD_START, prepend_scheme=scheme, split=False
    )
    backend.decoder = decoders.Metaspace(replacement=WORD_START, prepend_scheme=scheme)
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
        "it is a BPE model with symbols of its user's": (
            model.type == BPE and any(symbol not in special for symbol in own)
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"this SentencePiece model cannot become a tokenizer.json: {reason}")


def _unigram(model: Model) -> models.Unigram:
    normal = [piece.score for piece in model.pieces if piece.type == NORMAL]
    # As src/unigram_model.cc scores a user-defined symbol, so that it always wins.
    scored = [
        (
            piece.text,
            len(piece.text.encode()) * max(normal) - 0.1
            if piece.type == USER_DEFINED
            else piece.score,
        )
        for piece in model.pieces
    ]
    unknown = next(i for i, piece in enumerate(model.pieces) if piece.type == UNKNOWN)
    return models.Unigram(scored, unknown, model.byte_fallback)


def _bpe(model: Model) -> models.BPE:
    """Every way to put a piece together from two is a merge; the pieces' order is the merges'."""
    ids = {piece.text: index for index, piece in enumerate(model.pieces)}
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
    unknown = next(piece.text for piece in model.pieces if piece.type == UNKNOWN)
    return models.BPE(
        vocab=ids,
        merges=merges,
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )
