"""The counter hash: right rates, no visible relation between any two draws."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from scipy import stats

from bertjax.model.dropout import (
    Dropout,
    bit_words,
    dropout_bits,
    keep,
    mix_words,
    random_bits,
)
from bertjax.model.positions import Selected
from tests.model.hashes import OURS

SHAPE = (64, 100)
ROWS = jnp.arange(64)


@pytest.fixture(params=OURS)
def draw(request):
    return OURS[request.param]


def bits(draw, seed=0, site=0, rows=ROWS, shape=SHAPE):
    return np.asarray(draw(jax.random.key(seed), site, rows, shape))


def test_the_bits_of_masks_are_what_they_have_always_been():
    drawn = random_bits(jax.random.key(0), 3, jnp.arange(2), (2, 2))
    assert drawn.tolist() == [
        [[169327927, 1342613481], [3199533628, 2219885858]],
        [[841353450, 2991844180], [2642371426, 2198166746]],
    ]


def bit_agreement(first, second):
    """For each of the 32 bits, the share of elements in which both draws agree."""
    same = ~(first ^ second).ravel()
    return np.array([((same >> bit) & 1).mean() for bit in range(32)])


def assert_independent(first, second):
    """No bit agrees more or less often than chance: 6 standard deviations of as many coins."""
    assert np.abs(bit_agreement(first, second) - 0.5).max() < 6 * 0.5 / first.size**0.5


def test_every_byte_is_uniform(draw):
    drawn = bits(draw)
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


def test_neighbouring_elements_are_independent(draw):
    drawn = bits(draw)
    assert_independent(drawn[:, :, 1:], drawn[:, :, :-1])
    assert_independent(drawn[:, 1:], drawn[:, :-1])


def test_the_corners_of_rectangles_are_independent(draw):
    """Their words cancel when combined; their bits must not."""
    drawn = bits(draw)
    assert_independent(drawn[:, 1:, 1:] ^ drawn[:, :-1, 1:], drawn[:, 1:, :-1] ^ drawn[:, :-1, :-1])


def test_an_element_is_mixed_from_the_words_of_its_line_and_its_place():
    key, shape = jax.random.key(0), (3, *SHAPE)
    outer, inner = bit_words(key, 5, ROWS, shape)
    mixed = mix_words(outer[..., None], inner[:, None, None])
    np.testing.assert_array_equal(mixed, dropout_bits(key, 5, ROWS, shape))


@pytest.mark.parametrize("heads", [(), (3,)], ids=["hidden states", "probabilities"])
def test_selected_positions_have_the_bits_that_they_have_among_all(heads):
    key, length, width = jax.random.key(0), 40, 24
    positions = jax.random.randint(key, (64, 7), 0, length)
    whole = dropout_bits(key, 5, ROWS, (*heads, length, width))
    selected = Selected(positions, length)
    found = dropout_bits(key, 5, ROWS, (*heads, 7, width), selected)
    where = positions.reshape(64, *(1 for _ in heads), 7, 1)
    np.testing.assert_array_equal(found, jnp.take_along_axis(whole, where, axis=-2))


def test_neighbouring_rows_sites_and_steps_are_independent(draw):
    drawn = bits(draw)
    assert_independent(drawn[1:], drawn[:-1])
    assert_independent(drawn, bits(draw, site=1))
    key = jax.random.key(0)
    steps = [draw(jax.random.fold_in(key, step), 0, ROWS, SHAPE) for step in (0, 1)]
    assert_independent(np.asarray(steps[0]), np.asarray(steps[1]))


def test_no_row_is_a_shifted_copy_of_another(draw):
    flat = bits(draw, shape=(4096,)).astype(np.uint64)
    upper = flat >> np.uint64(16)
    four = sum(upper[:, n : n - 3 or None] << np.uint64(16 * n) for n in range(4))
    assert not np.isin(four[1:], four[0]).any()


def test_flipping_one_bit_of_the_row_id_flips_half_of_the_output(draw):
    for bit in range(0, 24, 3):
        flipped = draw(jax.random.key(0), 0, ROWS ^ (1 << bit), SHAPE)
        assert_independent(bits(draw), np.asarray(flipped))


def test_raw_and_typed_keys_give_the_same_bits(draw):
    raw = draw(jax.random.key_data(jax.random.key(7)), 2, ROWS, (5,))
    np.testing.assert_array_equal(raw, draw(jax.random.key(7), 2, ROWS, (5,)))


def test_a_row_keeps_its_bits_whatever_the_batch(draw):
    np.testing.assert_array_equal(bits(draw)[10:20], bits(draw, rows=ROWS[10:20]))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["rows", "first axis", "second axis"])
def test_eight_devices_draw_the_bits_of_one_without_a_word_to_each_other(draw, axis):
    shape = (8, 16)
    mesh = Mesh(np.array(jax.devices()), ("device",))
    cut = NamedSharding(mesh, PartitionSpec(*[None] * axis, "device"))
    of_rows = lambda key, rows: draw(key, 3, rows, shape)  # noqa: E731
    compiled = jax.jit(of_rows, out_shardings=cut).lower(jax.random.key(0), ROWS).compile()
    found = compiled(jax.random.key(0), ROWS)
    assert found.addressable_shards[0].data.size * 8 == found.size
    np.testing.assert_array_equal(found, bits(draw, site=3, shape=shape))
    assert not re.search(r"\b(all|reduce|collective)-\w+\(", compiled.as_text())
