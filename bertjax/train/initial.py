"""Starting from given weights: whether they fit, which heads are made new, which are left out.

A run keeps in `initial.json` what it was started from.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
from etils import epath

from bertjax.config import Config, ModelConfig
from bertjax.errors import UserError
from bertjax.json_text import parse_json
from bertjax.train.run_folder import write_file
from bertjax.train.state import named_key

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

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


_FILE = "initial.json"


@dataclass(frozen=True)
class InitialWeights:
    """A checkpoint to start from.

    Attributes:
        params: nested dict of arrays, the parts of the model at its top.
        config: the encoder that they are for.
        tokenizer: the one that they were trained with.
        source: what they are, in words.
    """

    params: dict[str, Any]
    config: ModelConfig
    tokenizer: "Tokenizer"
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
    if (theirs := initial.tokenizer.digest) != tokenizer_digest:
        raise UserError(
            "the initial weights were trained with another tokenizer "
            f"({theirs[:12]}) than the data's ({tokenizer_digest[:12]}): "
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


def record_source(run: epath.Path, source: str) -> dict[str, str]:
    """Keeps in a run what it is started from, and returns it as `recorded_source` does."""
    known = {"started_from": source}
    if jax.process_index() == 0:
        write_file(run / _FILE, f"{json.dumps(known)}\n".encode())
    return known


def recorded_source(run: epath.Path, has_weights: bool) -> dict[str, str]:
    """`started_from` of a run that was started from given weights; otherwise nothing.

    Args:
        run: the run's folder.
        has_weights: whether it has a checkpoint, or weights to start from are given again.

    Raises:
        UserError: it was started from weights, and has none now.
    """
    if not (run / _FILE).exists():
        return {}
    try:
        source = parse_json((run / _FILE).read_bytes())["started_from"]
        if not isinstance(source, str):
            raise TypeError(source)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run / _FILE}: damaged; copy it again, or start another run") from error
    if not has_weights:
        raise UserError(
            f"{run} was started with --init, from {source}, and has no checkpoint yet: give --init "
            "again (without --scratch), or start another run"
        )
    return {"started_from": source}


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
