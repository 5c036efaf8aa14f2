"""JSON out of texts that anybody may have written."""

import json
import re
from typing import Any

_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def parse_json(text: str | bytes) -> Any:
    """`json.loads`; ValueError also where that would run out of stack."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which JSON's escapes can hold."""
    return _HALF_A_PAIR.sub("\ufffd", text)
