"""Values of a declared type, out of text and JSON: what the fields of a settings dataclass take."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from bertjax.errors import UserError
from bertjax.json_text import parse_json

_UNIONS = (types.UnionType, typing.Union)


def convert(hint: Any, text: str, name: str) -> Any:
    """The value that `text` means for a field of type `hint`, called `name` in error messages.

    Raises:
        UserError: it means none.
    """
    options = typing.get_args(hint)
    if typing.get_origin(hint) in _UNIONS:
        if dataclasses.is_dataclass(options[0]):
            raise UserError(f"--{name} is a section: only a config file can set it as a whole")
        if text.lower() == "none":
            return None
        return convert(next(option for option in options if option is not type(None)), text, name)
    if typing.get_origin(hint) is Literal:
        if text not in options:
            near = difflib.get_close_matches(text, options, 1)
            raise UserError(
                f"--{name}={text}: choose one of {', '.join(options)}"
                + (f" (did you mean {near[0]}?)" if near else "")
            )
        return text
    if typing.get_origin(hint) is tuple:
        return _build_value(hint, _parse_json(text, name), f"--{name}")
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"--{name}={text}: expected true or false")
        return text.lower() == "true"
    try:
        return hint(text.replace("_", "") if hint is int else text)
    except ValueError as error:
        raise UserError(f"--{name}={text}: expected {hint.__name__}") from error


def _parse_json(text: str, name: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise UserError(f"--{name}: expected JSON ({error})") from error


def build(kind: Any, values: dict[str, Any], origin: str) -> Any:
    """A dataclass from JSON values, every name and type checked.

    Args:
        kind: the dataclass.
        values: what `dataclasses.asdict` gives; lists may stand for tuples.
        origin: names their source in error messages.

    Raises:
        UserError: a name is unknown or missing, or a value is not of its field's type.
    """
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(values) - set(hints)):
        raise UserError(f"{origin}: unknown setting {unknown[0]!r} in {kind.__name__}")
    missing = [
        item.name
        for item in dataclasses.fields(kind)
        if item.name not in values
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UserError(f"{origin}: {kind.__name__} lacks {', '.join(missing)}")
    return kind(**{k: _build_value(hints[k], v, f"{origin}: {k}") for k, v in values.items()})


def _build_value(hint: Any, value: Any, origin: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{origin}: expected an object for {getattr(hint, '__name__', hint)}")
        return build(hint, value, origin)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{origin}: expected a list, found {value!r}")
        return tuple(_build_value(typing.get_args(hint)[0], item, origin) for item in value)
    if typing.get_origin(hint) in _UNIONS:
        options = typing.get_args(hint)
        if value is not None and dataclasses.is_dataclass(options[0]):
            return _build_kind(options, value, origin)
        return None if value is None else _build_value(options[0], value, origin)
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        quoted = f'; write "{value}"' if hint is str and number else ""
        raise UserError(f"{origin}: expected {hint.__name__}, found {value!r}{quoted}")
    if value not in allowed:
        raise UserError(f"{origin}: expected one of {', '.join(allowed)}, found {value!r}")
    return value


def _build_kind(options: Sequence[Any], value: Any, origin: str) -> Any:
    """The one of several dataclasses whose `kind` is the value's."""
    known = {option.kind: option for option in options if option is not type(None)}
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in known:
        raise UserError(f"{origin}: unknown kind {kind!r}; this version reads {', '.join(known)}")
    return build(known[kind], value, origin)
