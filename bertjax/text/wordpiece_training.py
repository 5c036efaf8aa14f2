"""Makes a WordPiece vocabulary from text, the same one on every run and machine."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from bertjax.errors import UserError
from bertjax.text.backend import BackendTokenizer
from bertjax.text.vocabulary import SPECIAL_TOKENS
from bertjax.text.wordpiece import (
    LONGEST_WORD,
    WordPieceSettings,
    make_wordpiece,
    wordpiece_normalizer,
)

_COVERAGE = 0.9999  # share of the text's characters that an alphabet tries to keep
_LEAST_COVERAGE = 0.99  # below this a vocabulary is refused as too small


def train_wordpiece(lines: Iterable[str], vocab_size: int, cased: bool) -> BackendTokenizer:
    """Trains a vocabulary; the same lines give the same vocabulary, on any machine.

    Memory grows with the number of distinct words; a caller with a large corpus gives a sample.
    The vocabulary is smaller than `vocab_size` where the text has too few repeated words.

    Raises:
        UserError: no words in the text, or a size that cannot hold its characters.
    """
    settings = WordPieceSettings(cased=cased, recompose=True)
    words = _count_words(lines, settings)
    if not words:
        raise UserError("cannot train a vocabulary: the corpus holds no text")
    alphabet = _choose_alphabet(words, vocab_size)
    tokens = _learn(words, [*SPECIAL_TOKENS, *alphabet], vocab_size)
    return make_wordpiece(tokens, settings, "the trained vocabulary")


def _count_words(lines: Iterable[str], settings: WordPieceSettings) -> Counter[str]:
    raw: Counter[str] = Counter()
    for line in lines:
        raw.update(line.split())
    normalizer, splitter = wordpiece_normalizer(settings), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    # Normalising each distinct word once is ten times faster than normalising every line.
    for text, count in raw.items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            if len(word) <= LONGEST_WORD:
                words[word] += count
    return words


def _choose_alphabet(words: Mapping[str, int], vocab_size: int) -> list[str]:
    """One-character pieces of the commonest characters.

    They fill at most half of the vocabulary, more only if that half covers too little of the text.
    Characters are taken by count, then by code point, never in the order of a hash map.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    inner = {character for word in words for character in word[1:]}
    total, covered, room = sum(counts.values()), 0, (vocab_size - len(SPECIAL_TOKENS)) // 2
    pieces: list[str] = []
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        forms = [character, f"##{character}"] if character in inner else [character]
        if covered >= _COVERAGE * total:
            break
        if len(pieces) + len(forms) > room and covered >= _LEAST_COVERAGE * total:
            break
        pieces += forms
        covered += count
    if (smallest := len(SPECIAL_TOKENS) + len(pieces)) > vocab_size:
        raise UserError(
            f"a vocabulary of {vocab_size} cannot hold the characters of this text; "
            f"the smallest that works is {smallest}"
        )
    return sorted(pieces)


def _learn(words: Mapping[str, int], first: list[str], vocab_size: int) -> list[str]:
    """The vocabulary in order of ids: `first`, then learned pieces, most frequent pairs first.

    The library numbers one-character pieces as it meets them in a hash map, and breaks ties
    between pairs by those numbers. Giving all of them beforehand makes its result repeatable.
    """
    known = set(first)
    learner = tokenizers.Tokenizer(models.WordPiece())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=first, show_progress=False
    )

    def repeated() -> Iterator[str]:
        for word, count in words.items():
            if word[0] in known and all(f"##{character}" in known for character in word[1:]):
                for start in range(0, count, 1000):
                    yield f"{word} " * min(1000, count - start)

    learner.train_from_iterator(repeated(), trainer)
    vocabulary = learner.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)
