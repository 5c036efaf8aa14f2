"""The counter hash: right rates, no visible relation between any two draws."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from scipy import stats

from bertjax.model.dropout import Dropout, bit_words, dropout_bits, keep, mix_words
from bertjax.model.positions import Selected

SHAPE = (64, 100)
ROWS = jnp.arange(64)


def bits(seed=0, site=0, rows=ROWS, shape=SHAPE):
    return np.asarray(dropout_bits(jax.random.key(seed), site, rows, shape))


def bit_agreement(first, second):
    """For each of the 32 bits, the share of elements in which both draws agree."""
    same = ~(first ^ second).ravel()
    return np.array([((same >> bit) & 1).mean() for bit in range(32)])


def assert_independent(first, second):
    """No bit agrees more or less often than chance: 6 standard deviations of as many coins."""
    assert np.abs(bit_agreement(first, second) - 0.5).max() < 6 * 0.5 / first.size**0.5


def test_every_byte_is_uniform():
    drawn = bits()
    for shift in (0, 8, 16, 24):
        counts = np.bincount((drawn.ravel() >> shift) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(
    ("rate", "dropped"),
    [(0, 0), (2**-17.1, 0), (2**-16, 1), (0.1, 6554), (1 / 3, 21845), (1, 65535)],
)
def test_the_share_is_rounded_to_the_nearest_of_65536_and_something_is_kept(rate, dropped):
    every = jnp.arange(2**16, dtype=jnp.uint32) << 16
    assert int((~keep(every, rate)).sum()) == int((~keep(every + 2**16 - 1, rate)).sum()) == dropped


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_zeroes_its_rate_and_keeps_the_mean(rate):
    inputs = jnp.ones((64, 200, 32))
    out = np.asarray(Dropout(rate, jax.random.key(0), ROWS)(inputs, site=3))
    dropped = int((out == 0).sum())
    assert stats.binomtest(dropped, out.size, rate).pvalue > 1e-4
    np.testing.assert_allclose(np.unique(out), [0, 1 / (1 - rate)], rtol=1e-6)


def test_half_precision_is_scaled_in_single_and_rounded_once():
    inputs = jax.random.normal(jax.random.key(1), (64, 200, 32), jnp.bfloat16)
    dropout = Dropout(0.1, jax.random.key(0), ROWS)
    wanted = dropout(inputs.astype(jnp.float32), site=3).astype(jnp.bfloat16)
    np.testing.assert_array_equal(dropout(inputs, site=3), wanted)


def test_no_key_or_no_rate_means_no_dropout():
    inputs = jnp.ones((2, 3))
    assert Dropout(0.1)(inputs, site=0) is inputs
    assert Dropout(0.0, jax.random.key(0), ROWS[:2])(inputs, site=0) is inputs


def test_neighbouring_elements_are_independent():
    drawn = bits()
    assert_independent(drawn[:, :, 1:], drawn[:, :, :-1])
    assert_independent(drawn[:, 1:], drawn[:, :-1])


def test_the_corners_of_rectangles_are_independent():
    """Their words cancel when combined; their bits must not."""
    drawn = bits()
    assert_independent(drawn[:, 1:, 1:] ^ drawn[:, :-1, 1:], drawn[:, 1:, :-1] ^ drawn[:, :-1, :-1])


@pytest.mark.parametrize("multiply", [True, False])
def test_what_is_dropped_follows_from_the_words_of_a_line_and_a_place(multiply):
    key, shape = jax.random.key(0), (3, *SHAPE)
    outer, inner = bit_words(key, 5, ROWS, shape)
    mixed = mix_words(outer[..., None], inner[:, None, None], multiply)
    bits_ = dropout_bits(key, 5, ROWS, shape)
    np.testing.assert_array_equal(mixed >> 16, bits_ >> 16)
    for rate in (0.1, 1 / 3):
        np.testing.assert_array_equal(keep(mixed, rate), keep(bits_, rate))


@pytest.mark.parametrize("heads", [(), (3,)], ids=["hidden states", "probabilities"])
def test_selected_positions_have_the_bits_that_they_have_among_all(heads):
    key, length, width = jax.random.key(0), 40, 24
    positions = jax.random.randint(key, (64, 7), 0, length)
    whole = dropout_bits(key, 5, ROWS, (*heads, length, width))
    selected = Selected(positions, length)
    found = dropout_bits(key, 5, ROWS, (*heads, 7, width), selected)
    where = positions.reshape(64, *(1 for _ in heads), 7, 1)
    np.testing.assert_array_equal(found, jnp.take_along_axis(whole, where, axis=-2))


def test_neighbouring_rows_sites_and_steps_are_independent():
    drawn = bits()
    assert_independent(drawn[1:], drawn[:-1])
    assert_independent(drawn, bits(site=1))
    key = jax.random.key(0)
    steps = [dropout_bits(jax.random.fold_in(key, step), 0, ROWS, SHAPE) for step in (0, 1)]
    assert_independent(np.asarray(steps[0]), np.asarray(steps[1]))


def test_no_row_is_a_shifted_copy_of_another():
    flat = bits(shape=(4096,))
    first = {value: place for place, value in enumerate(flat[0])}
    for row in flat[1:]:
        assert sum(value in first for value in row) <= 1


def test_flipping_one_bit_of_the_row_id_flips_half_of_the_output():
    for bit in range(0, 24, 3):
        flipped = dropout_bits(jax.random.key(0), 0, ROWS ^ (1 << bit), SHAPE)
        assert_independent(bits(), np.asarray(flipped))


def test_raw_and_typed_keys_give_the_same_bits():
    raw = dropout_bits(jax.random.key_data(jax.random.key(7)), 2, ROWS, (5,))
    np.testing.assert_array_equal(raw, dropout_bits(jax.random.key(7), 2, ROWS, (5,)))


def test_a_row_keeps_its_bits_whatever_the_batch():
    np.testing.assert_array_equal(bits()[10:20], bits(rows=ROWS[10:20]))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["rows", "first axis", "second axis"])
def test_eight_devices_draw_the_bits_of_one_without_a_word_to_each_other(axis):
    shape = (8, 16)
    mesh = Mesh(np.array(jax.devices()), ("device",))
    cut = NamedSharding(mesh, PartitionSpec(*[None] * axis, "device"))
    draw = lambda key, rows: dropout_bits(key, 3, rows, shape)  # noqa: E731
    compiled = jax.jit(draw, out_shardings=cut).lower(jax.random.key(0), ROWS).compile()
    found = compiled(jax.random.key(0), ROWS)
    assert found.addressable_shards[0].data.size * 8 == found.size
    np.testing.assert_array_equal(found, bits(site=3, shape=shape))
    assert not re.search(r"\b(all|reduce|collective)-\w+\(", compiled.as_text())
