"""Ids that a list of pieces beside a SentencePiece model gives to them.

KoBERT's model (SKTBrain/KoBERT, monologg/KoBERT-Transformers) only splits text into pieces: the
line of a piece in `vocab.txt` is its id, and BERT's special tokens stand there alone.
"""

from collections.abc import Sequence

from bertjax.errors import UserError
from bertjax.protobuf import field, read_fields
from bertjax.text.vocabulary import find_special_ids

# Numbers in google/sentencepiece's sentencepiece_model.proto.
_PIECES = 1  # of ModelProto
_TEXT, _TYPE = 1, 3  # of SentencePiece
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3  # values of its type


def renumbered(model: bytes, tokens: Sequence[str], origin: str) -> bytes:
    """The model with its pieces in the order of `tokens`, so that it gives their ids itself.

    Tokens that the model lacks become control symbols, which no text yields. The model's own
    unknown and control symbols give way to those of `tokens`.

    Raises:
        UserError: a piece of the model is no token, or a token stands there twice; `origin` names
            the model.
    """
    pieces, others = {}, b""
    for number, value in read_fields(model):
        if number == _PIECES:
            fields = dict(read_fields(value))
            if fields.get(_TYPE, _NORMAL) not in (_UNKNOWN, _CONTROL):
                pieces[fields[_TEXT].decode()] = value
        else:
            others += field(number, value)
    ids = {token: index for index, token in enumerate(tokens)}
    if len(ids) < len(tokens):
        twice = next(token for index, token in enumerate(tokens) if ids[token] != index)
        raise UserError(f"{origin}: the vocabulary beside it holds {twice!r} twice")
    if missing := next((text for text in pieces if text not in ids), None):
        raise UserError(
            f"{origin}: its piece {missing!r} is not in the vocabulary beside it: "
            "leave only the file that the checkpoint was trained with"
        )
    unknown = find_special_ids(ids, origin).unknown
    symbols = (_UNKNOWN if index == unknown else _CONTROL for index in range(len(tokens)))
    ordered = (
        pieces.get(token) or field(_TEXT, token.encode()) + field(_TYPE, symbol)
        for token, symbol in zip(tokens, symbols, strict=True)
    )
    return b"".join(field(_PIECES, piece) for piece in ordered) + others
