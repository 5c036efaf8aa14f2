import json

import pytest

from bertjax.text.token_counts import TokenCounts
from bertjax.text.tokenizer import train_wordpiece

LINES = ["one two three", "two three four five", "one one two", "five six"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(LINES * 3, 60, cased=False)


def counts_of(tokenizer, lines):
    counts = TokenCounts.empty(tokenizer.vocab_size)
    counts.add(lines, tokenizer.encode_batch(lines), tokenizer.unknown_id)
    return counts


def test_report_figures(tokenizer):
    lines = ["one two", "one Ω"]
    one, two = len(tokenizer.encode("one")), len(tokenizer.encode("two"))
    tokens = 2 * one + two + 1
    pieces = len({*tokenizer.encode("one two")})
    assert counts_of(tokenizer, lines).summary() == {
        "pieces_used": pieces,
        "vocabulary_share": round(pieces / tokenizer.vocab_size, 4),
        "unknown_rate": round(1 / tokens, 6),
        "tokens_per_word": tokens / 4,
        "tokens_per_character": round(tokens / 12, 4),
    }


def test_parts_add_up_to_the_whole(tokenizer):
    parts = counts_of(tokenizer, LINES[:1])
    parts.merge(counts_of(tokenizer, LINES[1:]))
    assert parts.summary() == counts_of(tokenizer, LINES).summary()


def test_counts_survive_json(tokenizer):
    counts = counts_of(tokenizer, LINES)
    again = TokenCounts.from_json(json.loads(json.dumps(counts.to_json())))
    again.merge(TokenCounts.empty(tokenizer.vocab_size))
    assert again.summary() == counts.summary()


def test_no_text_has_zero_rates(tokenizer):
    assert set(counts_of(tokenizer, []).summary().values()) == {0}
