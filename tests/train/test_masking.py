"""Which tokens are hidden: the shares, the units, the limits, and what decides them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bertjax.train import masking
from bertjax.train.masking import mask_tokens, masking_table, prediction_count

VOCAB = 60
SPECIAL = (0, 1, 2, 3, 4)  # pad, unknown, classifier, separator, mask
MASK_ID = 4
CONTINUES = np.arange(VOCAB) >= 40  # the last 20 pieces go on with a word
TABLE = masking_table(CONTINUES, SPECIAL, MASK_ID)


def rows(count, length, seed=0, real=None, continued=1 / 3, vocab=VOCAB):
    """`[CLS] A [SEP] B [SEP]` rows of random pieces, `real` positions of each not padding."""
    random = np.random.default_rng(seed)
    whole = random.integers(5, 40, (count, length))
    parts = random.integers(40, vocab, (count, length))
    token_ids = np.where(random.random((count, length)) < continued, parts, whole)
    real = np.full(count, length) if real is None else np.asarray(real)
    index = np.arange(length)
    token_ids[:, 0], token_ids[:, length // 3] = 2, 3
    token_ids[np.arange(count), real - 1] = 3
    pair_ids = (index < real[:, None]).astype(np.int32)
    return {
        "token_ids": np.where(pair_ids, token_ids, 0).astype(np.int32),
        "pair_ids": pair_ids,
        "row_ids": np.arange(count, dtype=np.int32),
    }


def mask(batch, unit="token", rate=0.15, seed=0, table=TABLE):
    predictions = prediction_count(batch["token_ids"].shape[1], rate)
    run = jax.jit(
        lambda batch: mask_tokens(jax.random.key(seed), batch, table, rate, unit, predictions)
    )
    return jax.device_get(run(batch))


def chosen_positions(batch, masked):
    """bool [batch, length]: where a prediction is asked for."""
    chosen = np.zeros(batch["token_ids"].shape, bool)
    row, slot = np.nonzero(masked.weights)
    chosen[row, masked.positions[row, slot]] = True
    return chosen


def words_of(token_ids):
    """Lists of positions, one for each word of a row."""
    words = []
    for index, token in enumerate(token_ids):
        if token in SPECIAL:
            continue
        if CONTINUES[token] and index > 0 and token_ids[index - 1] not in SPECIAL:
            words[-1].append(index)
        else:
            words.append([index])
    return words


UNITS = ("token", "whole_word", "span")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_only_real_ordinary_tokens_are_chosen_and_put_in(unit, rate):
    batch = rows(64, 48, real=np.random.default_rng(1).integers(20, 49, 64))
    masked = mask(batch, unit, rate)
    chosen = chosen_positions(batch, masked)
    original = batch["token_ids"]
    assert not np.isin(original[chosen], SPECIAL).any()
    assert (masked.token_ids[~chosen] == original[~chosen]).all()
    put_in = masked.token_ids[chosen & (masked.token_ids != original)]
    assert not np.isin(put_in, [0, 1, 2, 3]).any()


@pytest.mark.parametrize("unit", UNITS)
def test_labels_are_the_original_tokens_and_the_surplus_weighs_nothing(unit):
    batch = rows(16, 40, real=np.arange(16) + 20)
    masked = mask(batch, unit)
    original = np.take_along_axis(batch["token_ids"], masked.positions, axis=1)
    assert (masked.labels == np.where(masked.weights == 1, original, 0)).all()
    assert (masked.positions[masked.weights == 0] == 0).all()
    assert chosen_positions(batch, masked).sum() == masked.weights.sum()  # no position twice


@pytest.mark.parametrize("unit", ["token", "span"])
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_a_row_has_its_rounded_share_of_real_tokens_chosen(unit, rate):
    real = np.arange(20, 61)
    masked = mask(rows(41, 60, real=real), unit, rate)
    expected = [max(1, round(rate * count)) for count in real]
    np.testing.assert_array_equal(masked.weights.sum(1), expected)


@pytest.mark.parametrize("unit", UNITS)
def test_rows_with_little_or_nothing_to_choose(unit):
    batch = rows(3, 40, real=[20, 20, 20])
    batch["token_ids"][0, 1:19] = 1  # a row of unknown tokens
    batch["token_ids"][1, 2:19] = 1  # all but one
    batch["token_ids"][1, 1] = 9
    batch["pair_ids"][2] = 0  # padding alone
    masked = mask(batch, unit)
    np.testing.assert_array_equal(masked.weights.sum(1), [0, 1, 0])
    assert masked.positions[1, 0] == 1


@pytest.mark.parametrize("unit", UNITS)
def test_four_fifths_masked_one_tenth_random_one_tenth_kept(unit):
    batch = rows(8000, 128)
    masked = mask(batch, unit)
    chosen = chosen_positions(batch, masked)
    shown, original = masked.token_ids[chosen], batch["token_ids"][chosen]
    assert chosen.sum() > 100_000
    same_by_chance = 0.1 / (VOCAB - len(SPECIAL))
    counts = np.array(
        [
            (shown == MASK_ID).sum(),
            ((shown != MASK_ID) & (shown != original)).sum(),
            (shown == original).sum(),
        ]
    )
    shares = np.array([0.8, 0.1 - same_by_chance, 0.1 + same_by_chance])
    if unit == "span":  # decided once for each span, so that only the shares are close
        np.testing.assert_allclose(counts / counts.sum(), shares, atol=0.01)
    else:
        assert stats.chisquare(counts, shares * counts.sum()).pvalue > 1e-4


def test_every_position_is_chosen_equally_often():
    batch = rows(16_000, 48)
    counts = chosen_positions(batch, mask(batch)).sum(0)
    maskable = ~np.isin(batch["token_ids"][0], SPECIAL)
    assert counts.sum() > 100_000
    assert stats.chisquare(counts[maskable]).pvalue > 1e-4


def test_random_tokens_are_uniform_over_the_ordinary_ids():
    batch = rows(16_000, 48)
    batch["token_ids"] = np.where(batch["token_ids"] > 4, 5, batch["token_ids"])
    found = np.concatenate([mask(batch, rate=0.9, seed=seed).token_ids for seed in range(2)])
    counts = np.bincount(found[found > 5], minlength=VOCAB)[6:]
    assert counts.sum() > 100_000
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_whole_words_are_chosen_whole_up_to_the_budget(rate):
    batch = rows(200, 64)
    masked = mask(batch, "whole_word", rate)
    chosen = chosen_positions(batch, masked)
    for token_ids, row in zip(batch["token_ids"], chosen, strict=True):
        words = words_of(token_ids)
        taken = [word for word in words if row[word].all()]
        assert sum(map(len, taken)) == row.sum()
        left = round(rate * 64) - row.sum()
        assert left >= 0
        assert all(len(word) > left for word in words if not row[word].any())


def test_words_are_chosen_equally_often_whatever_their_place():
    batch = rows(16_000, 48, continued=0.0)
    counts = chosen_positions(batch, mask(batch, "whole_word")).sum(0)
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-4


def test_a_korean_word_is_everything_up_to_the_next_space():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁학교", "에서", "는", "▁공부", "한다"]
    continues = np.array([not piece.startswith(("▁", "[")) for piece in pieces])
    table = masking_table(continues, SPECIAL, MASK_ID)
    row = [2, 5, 6, 7, 8, 9, 3, 6, 8, 3]  # the piece after a separator begins a word
    batch = {
        "token_ids": np.tile(np.int32(row), (100, 1)),
        "pair_ids": np.ones((100, 10), np.int32),
        "row_ids": np.arange(100, dtype=np.int32),
    }
    chosen = chosen_positions(batch, mask(batch, "whole_word", rate=0.3, table=table))
    found = {tuple(np.flatnonzero(row)) for row in chosen}
    assert found == {(1, 2, 3), (4, 5, 7), (4, 5, 8), (7, 8)}


def spans_of(chosen):
    """(start, end) of each run of chosen positions."""
    edges = np.diff(np.concatenate([[0], chosen.astype(int), [0]]))
    return list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True))


def test_spans_start_at_words_and_never_reach_over_special_tokens():
    batch = rows(300, 96)
    chosen = chosen_positions(batch, mask(batch, "span"))
    cut = 0
    for token_ids, row in zip(batch["token_ids"], chosen, strict=True):
        words = words_of(token_ids)
        starts, ends = {word[0] for word in words}, {word[-1] + 1 for word in words}
        for start, end in spans_of(row):
            assert start in starts
            assert not np.isin(token_ids[start:end], SPECIAL).any()
            cut += end not in ends
    assert cut <= 300  # only the span that spends the budget may end inside a word


def test_span_lengths_are_geometric_and_at_most_ten():
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, np.uint32)
    counts = np.bincount(masking._span_lengths(jnp.asarray(bits)), minlength=11)
    shares = 0.2 * 0.8 ** np.arange(10)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:], len(bits) * shares / shares.sum()).pvalue > 1e-4


def test_spans_have_the_length_drawn_unless_something_stops_them():
    batch = rows(4000, 128, continued=0.0)
    chosen = chosen_positions(batch, mask(batch, "span"))
    mean = np.mean([end - start for row in chosen for start, end in spans_of(row)])
    assert (
        3.3 < mean < 4.5
    )  # 3.8, shortened by the budget and by separators, lengthened by touching


def test_a_span_is_masked_replaced_or_kept_as_one():
    batch = rows(2000, 128, continued=0.0)
    masked = mask(batch, "span")
    chosen = chosen_positions(batch, masked)
    mixed = alike = 0
    for shown, row in zip(masked.token_ids, chosen, strict=True):
        for start, end in spans_of(row):
            hidden = shown[start:end] == MASK_ID
            mixed += 0 < hidden.sum() < len(hidden)
            alike += hidden.all() or not hidden.any()
    assert mixed < 0.1 * alike  # two spans may touch


@pytest.mark.parametrize("unit", UNITS)
def test_a_row_has_the_same_masks_whatever_batch_it_comes_in(unit):
    batch = rows(32, 64)
    whole = mask(batch, unit)
    half = mask({name: array[8:24] for name, array in batch.items()}, unit)
    for found, expected in zip(half, whole, strict=True):
        np.testing.assert_array_equal(found, expected[8:24])


@pytest.mark.parametrize("unit", UNITS)
def test_another_key_or_row_has_other_masks(unit):
    batch = rows(32, 64)
    first, second = mask(batch, unit), mask(batch, unit, seed=1)
    assert (first.positions != second.positions).any(axis=1).mean() > 0.9
    assert (first.positions[1:] != first.positions[:-1]).any(axis=1).mean() > 0.9
