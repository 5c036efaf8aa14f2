"""The on-disk format of one tokenized document.

A record is a header of three little-endian fields, then the sentence lengths, then
the token ids of all sentences one after the other:

    uint16 bytes per token id (2 or 4)
    uint16 bytes per sentence length (2 or 4)
    uint32 number of sentences
    sentence lengths, in tokens
    token ids

Two bytes are used wherever the largest value allows.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_HEADER = struct.Struct("<HHI")
_DTYPES = {2: np.dtype("<u2"), 4: np.dtype("<u4")}


@dataclass(frozen=True)
class TokenizedDocument:
    """The token ids of a document's sentences, without special tokens.

    Attributes:
        token_ids: uint16 or uint32 [tokens], all sentences concatenated.
        sentence_lengths: int32 [sentences], in tokens; they sum to the number of tokens.
    """

    token_ids: np.ndarray
    sentence_lengths: np.ndarray


def id_dtype(vocab_size: int) -> np.dtype:
    """The dtype of stored token ids: uint16 up to 65,536 pieces, else uint32."""
    return _DTYPES[2 if vocab_size <= 1 << 16 else 4]


def encode_document(document: TokenizedDocument) -> bytes:
    """The record of a document whose `token_ids` already have their `id_dtype`."""
    lengths = document.sentence_lengths
    narrow = lengths.size == 0 or int(lengths.max()) < 1 << 16
    length_dtype = _DTYPES[2 if narrow else 4]
    ids = document.token_ids
    header = _HEADER.pack(ids.dtype.itemsize, length_dtype.itemsize, lengths.size)
    stored_ids = ids.astype(_DTYPES[ids.dtype.itemsize], copy=False)
    return header + lengths.astype(length_dtype).tobytes() + stored_ids.tobytes()


def decode_document(record: bytes) -> TokenizedDocument:
    """The document of a record; `token_ids` is a read-only view of the record.

    Raises:
        ValueError: the record is damaged.
    """
    if len(record) < _HEADER.size:
        raise ValueError(f"a record of {len(record)} bytes has no header")
    id_bytes, length_bytes, sentences = _HEADER.unpack_from(record)
    if id_bytes not in _DTYPES or length_bytes not in _DTYPES:
        raise ValueError("a record starts with an unknown header")
    ids_start = _HEADER.size + sentences * length_bytes
    if ids_start > len(record) or (len(record) - ids_start) % id_bytes:
        raise ValueError("a record is cut short")
    stored = np.frombuffer(record, _DTYPES[length_bytes], sentences, _HEADER.size)
    lengths = stored.astype(np.int32)
    ids = np.frombuffer(record, _DTYPES[id_bytes], -1, ids_start)
    if ids.size != int(lengths.sum(dtype=np.int64)):
        raise ValueError("a record's sentence lengths do not sum to its tokens")
    return TokenizedDocument(ids, lengths)


def read_token_counts(file: Path, documents: int, tokens: int) -> np.ndarray:
    """The tokens of each document of a split, as its `token_counts.npy` has them.

    Args:
        file: written by `prepare`.
        documents, tokens: of the split, as the manifest says.

    Returns:
        Whole numbers [documents].

    Raises:
        ValueError: it is damaged, or of other documents; says which.
        OSError: it cannot be read.
    """
    try:
        counts: Any = np.load(file, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # NumPy reads a header as Python: a changed byte can raise anything
        raise ValueError(f"is damaged ({error})") from error
    whole = isinstance(counts, np.ndarray) and counts.dtype.kind in "iu"
    if not whole or counts.shape != (documents,) or counts.sum(dtype=np.int64) != tokens:
        raise ValueError("does not fit manifest.json")
    return counts
