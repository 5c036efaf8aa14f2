"""The digest of an array: what it covers, what changes it and what must not."""

import zlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bertjax.train.digest import digest_arrays, named_leaves

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.uint32, np.int8, np.bool_)


def reference(name: str, array: np.ndarray) -> int:
    """The same sum in 64-bit NumPy arithmetic, one element at a time in row-major order."""
    unsigned = f"uint{8 * array.dtype.itemsize}"
    words = np.ravel(np.ascontiguousarray(array)).view(unsigned).astype(np.uint64)
    weights = mix(np.arange(words.size, dtype=np.uint64) ^ zlib.crc32(name.encode())) | 1
    return sum(
        int(word) * int(weight) for word, weight in zip(mix(words), weights, strict=True)
    ) % (2**32)


def mix(words: np.ndarray) -> np.ndarray:
    low = np.uint64(0xFFFFFFFF)
    words = ((words ^ (words >> 16)) * 0x85EBCA6B) & low
    words = ((words ^ (words >> 13)) * 0xC2B2AE35) & low
    return words ^ (words >> 16)


def digest(array, name="a") -> int:
    return digest_arrays({name: jnp.asarray(array)}).values[name]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 3, 4)])
def test_digest_equals_the_numpy_reference(dtype, shape):
    values = np.random.default_rng(0).integers(-90, 90, shape) * 1.0
    array = np.asarray(values).astype(dtype)
    assert digest(array, "params/layer/kernel") == reference("params/layer/kernel", array)


def test_a_random_key_is_digested_by_its_data():
    key = jax.random.key(7)
    assert digest(key) == reference("a", np.asarray(jax.random.key_data(key)))


@pytest.mark.parametrize("spec", [("x",), (None, "y"), ("y", "x"), (("x", "y"),), ()])
def test_digest_is_the_same_for_any_sharding(spec):
    array = jax.random.normal(jax.random.key(0), (16, 24))
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    sharded = jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))
    assert digest(sharded) == digest(array) == reference("a", np.asarray(array))


ARRAYS = hnp.arrays(np.uint32, (4, 3), elements=st.integers(0, 2**32 - 1))


@settings(max_examples=50, deadline=None)
@given(ARRAYS, st.integers(0, 11), st.integers(0, 31))
def test_any_flipped_bit_changes_the_digest(array, position, bit):
    changed = array.copy()
    changed.flat[position] ^= np.uint32(1 << bit)
    assert digest(changed) != digest(array)


@settings(max_examples=50, deadline=None)
@given(ARRAYS, st.permutations(range(12)))
def test_any_other_order_of_the_elements_changes_the_digest(array, order):
    permuted = array.flat[order].reshape(array.shape)
    assert (digest(permuted) == digest(array)) == np.array_equal(permuted, array)


def test_swapping_powers_of_two_changes_the_digest():
    ones = np.ones(4096, np.float32)  # few bits set: where a plain weighted sum is blind
    digests = set()
    for position in range(0, 4096, 16):
        changed = ones.copy()
        changed[position] = 2.0
        digests.add(digest(changed))
    assert len(digests) == 256


def test_swapped_arrays_change_both_digests():
    first, second = jnp.arange(8.0), jnp.arange(8.0) + 1
    straight = digest_arrays({"query": first, "key": second}).values
    swapped = digest_arrays({"query": second, "key": first}).values
    assert straight["query"] != swapped["query"]
    assert straight["key"] != swapped["key"]


def test_arrays_that_are_not_finite_are_named():
    arrays = {
        "sound": jnp.ones(3),
        "infinite": jnp.array([1.0, jnp.inf], jnp.bfloat16),
        "nested": {"nan": jnp.full((2, 2), jnp.nan)},
        "integers": jnp.full(3, 0x7FC00000, jnp.int32),  # the bits of a NaN
    }
    assert set(digest_arrays(arrays).not_finite) == {"infinite", "nested/nan"}


def test_leaves_are_named_by_their_place_in_the_tree():
    tree = {"params": {"layers": {"0": {"kernel": 1}}}, "optimizer": (2, [3])}
    names = ["optimizer/0", "optimizer/1/0", "params/layers/0/kernel"]
    assert list(named_leaves(tree)) == names


def test_two_leaves_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        named_leaves({"a/b": 1, "a": {"b": 2}})
