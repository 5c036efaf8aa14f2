"""What pretraining and fine-tuning do alike around `fit`."""

import jax
import jax.numpy as jnp
import pytest

from bertjax.errors import UserError
from bertjax.train.run import too_little_memory_told

TOLD = r"more --train\.accumulation \(4 now\).*RESOURCE_EXHAUSTED"


def test_memory_that_does_not_suffice_is_told_with_the_settings_that_need_less():
    with pytest.raises(UserError, match=TOLD), too_little_memory_told(4):
        jnp.zeros((2**25, 2**25), jnp.int8).block_until_ready()


@pytest.mark.parametrize(
    "reason",
    [
        "Error allocating device buffer: Attempting to allocate 4.39G. That was not possible.",
        "Failed to allocate request for 176.00MiB (184549376B) on device ordinal 0",
        "Ran out of memory in memory space hbm. Used 20.00G of 15.75G hbm.\n\nTotal hbm usage",
    ],
)
def test_the_words_of_every_kind_of_device_are_known(reason):
    with pytest.raises(UserError, match=TOLD), too_little_memory_told(4):
        raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {reason}")


@pytest.mark.parametrize("reason", ["INTERNAL: a bug", "RESOURCE_EXHAUSTED: quota of requests"])
def test_other_errors_of_the_device_stay_what_they_are(reason):
    with pytest.raises(jax.errors.JaxRuntimeError, match=reason), too_little_memory_told(4):
        raise jax.errors.JaxRuntimeError(reason)
