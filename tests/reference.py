"""The independent reference: Hugging Face's BERT in PyTorch with our weights in it."""

from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForPreTraining

from bertjax.config import ModelConfig

# Ours -> Hugging Face's, the number of a layer written as {}.
_EMBEDDINGS = {
    "token": "bert.embeddings.word_embeddings.weight",
    "position": "bert.embeddings.position_embeddings.weight",
    "segment": "bert.embeddings.token_type_embeddings.weight",
    "norm": "bert.embeddings.LayerNorm",
}
_LAYER = {
    "attention/query": "bert.encoder.layer.{}.attention.self.query",
    "attention/key": "bert.encoder.layer.{}.attention.self.key",
    "attention/value": "bert.encoder.layer.{}.attention.self.value",
    "attention/output": "bert.encoder.layer.{}.attention.output.dense",
    "attention_norm": "bert.encoder.layer.{}.attention.output.LayerNorm",
    "intermediate": "bert.encoder.layer.{}.intermediate.dense",
    "output": "bert.encoder.layer.{}.output.dense",
    "output_norm": "bert.encoder.layer.{}.output.LayerNorm",
}
_HEADS = {
    "mlm_head/transform": "cls.predictions.transform.dense",
    "mlm_head/norm": "cls.predictions.transform.LayerNorm",
    "mlm_head/bias": "cls.predictions.bias",
    "pooler/dense": "bert.pooler.dense",
    "nsp_head/dense": "cls.seq_relationship",
}


def reference_model(
    config: ModelConfig, params: Any, dropout: float = 0.0, attention: str = "eager"
) -> BertForPreTraining:
    """`BertForPreTraining` in float32 with these weights (the vocabulary's added rows dropped)."""
    model = BertForPreTraining(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_length,
            type_vocab_size=config.num_segments,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            attn_implementation=attention,
        )
    )
    with torch.no_grad():
        for path, name, transposed in parameter_names(config):
            value = np.asarray(leaf(params, path))
            target = model.get_parameter(name)
            value = value.T if transposed else value[: len(target)]
            target.copy_(torch.from_numpy(value.copy()))
    return model.train(dropout > 0)


def reference_gradients(config: ModelConfig, model: BertForPreTraining) -> dict[str, np.ndarray]:
    """The gradients that `backward` left, by our path and in our layout."""
    found = {}
    for path, name, transposed in parameter_names(config):
        gradient = model.get_parameter(name).grad
        assert gradient is not None, name
        found[path] = gradient.numpy().T if transposed else gradient.numpy()
    return found


def parameter_names(config: ModelConfig) -> list[tuple[str, str, bool]]:
    """(our path, Hugging Face's name, whether transposed) of every parameter."""
    modules = {f"embeddings/{ours}": theirs for ours, theirs in _EMBEDDINGS.items()} | _HEADS
    for number in range(config.num_layers):
        modules |= {f"layers/{number}/{ours}": name.format(number) for ours, name in _LAYER.items()}
    names = []
    for ours, theirs in modules.items():
        if theirs.endswith(("weight", "bias")):
            names.append((ours, theirs, False))
            continue
        names.append((f"{ours}/bias", f"{theirs}.bias", False))
        if ours.endswith("norm"):
            names.append((f"{ours}/scale", f"{theirs}.weight", False))
        else:
            names.append((f"{ours}/kernel", f"{theirs}.weight", True))
    return names


def leaf(tree: Any, path: str) -> Any:
    """The array at a path such as "pooler/dense/kernel"."""
    for name in path.split("/"):
        tree = tree[name]
    return tree
