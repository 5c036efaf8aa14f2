"""The activations against their formulas in float64."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.model.layers import ACTIVATIONS

FORMULAS = {
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}
POINTS = np.linspace(-6, 6, 241)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(name):
    expected = [FORMULAS[name](x) for x in POINTS]
    found = ACTIVATIONS[name](jnp.asarray(POINTS, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_keeps_the_dtype(name):
    assert ACTIVATIONS[name](jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
