"""English prose out of documentation strings: no code, signatures, tables or markup.

First the lines of a string become blocks (paragraphs, list items, descriptions of parameters);
what is marked as something else, such as a doctest or a directive, is left out. Then markup
inside a block is removed, and only those of its sentences stay that read as English.
"""

import inspect
import re
from collections.abc import Iterator

from bertjax.text.sentences import split_sentences

_DROPPED_SECTIONS = {"see also", "references", "bibliography", "authors", "author", "methods"}
_KEPT_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "attention", "hint"}

_UNDERLINE = re.compile(r"([=\-~*^#+\"'`.])\1{2,}$")
_DIRECTIVE = re.compile(r"\.\. +([\w-]+)::(?: (.*))?$")
_GOOGLE_SECTION = re.compile(r"[A-Z][a-z]+(?: [A-Za-z]+)?:$")
_NUMPY_PARAMETER = re.compile(r"[\w*`., ]+ : .+$")
_BULLET = re.compile(r"(?:[*+\-•]|\(?\w[.)]|\(?\d+[.)])\s+")
_FIELD = re.compile(r":(\w+)[^:`]*:(?!`)\s*")
_ENTRY = re.compile(
    r"""[`'"*]{0,2}[\w.]+[`'"]{0,2}(?:\s?\([^)]*\))?:\s+(?=\S)   # Google: name (type): text
    |   [\w.`'"]+(?:\([^)]*\))?\s+--?\s+                        # name -- text
    """,
    re.VERBOSE,
)
_TABLE = re.compile(r"\S {3,}\S|\+--|--\+|^\||\|$|={3,}|-{4,}|\.{4,}")

_MARKED = re.compile(r"[`*\[\\]")
_MARKUP = [
    (re.compile(r":[\w:+.-]+:`[~!.]*([^`<]+?)(?:\s*<[^`]*>)?`"), r"\1"),  # :class:`~module.name`
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}"), r"\1"),  # `text <address>`_
    (re.compile(r"!?\[([^\]]+)\]\((?:[^()]|\([^()]*\))*\)"), r"\1"),  # [text](address)
    (re.compile(r"`+([^`]+)`+_{0,2}"), r"\1"),
    (re.compile(r"(?<![\w*])\*{1,2}(\w(?:[^*]*[^\s*])?)\*{1,2}(?![\w*])"), r"\1"),
    (re.compile(r"\s*\[[#*\w]+\]_"), ""),  # [1]_
    (re.compile(r"\\ "), ""),
]

_PLAIN_WORD = re.compile(
    r"""["'(“‘]*(?:[A-Za-z]+(?:['’/-][A-Za-z]+)*|\d+(?:\.\d+)?)[.,;:!?)"'”’]*"""
)
_NOT_PROSE = re.compile(
    r"""https?:|www\.|[\\${}<>=|`@^~%#\[\]]|\*\*|\s\*|\w\*|::|\.\.\.|>>|--\w
    |copyright|license|todo|fixme|all rights reserved|\bnoqa""",
    re.VERBOSE | re.IGNORECASE,
)
_SENTENCE = re.compile(r"""["'(“‘]?[A-Z].*[.!?]["')”’]?""", re.DOTALL)
_FUNCTION_WORD = re.compile(
    r"""["'(]?(?:a|an|and|any|are|as|at|be|been|but|by|can|cannot|do|does|each|for|from|has|have|if
    |in|into|is|it|its|may|more|must|no|not|of|on|one|only|or|other|should|so|such|than|that|the
    |their|then|there|these|they|this|to|used|was|were|when|where|whether|which|while|will|with
    |would|you|your)[.,;:)"']?""",
    re.VERBOSE | re.IGNORECASE,
)


def prose_paragraphs(docstring: str) -> list[str]:
    """The prose of a documentation string, one paragraph or list item per entry."""
    paragraphs = []
    for block in _blocks(inspect.cleandoc(docstring).split("\n")):
        sentences = [text for text in split_sentences([_without_markup(block)]) if is_prose(text)]
        if sentences:
            paragraphs.append(" ".join(sentences))
    return paragraphs


def is_prose(sentence: str) -> bool:
    """Whether a sentence reads as English: it begins and ends as one, and its words are words."""
    if not _SENTENCE.fullmatch(sentence) or _NOT_PROSE.search(sentence):
        return False
    words = sentence.split()
    plain = sum(_PLAIN_WORD.fullmatch(word) is not None for word in words)
    function = sum(_FUNCTION_WORD.fullmatch(word) is not None for word in words)
    return (
        5 <= len(words) <= 80
        and plain >= 0.8 * len(words)
        and function >= max(2, 0.2 * len(words))
        and sentence.count("(") == sentence.count(")")
        and sentence.count('"') % 2 == 0
    )


def _without_markup(block: str) -> str:
    if _MARKED.search(block):
        for pattern, replacement in _MARKUP:
            block = pattern.sub(replacement, block)
    return " ".join(block.split())


def _blocks(lines: list[str]) -> Iterator[str]:
    """Groups lines into blocks of running text; what is marked as no text is left out."""
    block: list[str] = []
    indent = 0  # of the block's first line
    hidden: int | None = None  # lines indented more than this are left out
    doctest = dropped_section = False
    for line in lines:
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if hidden is not None and text and depth <= hidden:
            hidden = None
        if text and (hidden is not None or doctest):
            continue
        if text.startswith((">>>", "...", "In [")):
            doctest = True
        if not text or doctest:
            doctest = doctest and bool(text)
            if block and block[-1].endswith("::"):
                hidden = indent
            yield from _finish(block, dropped_section)
            block = []
        elif _UNDERLINE.fullmatch(text):
            title = block.pop().lower() if block else ""
            yield from _finish(block, dropped_section)
            block, dropped_section = [], title in _DROPPED_SECTIONS
        elif text.startswith(".."):
            yield from _finish(block, dropped_section)
            directive = _DIRECTIVE.match(text)
            kept = directive is not None and directive[1] in _KEPT_DIRECTIVES
            block = [directive[2]] if kept and directive and directive[2] else []
            indent, hidden = depth, None if kept else depth
        elif (rest := _start_of_block(text)) is not None or (block and depth < indent):
            yield from _finish(block, dropped_section)
            block, indent = ([text] if rest is None else [rest] if rest else []), depth
        else:
            indent = indent if block else depth
            block.append(text)
    yield from _finish(block, dropped_section)


def _finish(block: list[str], dropped: bool) -> Iterator[str]:
    if block and not dropped and not any(map(_TABLE.search, block)):
        yield " ".join(block)


def _start_of_block(text: str) -> str | None:
    """What is left of a line that begins a block of its own; None for a line that does not."""
    if _GOOGLE_SECTION.fullmatch(text) or _NUMPY_PARAMETER.fullmatch(text):
        return ""
    if field := _FIELD.match(text):
        return "" if field[1].endswith("type") else text[field.end() :]
    if bullet := _BULLET.match(text):
        text = text[bullet.end() :]
    if entry := _ENTRY.match(text):
        return text[entry.end() :]
    return text if bullet else None
