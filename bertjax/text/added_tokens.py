"""The tokens that the files of a Hugging Face folder name beside its vocabulary."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from bertjax.errors import UserError
from bertjax.files import read_json

CONFIG_FILE = "tokenizer_config.json"
NAME_KEYS = {
    "pad": "pad_token",
    "unknown": "unk_token",
    "classifier": "cls_token",
    "separator": "sep_token",
    "mask": "mask_token",
}
"""What tokenizer_config.json calls the five special tokens."""


def add_tokens(backend: tokenizers.Tokenizer, path: Path, config: Mapping[str, Any]) -> bool:
    """Lets the backend find the tokens whole that the files beside `path` add.

    Args:
        backend: those that it finds already stay as they are.
        path: its vocabulary or `tokenizer.json`.
        config: what `tokenizer_config.json` beside it holds.

    Returns:
        Whether there were any that it did not find yet.

    Raises:
        UserError: a token gets another id than the files state, or they cannot be understood.
    """
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    added = [each for each in _added_tokens(path.parent, config) if each[1].content not in known]
    for index, token in added:
        add = backend.add_special_tokens if token.special else backend.add_tokens
        add([token])
        if index is not None and backend.token_to_id(token.content) != index:
            raise UserError(
                f"{path}: the files beside it add {token.content!r} as token {index}, "
                f"but it is token {backend.token_to_id(token.content)}"
            )
    return bool(added)


def names_of_special(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens that the files name, by role."""
    named = _special_tokens_map(folder) | dict(config)
    names = {}
    for role, key in NAME_KEYS.items():
        token = named.get(key)
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            names[role] = content
    return names


def _special_tokens_map(folder: Path) -> dict[str, Any]:
    return _read_if_there(folder / "special_tokens_map.json")


def _read_if_there(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _added_tokens(
    folder: Path, config: Mapping[str, Any]
) -> Iterator[tuple[int | None, AddedToken]]:
    """The tokens to be found whole in a text, with their ids where the files state them."""
    listed: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in config:
        # Where it stands, transformers looks at no older file.
        special = _extra_special(config, folder)
        try:
            listed = {int(i): AddedToken(**t) for i, t in config["added_tokens_decoder"].items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f"{folder / CONFIG_FILE}: added_tokens_decoder: {error}") from error
    else:
        special = _extra_special(_special_tokens_map(folder) | dict(config), folder)
        named = {*special, *names_of_special(folder, config).values()}
        for token, index in _read_if_there(folder / "added_tokens.json").items():
            if not isinstance(index, int):
                raise UserError(f"{folder / 'added_tokens.json'}: {token!r} has no id: {index!r}")
            if index in listed:
                twice = f"{listed[index].content!r} and {token!r}"
                raise UserError(f"{folder / 'added_tokens.json'}: {twice} have the same id")
            is_special = token in named
            listed[index] = AddedToken(token, special=is_special, normalized=not is_special)
    yield from sorted(listed.items(), key=lambda item: item[0])
    contents = {token.content for token in listed.values()}
    for token in special:
        if token not in contents:
            yield None, AddedToken(token, special=True, normalized=False)


def _extra_special(named: Mapping[str, Any], folder: Path) -> list[str]:
    """The special tokens beside BERT's five."""
    extra, older = named.get("extra_special_tokens"), named.get("additional_special_tokens")
    # A list takes the older one's place, as in transformers 5; a dict stands beside it.
    tokens = [*_each(extra), *_each(older)] if isinstance(extra, dict) else _each(extra or older)
    contents = [token.get("content") if isinstance(token, dict) else token for token in tokens]
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) < len(contents):
        raise UserError(f"{folder}: its special tokens must be text, not {tokens!r}")
    return texts


def _each(tokens: Any) -> list[Any]:
    """The tokens of a list, or of a dict under names of their own."""
    if isinstance(tokens, dict):
        return list(tokens.values())
    return tokens if isinstance(tokens, list) else [tokens] if tokens else []
