"""A SentencePiece model's normalisation, made of the `tokenizers` library's steps.

What a model does to characters is a table, of single ones and of sequences that become one. The
library's `Precompiled` takes that table, but looks whole graphemes up and takes the shortest entry
that one begins with: a fullwidth letter loses its accent, the jamo of a syllable are not found.

Here a border around every character that can be part of a grapheme makes it look up single ones,
and NFC composes the sequences. If marks remain, another border keeps NFC from what the table does
not do: reordering marks, and composing what is composed already with more. What differs still is
far from text: U+FDD0, and marks on compatibility characters that become several letters.
"""

import unicodedata

from tokenizers import Regex, normalizers

from bertjax.interop.sentencepiece_model import Model
from bertjax.text.vocabulary import WORD_START

_BORDER = "\ufdd0"  # a noncharacter: Unicode keeps it out of texts

_SPECIAL = "[^ -~가-힣]"
_AROUND_SPECIAL = f"(?<={_SPECIAL})(?=.)|(?<=.)(?={_SPECIAL})"

_ABOVE = 230  # canonical combining class; NFC puts marks of lower classes before it
_LATIN_MARKS = [chr(code) for code in range(0x300, 0x370)]
_UPPER = "".join(mark for mark in _LATIN_MARKS if unicodedata.combining(mark) >= _ABOVE)
_LOWER = "".join(mark for mark in _LATIN_MARKS if 0 < unicodedata.combining(mark) < _ABOVE)
_FOREIGN = r"[\p{M}&&[^\u0300-\u036f]]"
_COMPOSED = "".join(
    letter
    for letter in map(chr, range(0xC0, 0x2000))
    if len(unicodedata.normalize("NFD", letter)) > 1
)
_UNLIKE_NFC = "|".join(
    f"(?<={before})(?={after})"
    for before, after in [
        (_FOREIGN, r"\p{M}"),
        (r"\p{M}", _FOREIGN),
        (f"[{_UPPER}]", f"[{_LOWER}]"),
        (f"[{_COMPOSED}가-힣]", r"[\p{M}\u1161-\u11ff]"),
    ]
)


def sentencepiece_normalizer(model: Model) -> normalizers.Normalizer:
    """What the model does to a text before it cuts it."""

    def replace(pattern: str, content: str) -> normalizers.Normalizer:
        return normalizers.Replace(Regex(pattern), content)

    steps: list[normalizers.Normalizer] = []
    if model.composes and not model.keeps_marks:
        steps.append(normalizers.NFC())
    if model.characters:
        steps += [
            replace(_AROUND_SPECIAL, _BORDER),
            normalizers.Precompiled(model.characters),
            # Nothing is left of the first character: the text still starts with a space.
            replace(rf"\A{_BORDER}", " " if model.dummy_prefix else ""),
            replace(_BORDER, ""),
        ]
    if model.composes and model.keeps_marks:
        steps += [replace(_UNLIKE_NFC, _BORDER), normalizers.NFC(), replace(_BORDER, "")]
    if model.single_spaces:
        steps += [replace(" {2,}", " "), replace(rf"[ {WORD_START}]+\z", "")]
    if model.dummy_prefix:
        # The splitter adds no space before one that is there; the model does, to any that it keeps.
        kept = WORD_START if model.single_spaces else f" {WORD_START}"
        steps.append(replace(rf"\A(?=[{kept}])", " "))
    elif model.single_spaces:
        steps.append(replace(r"\A +", ""))
    return normalizers.Sequence(steps)
