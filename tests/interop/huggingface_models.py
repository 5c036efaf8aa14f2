"""Small random BERTs of transformers, saved in every way that such folders are found in."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

SIZES = {
    "vocab_size": 211,
    "hidden_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 52,
    "max_position_embeddings": 24,
}
WEIGHTS = "model.safetensors"


def as_saved(folder):
    """The folder as transformers leaves it."""


def with_dtype(dtype):
    """Weights rounded to half as many bits."""

    def rewrite(folder):
        rewrite_tensors(folder, lambda name, tensor: {name: tensor.to(dtype)})

    return rewrite


def with_old_names(folder):
    """Layer norms' gamma and beta, and the buffer of positions, as transformers stored them."""

    def rename(name, tensor):
        if "LayerNorm" in name:
            name = name.replace("weight", "gamma").replace("bias", "beta")
        return {name: tensor}

    rewrite_tensors(folder, rename)
    tensors = load_file(folder / WEIGHTS)
    tensors["bert.embeddings.position_ids"] = torch.arange(24)[None]
    save_file(tensors, folder / WEIGHTS)


def with_prefix(folder):
    """BertModel's tensors as a class with heads would store them."""
    rewrite_tensors(folder, lambda name, tensor: {f"bert.{name}": tensor})


def without_prefix(folder):
    rewrite_tensors(folder, lambda name, tensor: {name.removeprefix("bert."): tensor})


def with_decoder(folder):
    """The tied decoder stored a second time."""

    def double(name, tensor):
        copies = {
            "bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight",
            "cls.predictions.bias": "cls.predictions.decoder.bias",
        }
        return {name: tensor} | ({copies[name]: tensor.clone()} if name in copies else {})

    rewrite_tensors(folder, double)


def in_shards(folder):
    """Several files and their index, no single file."""
    model = transformers.AutoModelForPreTraining.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert not (folder / WEIGHTS).exists()


def without_architecture(folder):
    """A config.json from before transformers wrote its class and type into it."""
    settings = json.loads((folder / "config.json").read_text())
    del settings["architectures"], settings["model_type"]
    (folder / "config.json").write_text(json.dumps(settings))


def rewrite_tensors(folder, change):
    """Replaces every tensor by those that `change(name, tensor)` gives."""
    changed = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        changed |= change(name, tensor)
    save_file(changed, folder / WEIGHTS, metadata={"format": "pt"})


@dataclasses.dataclass(frozen=True)
class Case:
    """A class of transformers, its settings, and what is done to the saved folder."""

    architecture: str
    settings: dict = dataclasses.field(default_factory=dict)
    rewrite: Callable[[Path], None] = as_saved
    options: dict = dataclasses.field(default_factory=dict)


CASES = {
    "pretraining": Case("BertForPreTraining"),
    "pretraining, whole vocabulary": Case("BertForPreTraining", {"vocab_size": 256}),
    "pretraining, bfloat16": Case("BertForPreTraining", {}, with_dtype(torch.bfloat16)),
    "pretraining, old names": Case("BertForPreTraining", {}, with_old_names),
    "pretraining, decoder stored": Case("BertForPreTraining", {"vocab_size": 130}, with_decoder),
    "pretraining, shards": Case("BertForPreTraining", {"hidden_act": "relu"}, in_shards),
    "masked words, gelu_new": Case(
        "BertForMaskedLM", {"hidden_act": "gelu_new", "type_vocab_size": 1}
    ),
    "masked words, no prefix": Case("BertForMaskedLM", {"num_hidden_layers": 1}, without_prefix),
    "next sentence, relu": Case(
        "BertForNextSentencePrediction", {"hidden_act": "relu", "type_vocab_size": 3}
    ),
    "classification, silu": Case(
        "BertForSequenceClassification",
        {"hidden_act": "silu", "id2label": {0: "bad", 1: "fair", 2: "good"}},
    ),
    "regression, float16": Case(
        "BertForSequenceClassification", {"num_labels": 1}, with_dtype(torch.float16)
    ),
    "tagging, large epsilon": Case(
        "BertForTokenClassification", {"num_labels": 5, "layer_norm_eps": 1e-3}
    ),
    "spans, odd sizes": Case(
        "BertForQuestionAnswering",
        {"hidden_size": 35, "num_attention_heads": 7, "intermediate_size": 17},
    ),
    "encoder": Case("BertModel", {"num_attention_heads": 1}),
    "encoder, prefix": Case("BertModel", {"vocab_size": 33}, with_prefix),
    "encoder, no pooler": Case("BertModel", {}, options={"add_pooling_layer": False}),
    "encoder, no architecture": Case("BertModel", {"hidden_act": "swish"}, without_architecture),
}


def make_model(case: Case):
    """The model in float32, its weights far from their initial values."""
    config = transformers.BertConfig(**SIZES | case.settings, attn_implementation="eager")
    model = getattr(transformers, case.architecture)(config, **case.options).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator)
    return model


def save_model(model, case: Case, folder: Path):
    """Writes the folder; rounds the model's own weights as its file rounds them."""
    model.save_pretrained(folder)
    write_vocabulary(folder, model.config.vocab_size)
    case.rewrite(folder)
    if model.dtype != (stored := stored_dtype(folder)):
        model.to(stored).float()


def stored_dtype(folder: Path):
    file = min(folder.glob("*.safetensors"))
    return next(tensor.dtype for tensor in load_file(file).values() if tensor.is_floating_point())


def write_vocabulary(folder: Path, size: int):
    """A `vocab.txt` of this many pieces."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"word{number}" for number in range(size - len(special))]
    (folder / "vocab.txt").write_text("\n".join([*special, *words]) + "\n")


def run_model(model, batch):
    """All that the model tells of the batch, by the names of `bertjax.api.Output`."""
    inputs = {name: torch.from_numpy(array).long() for name, array in batch.items()}
    with torch.no_grad():
        found = model(
            input_ids=inputs["token_ids"],
            token_type_ids=inputs["segment_ids"],
            attention_mask=inputs["attention_mask"],
            output_hidden_states=True,
        )
    names = {
        "BertForPreTraining": {
            "mlm_logits": "prediction_logits",
            "nsp_logits": "seq_relationship_logits",
        },
        "BertForMaskedLM": {"mlm_logits": "logits"},
        "BertForNextSentencePrediction": {"nsp_logits": "logits"},
        "BertForSequenceClassification": {"classification_logits": "logits"},
        "BertForTokenClassification": {"tagging_logits": "logits"},
        "BertForQuestionAnswering": {},
        "BertModel": {"pooled": "pooler_output"},
    }[type(model).__name__]
    outputs = {ours: found[theirs].numpy() for ours, theirs in names.items() if theirs in found}
    if "start_logits" in found:
        spans = torch.stack([found.start_logits, found.end_logits], dim=-1)
        outputs["span_logits"] = spans.numpy()
    if (pooler := getattr(getattr(model, "bert", None), "pooler", None)) is not None:
        with torch.no_grad():
            outputs["pooled"] = pooler(found.hidden_states[-1]).numpy()
    return [state.numpy() for state in found.hidden_states], outputs
