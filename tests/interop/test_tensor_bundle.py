"""Against checkpoints that TensorFlow wrote; tests/fixtures/google/make_fixture.py made them."""

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.errors import UserError
from bertjax.interop.tensor_bundle import open_bundle, read_tensor

FIXTURES = Path(__file__).parent.parent / "fixtures" / "google"
PREFIXES = ("pretrained/model.ckpt-1000000", "sharded/mixed.ckpt")
SHARD = "mixed.ckpt.data-00001-of-00003"


def saved_arrays(prefix):
    """What was given to TensorFlow; .npz holds bfloat16 as its bits."""
    arrays = dict(np.load(FIXTURES / Path(prefix).parent / "arrays.npz"))
    return {
        name: array.view(ml_dtypes.bfloat16) if name.endswith("bfloat16") else array
        for name, array in arrays.items()
    }


@pytest.fixture
def copy(tmp_path):
    """A copy of the sharded checkpoint, to be damaged."""
    shutil.copytree(FIXTURES / "sharded", tmp_path, dirs_exist_ok=True)
    return tmp_path


def read_all(prefix):
    bundle = open_bundle(prefix)
    return {
        name: read_tensor(bundle, name)
        for name, entry in bundle.entries.items()
        if entry.dtype is not None and not entry.partitioned
    }


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_array_is_bit_equal_to_what_tensorflow_was_given(prefix):
    found, saved = read_all(FIXTURES / prefix), saved_arrays(prefix)
    assert found.keys() == saved.keys()
    for name, array in saved.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_a_checkpoint_may_lie_in_several_data_files():
    bundle = open_bundle(FIXTURES / "sharded" / "mixed.ckpt")
    assert bundle.shards == 3
    assert {entry.shard for entry in bundle.entries.values() if entry.size} == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [("words", "words is no array of numbers"), ("partitioned", "partitioned variable; save it")],
)
def test_what_is_no_plain_array_is_refused_by_name(name, message):
    bundle = open_bundle(FIXTURES / "sharded" / "mixed.ckpt")
    with pytest.raises(UserError, match=message):
        read_tensor(bundle, name)


def flip_first_byte(file):
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"cannot be read \(No such file"),
        (truncate, r"truncated; it has 288 bytes of 289"),
        (flip_first_byte, r"damaged; the checksum of \S+ differs"),
    ],
    ids=["missing", "truncated", "flipped"],
)
def test_a_damaged_data_file_is_named(copy, damage, message):
    damage(copy / SHARD)
    with pytest.raises(UserError, match=f"^{copy / SHARD}: {message}"):
        read_all(copy / "mixed.ckpt")


def test_a_checkpoint_that_is_not_all_there_is_refused_before_anything_is_read(copy):
    (copy / SHARD).unlink()
    with pytest.raises(UserError, match=SHARD):
        open_bundle(copy / "mixed.ckpt")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "cannot be read"),
        (truncate, "truncated, or not the index"),
        (flip_first_byte, "damaged: the checksum"),
    ],
    ids=["missing", "truncated", "flipped"],
)
def test_a_damaged_index_is_named(copy, damage, message):
    damage(copy / "mixed.ckpt.index")
    with pytest.raises(UserError, match=rf"mixed\.ckpt\.index: {message}"):
        open_bundle(copy / "mixed.ckpt")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_damage_to_the_index_goes_unnoticed_or_ends_in_a_traceback(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    index = bytearray((FIXTURES / "sharded" / "mixed.ckpt.index").read_bytes())
    index[data.draw(st.integers(0, len(index) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "mixed.ckpt.index").write_bytes(index)
    for file in (FIXTURES / "sharded").glob("*.data*"):
        shutil.copy(file, folder)
    try:
        found = open_bundle(folder / "mixed.ckpt")
    except UserError:
        return
    assert found.entries == open_bundle(FIXTURES / "sharded" / "mixed.ckpt").entries
