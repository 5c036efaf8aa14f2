"""Random numbers that are a pure function of a key and a counter, the same with every NumPy.

NumPy does not promise that a generator's stream stays the same from release to release, and a
batch must never change. The hash is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators"): every counter has its own number, so any part of a stream can be
asked for at once.
"""

import numpy as np

_WORD = (1 << 64) - 1
_GOLDEN_RATIO = 0x9E3779B97F4A7C15


def random_bits(key: int, count: int, start: int = 0) -> np.ndarray:
    """Numbers `start` to `start + count` of the stream of `key`: uint64 [count]."""
    counters = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    bits = counters * np.uint64(_GOLDEN_RATIO) + np.uint64(key & _WORD)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def fold_in(key: int, *numbers: int) -> int:
    """A new key from a key and one or more non-negative numbers; any of them changes it all."""
    for number in numbers:
        key = int(random_bits(key, 1, number)[0])
    return key


def uniform(key: int, count: int) -> np.ndarray:
    """Numbers in [0, 1): float64 [count]."""
    return (random_bits(key, count) >> np.uint64(11)) * 2.0**-53


def permutation(key: int, count: int) -> np.ndarray:
    """The numbers below `count` in random order: int64 [count].

    The low bits of each hash are replaced by the number itself: the order then hangs on no sorting
    algorithm, and sorting values is several times faster than sorting indices.
    """
    low = np.uint64((1 << max(count - 1, 0).bit_length()) - 1)
    keyed = (random_bits(key, count) & ~low) | np.arange(count, dtype=np.uint64)
    keyed.sort()
    return (keyed & low).astype(np.int64)


def binomial_half(key: int, trials: np.ndarray) -> np.ndarray:
    """How many of `trials` fair coins show heads: int64, shape of `trials` (1-D).

    Beyond 4,096 coins the share of the first 4,096 is taken for all, which bounds the memory that
    a huge sentence can ask for.
    """
    coins = np.minimum(trials, 4096)
    words = (coins + 63) // 64
    owners = np.repeat(np.arange(len(trials)), words)
    ends = np.cumsum(words)
    first_coin = (np.arange(len(owners)) - (ends - words)[owners]) * 64
    unused = np.maximum(64 - (coins[owners] - first_coin), 0).astype(np.uint64)
    heads = np.bitwise_count(random_bits(key, len(owners)) >> unused)
    heads = np.bincount(owners, heads, len(trials)).astype(np.int64)
    return np.where(trials > coins, trials * heads // np.maximum(coins, 1), heads)
