"""Layers with gradients of their own against the compiler's derivation of the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.layers import Keys, LayerNorm, add_bias, gelu, vocab_rows
from bertjax.model.matmul import matmul, outer_sum


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def make_norm(size: int, epsilon: float) -> LayerNorm:
    config = ModelConfig(hidden_size=size, layer_norm_epsilon=epsilon)
    with nnx.use_eager_sharding(False):
        return LayerNorm(config, Keys(jax.random.key(0)))


def check_gradients(ours, plain, *arguments: jax.Array) -> None:
    found, back = jax.vjp(ours, *arguments)
    expected, plain_back = jax.vjp(plain, *arguments)
    cotangent = normal(*expected.shape, seed=9)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    for mine, theirs in zip(back(cotangent), plain_back(cotangent), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=5e-5)


@pytest.mark.parametrize("function", [gelu, matmul])
def test_gradients_in_bfloat16_are_those_in_float32_rounded(function):
    arguments = [normal(6, 24)] if function is gelu else [normal(24, 24), normal(24, 24, seed=1)]
    narrow = [argument.astype(jnp.bfloat16) for argument in arguments]
    wide = [argument.astype(jnp.float32) for argument in narrow]
    cotangent = normal(*function(*wide).shape, seed=9).astype(jnp.bfloat16)
    found = jax.vjp(function, *narrow)[1](cotangent)
    expected = jax.vjp(function, *wide)[1](cotangent.astype(jnp.float32))
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == jnp.bfloat16
        scale = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(mine.astype(jnp.float32), theirs, atol=2**-7 * scale)


def test_gelu_is_x_times_the_normal_distribution():
    check_gradients(gelu, lambda x: jax.nn.gelu(x, approximate=False), 3 * normal(50, 7))


@pytest.mark.parametrize(("inputs", "outputs"), [(12, 40), (40, 12)])
def test_a_matrix_product_and_both_its_gradients(inputs, outputs):
    check_gradients(matmul, jnp.matmul, normal(3, 5, inputs), normal(inputs, outputs, seed=1))


@pytest.mark.parametrize(("left", "right"), [(4, 9), (9, 4)])
def test_outer_sum_adds_the_outer_products_of_rows(left, right):
    rows, others = normal(2, 6, left), normal(2, 6, right, seed=1)
    pairs = zip(rows.reshape(-1, left), others.reshape(-1, right), strict=True)
    expected = sum(np.outer(a, b) for a, b in pairs)
    np.testing.assert_allclose(outer_sum(rows, others), expected, atol=1e-5)


def test_the_gradient_of_a_float32_kernel_is_not_rounded_in_bfloat16():
    inputs = normal(512, 8).astype(jnp.bfloat16)
    cotangent = normal(512, 4, seed=1).astype(jnp.bfloat16)
    kernel = normal(8, 4, seed=2)
    found = jax.vjp(matmul, inputs, kernel)[1](cotangent)[1]
    expected = np.asarray(inputs, np.float64).T @ np.asarray(cotangent, np.float64)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_bias_is_summed_in_float32():
    rows = np.random.default_rng(0).normal(1.0, 0.1, (8, 500, 3))
    gradient = jnp.asarray(rows, jnp.bfloat16)
    added, back = jax.vjp(add_bias, jnp.zeros_like(gradient), jnp.arange(3.0))
    assert added.dtype == jnp.bfloat16
    assert (added == jnp.arange(3)).all()
    by_inputs, by_bias = back(gradient)
    assert (by_inputs == gradient).all()
    assert by_bias.dtype == jnp.float32
    expected = np.asarray(gradient, np.float64).sum((0, 1))
    np.testing.assert_allclose(by_bias, expected, rtol=1e-6)


def test_layer_norm_and_its_gradients():
    graph = nnx.graphdef(make_norm(24, epsilon=1e-5))

    def ours(x, scale, bias):
        return nnx.merge(graph, {"scale": scale, "bias": bias})(x)

    def plain(x, scale, bias):
        normal = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return normal * scale + bias

    check_gradients(ours, plain, 2 + normal(3, 5, 24), normal(24, seed=1), normal(24, seed=2))


def test_layer_norm_takes_its_statistics_in_float32():
    norm = make_norm(64, epsilon=1e-12)
    inputs = (100 + normal(4, 64)).astype(jnp.bfloat16)
    wide = np.asarray(inputs, np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / wide.std(-1, keepdims=True)
    assert norm(inputs).dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(norm(inputs), np.float64), expected, atol=0.02)


def test_keys_are_those_of_flax():
    own, flax = Keys(jax.random.key(7)), nnx.Rngs(params=jax.random.key(7))
    for _ in range(3):
        assert own.params() == flax.params()


@pytest.mark.parametrize(("pieces", "rows"), [(30_522, 30_592), (8_192, 8_192), (1, 128)])
def test_the_token_table_has_a_multiple_of_128_rows(pieces, rows):
    assert vocab_rows(ModelConfig(vocab_size=pieces)) == rows
