"""What an imported checkpoint must hold: every weight, in the right shape, finite."""

import dataclasses

import jax
import ml_dtypes
import numpy as np
import pytest

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.interop.weights import Tensor, assemble, expected_shapes
from bertjax.model import bert

CONFIG = ModelConfig(
    num_layers=2, hidden_size=12, num_heads=3, intermediate_size=20, vocab_size=50, max_length=16
)
KERNEL = "layers/1/intermediate/kernel"


def tensors(dtype=np.float32):
    """Random weights under our own names."""
    random = np.random.default_rng(0)
    arrays = {
        path: random.standard_normal(shape).astype(dtype)
        for path, shape in expected_shapes(CONFIG).items()
    }
    return {path: tensor_of(array, name=path) for path, array in arrays.items()}


def tensor_of(array, name=KERNEL, **options):
    return Tensor(name, array.shape, lambda: array, **options)


def test_the_tree_is_the_models_own():
    params = assemble(CONFIG, tensors(), "here")
    ours = jax.eval_shape(lambda: bert.init_params(CONFIG, jax.random.key(0)))
    assert jax.tree.structure(params) == jax.tree.structure(ours)
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [
        leaf.shape for leaf in jax.tree.leaves(ours)
    ]


def test_the_vocabularys_added_rows_are_zero_and_the_others_as_given():
    given = tensors()
    params = assemble(CONFIG, given, "here")
    for found, path in (
        (params["embeddings"]["token"], "embeddings/token"),
        (params["mlm_head"]["bias"], "mlm_head/bias"),
    ):
        assert len(found) == 128
        np.testing.assert_array_equal(found[:50], given[path].read())
        assert not found[50:].any()


def test_a_transposed_tensor_is_turned():
    given = tensors()
    stored = np.arange(240, dtype=np.float32).reshape(20, 12)
    given[KERNEL] = tensor_of(stored, transposed=True)
    params = assemble(CONFIG, given, "here")
    np.testing.assert_array_equal(params["layers"]["1"]["intermediate"]["kernel"], stored.T)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_weights_of_any_precision_become_float32(dtype):
    given = tensors(dtype)
    params = assemble(CONFIG, given, "here")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        params["pooler"]["dense"]["kernel"],
        given["pooler/dense/kernel"].read().astype(np.float32),
    )


@pytest.mark.parametrize("head", ["mlm_head", "pooler", "nsp_head"])
def test_a_head_that_is_absent_is_left_out(head):
    given = {path: tensor for path, tensor in tensors().items() if not path.startswith(head)}
    params = assemble(CONFIG, given, "here")
    assert head not in params


@pytest.mark.parametrize("path", [KERNEL, "embeddings/position", "mlm_head/transform/bias"])
def test_a_weight_that_is_missing_from_a_part_is_named(path):
    given = tensors()
    del given[path]
    with pytest.raises(UserError, match=f"^here: {path} is missing"):
        assemble(CONFIG, given, "here")


def never():
    raise AssertionError("read before the shapes were checked")


@pytest.mark.parametrize("transposed", [False, True])
def test_a_wrong_shape_is_refused_with_both_shapes_before_anything_is_read(transposed):
    given = {path: dataclasses.replace(item, read=never) for path, item in tensors().items()}
    given[KERNEL] = Tensor("theirs", (12, 21), never, transposed)
    wanted = r"\[20, 12\]" if transposed else r"\[12, 20\]"
    with pytest.raises(UserError, match=rf"here: theirs has shape \[12, 21\].*must be {wanted}"):
        assemble(CONFIG, given, "here")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.full((12, 20), np.nan, np.float32), "layers/1.*NaN or infinity"),
        (np.full((12, 20), np.inf, np.float32), "layers/1.*NaN or infinity"),
        (np.zeros((12, 20), np.int32), "layers/1.*int32, not floating-point"),
    ],
    ids=["nan", "infinity", "integers"],
)
def test_weights_that_are_no_finite_numbers_are_refused(value, message):
    given = tensors() | {KERNEL: tensor_of(value)}
    with pytest.raises(UserError, match=message):
        assemble(CONFIG, given, "here")
