"""Starting from given weights: whether they fit, which heads are made new, which are left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from bertjax.config import Config, ModelConfig
from bertjax.errors import UserError
from bertjax.train.state import named_key

# What the weights were trained for; vocabulary and tokenizer are compared by the digest.
_DECISIVE = (
    "num_layers",
    "hidden_size",
    "num_heads",
    "intermediate_size",
    "max_length",
    "num_segments",
    "activation",
    "layer_norm_epsilon",
)


@dataclass(frozen=True)
class InitialWeights:
    """A checkpoint to start from.

    Attributes:
        params: nested dict of arrays, the parts of the model at its top.
        config: the encoder that they are for.
        tokenizer_digest: of the tokenizer that they were trained with.
        source: what they are, in words.
    """

    params: dict[str, Any]
    config: ModelConfig
    tokenizer_digest: str
    source: str


def complete_params(
    initial: InitialWeights,
    config: Config,
    init: Callable[[jax.Array], dict[str, Any]],
    tokenizer_digest: str,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """The given weights with exactly the parts that `init` makes; absent ones are its own.

    Args:
        initial: the checkpoint.
        config: what is to be trained; its seed makes what is new.
        init: a key to fresh params.
        tokenizer_digest: of the data's tokenizer.
        tell: takes the line that says what was done.

    Raises:
        UserError: they were trained with another tokenizer or are for another encoder.
    """
    if initial.tokenizer_digest != tokenizer_digest:
        raise UserError(
            "the initial weights were trained with another tokenizer "
            f"({initial.tokenizer_digest[:12]}) than the data's ({tokenizer_digest[:12]}): "
            "run bertjax prepare --tokenizer with theirs"
        )
    _refuse_other_encoder(initial.config, config.model)
    key = named_key(config.train.seed, "init")
    wanted = jax.eval_shape(init, key)
    new = [name for name in wanted if name not in initial.params]
    left = [name for name in initial.params if name not in wanted]
    fresh = jax.jit(lambda key: {name: init(key)[name] for name in new})(key) if new else {}
    tell(
        f"starting from {initial.source}"
        + (f"; new, at random: {', '.join(new)}" if new else "")
        + (f"; left out: {', '.join(left)}" if left else "")
    )
    return {name: fresh.get(name, initial.params.get(name)) for name in wanted}


def _refuse_other_encoder(found: ModelConfig, asked: ModelConfig) -> None:
    theirs = [
        f"--model.{name}={getattr(found, name)}"
        for name in _DECISIVE
        if getattr(found, name) != getattr(asked, name)
    ]
    if theirs:
        raise UserError(
            f"the initial weights are for another encoder than the config's: add {' '.join(theirs)}"
        )
