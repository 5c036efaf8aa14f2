"""What both kinds of tokenizer need: special pieces by name, a digest, files written whole."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertjax.errors import UserError
from bertjax.files import write_whole
from bertjax.json_text import is_unicode

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD_START = "\u2581"  # what SentencePiece writes for a space

# The names that vocabularies in use give to BERT's five special tokens, in order of preference.
_SPECIAL_NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unknown": ("[UNK]", "<unk>"),
    "classifier": ("[CLS]", "<cls>", "<s>"),
    "separator": ("[SEP]", "<sep>", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True)
class SpecialIds:
    """Ids of BERT's five special tokens."""

    pad: int
    unknown: int
    classifier: int
    separator: int
    mask: int

    @property
    def all(self) -> tuple[int, ...]:
        """In the order above."""
        return dataclasses.astuple(self)


def find_special_ids(
    ids: Mapping[str, int], origin: str, names: Mapping[str, str] | None = None
) -> SpecialIds:
    """Looks the special tokens up by name.

    Args:
        ids: id of every piece of the vocabulary.
        origin: names the vocabulary in the error message.
        names: what the vocabulary's owner calls them, by role ("pad", "unknown", "classifier",
            "separator", "mask"); otherwise the names that are in use.

    Raises:
        UserError: naming every special token that is missing.
    """
    found, missing = {}, []
    for role, usual in _SPECIAL_NAMES.items():
        wanted = [names[role], *usual] if names and role in names else usual
        known = [ids[name] for name in wanted if name in ids]
        if known:
            found[role] = known[0]
        else:
            missing.append(" or ".join(dict.fromkeys(wanted)))
    if missing:
        raise UserError(
            f"{origin}: the vocabulary lacks {', '.join(missing)}; "
            "add them, or train a vocabulary with `bertjax prepare --tokenizer wordpiece`"
        )
    return SpecialIds(**found)


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256, in hexadecimal, over names and contents."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode())
        digest.update(files[name])
    return digest.hexdigest()


def write_files(folder: str | Path, files: Mapping[str, bytes]) -> None:
    """Writes each file whole or not at all; raises UserError if the folder cannot be written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, lambda file, content=content: file.write_bytes(content))
    except OSError as error:
        raise UserError(f"{folder}: cannot write the tokenizer ({error.strerror})") from error


def as_text(tokens: Sequence[str]) -> str:
    """One token per line, as google-research/bert writes `vocab.txt`."""
    return "".join(f"{token}\n" for token in tokens)


def require_unicode(text: str) -> str:
    """The text; raises UserError where it is none, or not valid Unicode."""
    if not isinstance(text, str) or not is_unicode(text):
        raise UserError(f"{text!r} is no text in valid Unicode")
    return text


def without_special(ids: Sequence[int], hidden: set[int], vocab_size: int) -> list[int]:
    """The ids that are not hidden; raises UserError for one that no piece has."""
    for index in ids:
        if not 0 <= index < vocab_size:
            raise UserError(f"no piece has the id {index}; there are {vocab_size}, from 0 on")
    return [int(index) for index in ids if int(index) not in hidden]


def without_spaces(text: str, start: int, end: int) -> tuple[int, int]:
    """A piece's characters without the white space around them, which is no part of it."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
