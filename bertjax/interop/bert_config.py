"""The settings beside a checkpoint: Google's `bert_config.json` and Hugging Face's `config.json`.

Both use the names and defaults of BertConfig in google-research/bert's modeling.py; Hugging Face
added `layer_norm_eps`, more activations, and fewer segments where it is not said how many.
"""

from collections.abc import Mapping
from typing import Any, Literal

from bertjax.config import ModelConfig
from bertjax.errors import UserError

# "gelu" is the exact one, as in the paper, in Hugging Face and in google-research/bert at first;
# modeling.py approximates it by tanh since 2019, which moves logits by about a thousandth.
_ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh", "relu", "silu"]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_SIZES = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "vocab_size": "vocab_size",
    "max_length": "max_position_embeddings",
    "num_segments": "type_vocab_size",
}
_DEFAULTS = {
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
_SHARES = {
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "initializer_range": "initializer_range",
    "layer_norm_epsilon": "layer_norm_eps",
}


def model_config(values: Mapping[str, Any], origin: str) -> ModelConfig:
    """The encoder that the settings describe.

    Sizes must all be there but the number of positions and of segments (512 and 2); dropout that
    is not said is 0.1.

    Raises:
        UserError: a size is missing, no positive number or does not fit another, or an activation
            is unknown; `origin` names the file in the message.
    """
    values = {**_DEFAULTS, **values}
    sizes = {ours: _size(values, theirs, origin) for ours, theirs in _SIZES.items()}
    if sizes["hidden_size"] % sizes["num_heads"]:
        raise UserError(
            f"{origin}: hidden_size {sizes['hidden_size']} is not a multiple of "
            f"num_attention_heads {sizes['num_heads']}"
        )
    activation = str(values.get("hidden_act", "gelu"))
    if activation not in _ACTIVATIONS:
        raise UserError(
            f"{origin}: unknown hidden_act {activation!r}; known are {', '.join(_ACTIVATIONS)}"
        )
    shares = {ours: values[theirs] for ours, theirs in _SHARES.items() if theirs in values}
    for ours, value in shares.items():
        if not isinstance(value, int | float) or not 0 <= value < 1:
            raise UserError(f"{origin}: {_SHARES[ours]} must lie in [0, 1); found {value!r}")
    if shares.get("attention_dropout") == shares.get("dropout"):
        shares.pop("attention_dropout", None)
    return ModelConfig(activation=_ACTIVATIONS[activation], **sizes, **shares)


def settings_of(config: ModelConfig) -> dict[str, Any]:
    """The settings that describe the encoder, as `model_config` reads them."""
    by_activation = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    names = _SIZES | _SHARES
    settings: dict[str, Any] = {theirs: getattr(config, ours) for ours, theirs in names.items()}
    if config.attention_dropout is None:
        settings[_SHARES["attention_dropout"]] = config.dropout
    return settings | {"hidden_act": by_activation[config.activation]}


def _size(values: Mapping[str, Any], name: str, origin: str) -> int:
    value = values.get(name)
    if type(value) is not int or value < 1:
        found = "is missing" if value is None else f"must be a positive number; found {value!r}"
        raise UserError(f"{origin}: {name} {found}")
    return value
