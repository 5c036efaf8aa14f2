import pytest

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.interop.bert_config import model_config

SETTINGS = {
    "vocab_size": 30522,
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "intermediate_size": 200,
}


def test_every_setting_has_its_place():
    settings = SETTINGS | {
        "max_position_embeddings": 64,
        "type_vocab_size": 5,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.2,
        "attention_probs_dropout_prob": 0.3,
        "initializer_range": 0.01,
        "layer_norm_eps": 1e-5,
    }
    assert model_config(settings, "here") == ModelConfig(
        num_layers=3,
        hidden_size=96,
        num_heads=8,
        intermediate_size=200,
        vocab_size=30522,
        max_length=64,
        num_segments=5,
        activation="relu",
        dropout=0.2,
        attention_dropout=0.3,
        initializer_range=0.01,
        layer_norm_epsilon=1e-5,
    )


def test_what_is_not_said_is_as_in_bert():
    assert model_config(SETTINGS, "here") == ModelConfig(3, 96, 8, 200, 30522)
    config = model_config(SETTINGS | {"hidden_dropout_prob": 0.3}, "here")
    assert (config.dropout, config.attention_dropout) == (0.3, 0.1)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("gelu", "gelu"),
        ("gelu_python", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("relu", "relu"),
        ("silu", "silu"),
        ("swish", "silu"),
    ],
)
def test_activations_by_any_of_their_names(name, ours):
    assert model_config(SETTINGS | {"hidden_act": name}, "here").activation == ours


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"vocab_size": 0}, "vocab_size must be a positive number; found 0"),
        ({"num_hidden_layers": "12"}, "num_hidden_layers must be a positive number; found '12'"),
        ({"num_attention_heads": 7}, "hidden_size 96 is not a multiple of num_attention_heads 7"),
        ({"hidden_act": "mish"}, "unknown hidden_act 'mish'; known are gelu,"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob must lie in .* found 1.5"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps must lie in .* found 'small'"),
    ],
)
def test_settings_that_describe_no_bert_are_refused(changed, message):
    with pytest.raises(UserError, match=f"^here: {message}"):
        model_config(SETTINGS | changed, "here")
