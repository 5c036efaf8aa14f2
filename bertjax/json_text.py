"""JSON out of texts that anybody may have written, and texts that anybody can read."""

import json
import math
import re
from typing import Any

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def parse_json(text: str | bytes) -> Any:
    """`json.loads`; ValueError also where that would run out of stack."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def dump_json(value: Any, **options: Any) -> str:
    """`json.dumps` with null for a NaN or an infinity, which JSON does not have."""
    return json.dumps(_finite(value), **options)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which JSON's escapes can hold."""
    return _HALF_A_PAIR.sub("\ufffd", text)


def is_unicode(text: str) -> bool:
    """False for half of a character that UTF-16 writes as two, or a byte that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
