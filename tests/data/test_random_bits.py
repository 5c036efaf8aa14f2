import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.data.random_bits import binomial_half, fold_in, permutation, random_bits, uniform


def test_bits_are_splitmix64():
    # First outputs of the authors' splitmix64.c for two seeds.
    assert random_bits(0, 3).tolist() == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert random_bits(1234567, 2).tolist() == [6457827717110365317, 3203168211198807973]


def test_any_part_of_a_stream_can_be_asked_for():
    np.testing.assert_array_equal(random_bits(5, 10)[4:7], random_bits(5, 3, start=4))


def test_a_key_depends_on_every_number_folded_in():
    keys = {fold_in(seed, a, b) for seed in range(5) for a in range(5) for b in range(5)}
    assert len(keys) == 125


@given(key=st.integers(0, 2**64 - 1), count=st.integers(0, 300))
def test_a_permutation_holds_every_number_once(key, count):
    assert sorted(permutation(key, count).tolist()) == list(range(count))


def test_permutations_of_three_are_equally_frequent():
    orders = [tuple(permutation(fold_in(1, i), 3).tolist()) for i in range(6000)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert len(counts) == 6
    assert chi_square < 20.5  # 5 degrees of freedom, p = 0.001


def test_uniform_numbers_fill_the_unit_interval():
    numbers = uniform(3, 100_000)
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert counts.sum() == 100_000
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 27.9  # 9 degrees of freedom, p = 0.001


@pytest.mark.parametrize("trials", [1, 5, 64, 100, 4096])
def test_coins_have_the_moments_of_fair_ones(trials):
    draws = 4000
    heads = binomial_half(trials, np.full(draws, trials))
    deviation = (trials / 4) ** 0.5
    assert heads.min() >= 0
    assert heads.max() <= trials
    assert abs(heads.mean() - trials / 2) < 4 * deviation / draws**0.5
    assert abs(heads.std() / deviation - 1) < 0.06


@given(st.lists(st.integers(0, 100_000), max_size=20))
def test_coins_never_show_more_heads_than_there_are_coins(trials):
    heads = binomial_half(1, np.array(trials, np.int64))
    assert heads.shape == (len(trials),)
    assert (heads >= 0).all()
    assert (heads <= trials).all()
