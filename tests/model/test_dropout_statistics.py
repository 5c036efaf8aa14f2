"""The counter hash under statistical tests that weaker hashes fail.

Every check is a function of a way to draw bits, `draw(key, site, row_ids, shape)`, and gives a
p-value: two-sided where "too even" is as wrong as "too uneven", and multiplied by the number of
comparisons it makes (Bonferroni). The keys are fixed, so nothing here is left to chance: ours must
reach `ACCEPTED` and the weak hashes below must stay under `REJECTED`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bertjax.model.dropout import dropout_bits, keep
from tests.model.hashes import OURS

ACCEPTED, REJECTED = 1e-3, 1e-9
KEY = jax.random.key_data(jax.random.key(20_181_011))
ROWS = jnp.arange(32)
SHAPE = (4, 32, 32)  # of a row: heads, queries, keys
GOLDEN = np.uint32(0x9E3779B9)


def counter(key, site, row_ids, shape):
    """One uint32 per element, all different: what weak hashes start from."""
    start = key[0] ^ key[1] ^ np.uint32(site)
    size = int(np.prod(shape))
    index = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    rows = row_ids.astype(jnp.uint32) * np.uint32(size)
    return start + rows.reshape(-1, *(1,) * len(shape)) + index


def linear_congruence(*where):
    """A step of the generator of Numerical Recipes (Press et al. 1992, section 7.1)."""
    return counter(*where) * np.uint32(1664525) + np.uint32(1013904223)


def one_round(*where):
    """A multiplication and a shift: half of the finalizer that ours is made of, once."""
    bits = counter(*where) * GOLDEN
    return bits ^ (bits >> 15)


def same_for_all_sites(key, _site, row_ids, shape):
    """Ours, but every layer gets the same mask."""
    return dropout_bits(key, 0, row_ids, shape)


def same_for_all_steps(_key, site, row_ids, shape):
    """Ours, but every step gets the same mask."""
    return dropout_bits(KEY, site, row_ids, shape)


def same_for_all_rows(key, site, row_ids, shape):
    """Ours, but every row gets the same mask."""
    return dropout_bits(key, site, jnp.zeros_like(row_ids), shape)


@functools.cache
def jitted(draw):
    return jax.jit(draw, static_argnums=(1, 3))


def drawn(draw, site=0, key=KEY, rows=ROWS, shape=SHAPE):
    return np.asarray(jitted(draw)(key, site, rows, shape))


def two_sided(statistic, freedom):
    """How often chi-square strays this far from its middle, in either direction."""
    return 2 * min(stats.chi2.sf(statistic, freedom), stats.chi2.cdf(statistic, freedom))


def drops(bits, rate):
    """Where dropout falls."""
    return ~np.asarray(keep(jnp.asarray(bits), rate))


def rate_p(draw, rate):
    """The number of dropped elements, of all rows together and of each row on its own."""
    dropped = drops(drawn(draw), rate).reshape(len(ROWS), -1)
    size = dropped.shape[1]
    counts = dropped.sum(axis=1)
    total = stats.binomtest(int(counts.sum()), dropped.size, rate).pvalue
    spread = np.sum((counts - size * rate) ** 2) / (size * rate * (1 - rate))
    return 2 * min(total, two_sided(spread, len(ROWS)))


def bytes_p(bits):
    """All four bytes: each of the 256 values as often as the others."""
    values = bits.ravel()
    found = []
    for shift in (0, 8, 16, 24):
        counts = np.bincount((values >> np.uint32(shift)) & np.uint32(255), minlength=256)
        found.append(two_sided(stats.chisquare(counts).statistic, 255))
    return len(found) * min(found)


def signs(bits):
    """[..] uint32 to [elements, 32] of -1 and 1."""
    flat = bits.reshape(-1, 1) >> np.arange(32, dtype=np.uint32)
    return (flat & 1).astype(np.float32) * 2 - 1


def pair_p(first, second, rate=0.1):
    """Every bit of one against every bit of the other, and what both drop together."""
    products = signs(first).T @ signs(second)
    largest = np.abs(products).max() / first.size**0.5
    by_bits = 32 * 32 * 2 * stats.norm.sf(largest)
    both = int((drops(first, rate) & drops(second, rate)).sum())
    return 2 * min(by_bits, stats.binomtest(both, first.size, rate**2).pvalue)


def neighbours_p(draw, axis, distance):
    """Elements so far apart along an axis of [row, head, query, key]."""
    bits = np.moveaxis(drawn(draw), axis, 0)
    return pair_p(bits[distance:], bits[:-distance])


def sites_p(draw, second):
    """The same elements at site 1 and at another one."""
    return pair_p(drawn(draw, site=1), drawn(draw, site=second))


def steps_p(draw):
    """The same elements in two steps that follow one another."""
    keys = [jax.random.fold_in(jax.random.wrap_key_data(KEY), step) for step in (7, 8)]
    return pair_p(*(drawn(draw, key=jax.random.key_data(key)) for key in keys))


def consecutive_rows_p(draw):
    """The first elements of 65,536 rows that follow one another, each row against the next."""
    bits = drawn(draw, rows=jnp.arange(2**16), shape=(2,))
    return 2 * min(bytes_p(bits), pair_p(bits[1:], bits[:-1]))


def lines_p(draw, rate):
    """What 512 places drop, each against each other one, over 24,576 lines of a row of 48 heads.

    Of all pairs together, and of the one that is most alike: words that lie close must be told
    apart as well as others.
    """
    places = 512
    dropped = drops(drawn(draw, rows=ROWS[:1], shape=(48, 512, places)), rate)
    dropped = dropped.reshape(-1, places)
    standard = (dropped - np.float32(rate)) / (rate * (1 - rate)) ** 0.5
    products = np.triu(standard.T @ standard, 1) / len(dropped) ** 0.5
    pairs = places * (places - 1) // 2
    most = pairs * 2 * stats.norm.sf(np.abs(products).max())
    return 2 * min(two_sided(np.sum(products**2), pairs), most)


def flips_p(bits, flipped):
    """For one flipped input bit: does each output bit change half of the time?"""
    changed = signs(bits) != signs(flipped)
    counts = changed.sum(axis=0)
    spread = np.abs(counts - len(changed) / 2).max() / (len(changed) / 4) ** 0.5
    return 32 * 2 * stats.norm.sf(spread)


def avalanche_p(draw, source):
    """The least `flips_p` over all bits of one input: key, site, row or position."""
    rows, shape = jnp.arange(64) * 1009 + 5, (256,)
    bits = drawn(draw, rows=rows, shape=shape)
    at = lambda key=KEY, site=0, rows=rows: draw(key, site, rows, shape)  # noqa: E731
    ones = jnp.uint32(1) << jnp.arange(32, dtype=jnp.uint32)
    match source:
        case "key":
            masks = jnp.concatenate(
                [jnp.outer(ones, jnp.eye(2, dtype=jnp.uint32)[n]) for n in (0, 1)]
            )
            flipped = jax.jit(jax.vmap(lambda mask: at(key=KEY ^ mask)))(masks)
        case "site":
            flipped = [drawn(draw, 1 << bit, rows=rows, shape=shape) for bit in range(8)]
        case "row":
            masks = ones[:31].astype(jnp.int32)
            flipped = jax.jit(jax.vmap(lambda mask: at(rows=rows ^ mask)))(masks)
        case _:
            unset = [np.flatnonzero(~np.arange(256) & (1 << bit)) for bit in range(8)]
            pairs = [(bits[:, n], bits[:, n | (1 << bit)]) for bit, n in enumerate(unset)]
            return 8 * min(flips_p(*pair) for pair in pairs)  # each pair of positions once
    found = [flips_p(bits, np.asarray(other)) for other in flipped]
    return len(found) * min(found)


WEAK = [linear_congruence, one_round]
RATES = [0.01, 0.1, 0.3, 0.5]
CHECKS = {
    **{f"rate {rate}": functools.partial(rate_p, rate=rate) for rate in RATES},
    "bytes": lambda draw: bytes_p(drawn(draw)),
    "neighbouring keys": functools.partial(neighbours_p, axis=3, distance=1),
    "neighbouring queries": functools.partial(neighbours_p, axis=2, distance=1),
    "neighbouring heads": functools.partial(neighbours_p, axis=1, distance=1),
    "neighbouring rows": functools.partial(neighbours_p, axis=0, distance=1),
    **{
        f"places of a line, rate {rate}": functools.partial(lines_p, rate=rate)
        for rate in (0.1, 0.3, 0.5)
    },
    "distant keys": functools.partial(neighbours_p, axis=3, distance=16),
    "distant rows": functools.partial(neighbours_p, axis=0, distance=8),
    "sites of one layer": functools.partial(sites_p, second=2),
    "layers": functools.partial(sites_p, second=4),
    "steps": steps_p,
    "consecutive rows": consecutive_rows_p,
    **{
        f"avalanche of the {source}": functools.partial(avalanche_p, source=source)
        for source in ("key", "site", "row", "position")
    },
}
BROKEN = [
    (same_for_all_sites, "sites of one layer"),
    (same_for_all_sites, "layers"),
    (same_for_all_sites, "avalanche of the site"),
    (same_for_all_steps, "steps"),
    (same_for_all_steps, "avalanche of the key"),
    (same_for_all_rows, "neighbouring rows"),
    (same_for_all_rows, "consecutive rows"),
    (same_for_all_rows, "avalanche of the row"),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("ours", OURS)
def test_a_hash_of_ours_passes(ours, check):
    assert CHECKS[check](OURS[ours]) > ACCEPTED


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("weak", WEAK, ids=lambda draw: draw.__name__)
def test_a_weak_hash_fails(weak, check):
    assert CHECKS[check](weak) < REJECTED


@pytest.mark.parametrize(
    ("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value)
)
def test_bits_that_repeat_fail(broken, check):
    assert CHECKS[check](broken) < REJECTED
