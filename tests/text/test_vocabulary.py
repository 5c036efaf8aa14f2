"""The JSON files beside a vocabulary or a checkpoint."""

import pytest

from bertjax.errors import UserError
from bertjax.text.vocabulary import read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"{", "not valid JSON"),
        (b'{"size": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b"[1]", "expected a JSON object"),
    ],
    ids=["no file", "cut short", "a number too long", "nested too deeply", "no text", "a list"],
)
def test_a_file_that_holds_no_json_object_is_named(tmp_path, content, message):
    file = tmp_path / "config.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"^{file}: {message}.*$"):
        read_json(file)
