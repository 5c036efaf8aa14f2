"""Every `bertjax` command of the documentation is one that the command line takes."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from bertjax.config import load_config
from bertjax.options import command_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
CONFIGS = sorted(ROOT.glob("configs/**/*.py"))


def commands(text):
    """The commands of a page's shell blocks and of a config's docstring, as words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE) or [text]
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\s*(\S*/)?bertjax \w", line):
                yield shlex.split(line, comments=True)


def cases(files):
    return [
        pytest.param(words, id=f"{file.stem}: {' '.join(words[1:4])}")
        for file in files
        for words in commands(file.read_text())
    ]


def test_the_pages_commands_are_found():
    assert len(cases(PAGES)) >= 35


@pytest.mark.parametrize("words", cases(PAGES))
def test_a_command_of_a_page_is_taken_with_its_settings(words):
    check(words)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_command_of_a_config_is_taken(file):
    found = list(commands(ast.get_docstring(ast.parse(file.read_text())) or ""))
    assert found
    for words in found:
        check(words)


def check(words):
    words = [word for word in words[1:] if word != "..."]  # and so on
    if "--" in words:  # what follows is Beam's
        words = words[: words.index("--")]
    parsed, overrides = command_parser().parse_known_args(words)
    assert parsed.command == words[0]
    assert not overrides or parsed.takes_overrides
    if hasattr(parsed, "config"):
        load_config(parsed.config, overrides)
