"""The activation of the feed-forward layers and of the masked-token head, by its name."""

import functools
from collections.abc import Callable

import jax

from bertjax.model.layers import gelu

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    # google-research/bert modeling.py and Hugging Face's gelu_new: the tanh approximation
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
