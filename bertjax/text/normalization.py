"""The normalisation of vocabularies trained here: safe for Hangul, and without accents or case.

Google's uncased normalisation decomposes the text and stops there, which breaks every Hangul
syllable into two or three jamo. Here the text is composed again after the accents are gone, so
"한국 Café" becomes "한국 cafe".
"""

import unicodedata

from tokenizers import Regex, normalizers


def composed(text: str) -> str:
    """The text in NFC: names that look the same are the same, however a file writes them."""
    return unicodedata.normalize("NFC", text)


def safe_normalizer(cased: bool, separate_chinese: bool = True) -> normalizers.Normalizer:
    """Cleans text; if uncased, also NFD, accents stripped, NFC, lower-cased, in this order.

    Args:
        cased: keep case and accents (composed: NFC).
        separate_chinese: put spaces around CJK ideographs, as google-research/bert does.
    """
    clean = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=separate_chinese,
        strip_accents=False,
        lowercase=False,
    )
    if cased:
        return normalizers.Sequence([clean, normalizers.NFC()])
    # Only non-spacing marks (Mn) are accents, as in google-research/bert; the library's own
    # StripAccents would also remove spacing vowel signs of Indic scripts.
    strip_accents = normalizers.Replace(Regex(r"\p{Mn}"), "")
    return normalizers.Sequence(
        [clean, normalizers.NFD(), strip_accents, normalizers.NFC(), normalizers.Lowercase()]
    )
