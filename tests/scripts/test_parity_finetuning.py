import jax
import jax.numpy as jnp
import pytest

from bertjax.config import Config, OptimizerConfig
from bertjax.train.optimizer import _by_layer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LAYERS, DECAY = 3, 0.5


def small_network():
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 32}
    config = transformers.BertConfig(num_hidden_layers=LAYERS, **sizes)
    return transformers.BertForSequenceClassification(config)


def settings_of_parameters(network, settings, name):
    """What the optimizer's groups say, by the parameter's name."""
    from scripts.benchmark.parity_finetuning import adamw

    groups = adamw(network, Config(optimizer=settings)).param_groups
    found = {parameter: group[name] for group in groups for parameter in group["params"]}
    return {name: found[parameter] for name, parameter in network.named_parameters()}


def test_pytorchs_rate_falls_from_layer_to_layer_as_bertjaxs_does():
    settings, one = OptimizerConfig(layer_decay=DECAY), jnp.ones(())
    layers = {str(number): one for number in range(LAYERS)}
    parts = {"embeddings": one, "layers": layers, "classification_head": one}
    ours = jax.tree.map(float, _by_layer(parts, settings))
    expected = {
        "bert.embeddings.": ours["embeddings"],
        **{f"bert.encoder.layer.{n}.": ours["layers"][str(n)] for n in range(LAYERS)},
        "bert.pooler.": ours["classification_head"],
        "classifier.": ours["classification_head"],
    }
    found = settings_of_parameters(small_network(), settings, "scale")
    for start, share in expected.items():
        assert {found[name] for name in found if name.startswith(start)} == {share}, start
    assert len(set(found.values())) == LAYERS + 2


def test_biases_and_layer_norms_do_not_decay_in_pytorch_either():
    network = small_network()
    decays = settings_of_parameters(network, OptimizerConfig(), "weight_decay")
    for name, parameter in network.named_parameters():
        assert decays[name] == (0.01 if parameter.ndim > 1 else 0.0), name
