"""What pretraining and fine-tuning do alike around `fit`."""

import jax
import jax.numpy as jnp
import pytest

from bertjax.errors import UserError
from bertjax.train.run import too_little_memory_told


def test_memory_that_does_not_suffice_is_told_with_the_settings_that_need_less():
    told = r"--train\.accumulation=8.*RESOURCE_EXHAUSTED"
    with pytest.raises(UserError, match=told), too_little_memory_told(4):
        jnp.zeros((2**25, 2**25), jnp.int8).block_until_ready()


def test_other_errors_of_the_device_stay_what_they_are():
    error = jax.errors.JaxRuntimeError("INTERNAL: a bug")
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"), too_little_memory_told(4):
        raise error
