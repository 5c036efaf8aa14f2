"""Texts on which tokenizers disagree, and a small vocabulary in Google's manner to cut them."""

import unicodedata

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HARD_CASES = [
    "",
    "   ",
    "Héllo Wörld, ÀÉÎÕÜ naïve İstanbul ß ﬁ",
    "中文字符 and 日本語テキスト、カタカナ。",
    "한국어는 교착어이다.",
    unicodedata.normalize("NFD", "한국어는 Café"),
    "emoji 👩‍👩‍👧 ok 🙂🇰🇷 👍🏽",
    "control\x00\x07 chars\u200b zero\u00adwidth \ufeff bom \ufffd",
    "\ufeffstarts with a mark, \u2028ends with a separator\u2029",
    "tabs\tand\r\nnew\u00a0lines\u3000wide",
    "a" * 100 + " " + "b" * 101,
    "don't stop-me_now!? 3.14 $5 x=y+z ~`^|",
    "unaffable UNAFFABLE Unaffable",
    "ㅋㅋㅋ ᄒ ᆫ ᅡ",
    "e\u0301\u0323 Å Å ｆｕｌｌ ﬃ ǆ",
    "‏שלום עֲלֵיכֶם‎ مرحبا بِكُم",
    "हिन्दी ไทย বাংলা",
]
WRITTEN_OUT = [
    "a literal [MASK] and [SEP] and [unused1]",
    "[CLS] the [MASK].[MASK] [UNK] [PAD][SEP]",
    "un[MASK]able [mask] [ MASK ] [MASK",
    "  [MASK]  ",
]


def google_vocabulary(cased):
    """A small vocabulary in Google's manner: unused tokens, jamo when uncased, single letters."""
    letters = {chr(code) for code in range(33, 127)} | set(
        "éöàßıﬁ中文字日本語カタ“”👩🙂한국어ㅋשमर"
    )
    if not cased:
        text = unicodedata.normalize("NFD", "".join(letters).lower() + "한국어는교착어이다")
        letters = {letter for letter in text if unicodedata.category(letter) != "Mn"}
    words = ["un", "##aff", "##able", "hello", "the", "don", "stop", "a" * 20, "##" + "a" * 20]
    words += ["Un", "UN", "##AFF", "Hello"] if cased else []
    pieces = [form for letter in sorted(letters) for form in (letter, f"##{letter}")]
    return ["[PAD]", *(f"[unused{n}]" for n in range(4)), *SPECIALS[1:], *pieces, *words]


def write_vocabulary(folder, tokens):
    """A `vocab.txt`."""
    file = folder / "vocab.txt"
    file.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return file
