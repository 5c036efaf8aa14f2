"""Hugging Face's BERT with the head of a task in PyTorch, our weights in it."""

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from tests.reference import leaf, parameter_names

_MODELS = {  # and the name of the head in it
    "classification_head": (BertForSequenceClassification, "classifier"),
    "tagging_head": (BertForTokenClassification, "classifier"),
    "span_head": (BertForQuestionAnswering, "qa_outputs"),
}


def labelled_reference(config, params, outputs):
    """The model of the head among the params, in float32, without dropout."""
    model_class, _ = _MODELS[_head(params)]
    model = model_class(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            intermediate_size=config.intermediate_size,
            max_position_embeddings=config.max_length,
            num_labels=outputs,
            attn_implementation="eager",
        )
    ).eval()
    with torch.no_grad():
        for path, name, transposed in _names(config, params):
            value = np.asarray(leaf(params, path))
            target = model.get_parameter(name)
            target.copy_(torch.from_numpy((value.T if transposed else value[: len(target)]).copy()))
    return model


def run_reference(model, examples, targets):
    """The model's output for each example in a row of its own, loss included."""
    length = max(len(example.token_ids) for example in examples)
    rows = {name: np.zeros((len(examples), length), np.int64) for name in ("ids", "types", "mask")}
    for row, example in enumerate(examples):
        tokens = len(example.token_ids)
        rows["ids"][row, :tokens] = example.token_ids
        rows["types"][row, :tokens] = example.segment_ids
        rows["mask"][row, :tokens] = 1
    tensors = {name: torch.from_numpy(row) for name, row in rows.items()}
    return model(
        input_ids=tensors["ids"],
        token_type_ids=tensors["types"],
        attention_mask=tensors["mask"],
        labels=torch.as_tensor(targets),
    )


def assert_same_gradients(config, model, gradients):
    """The gradients that `backward` left in the model are ours, of every weight."""
    for path, name, transposed in _names(config, gradients):
        theirs = model.get_parameter(name).grad.numpy()
        theirs = theirs.T if transposed else theirs
        ours = np.asarray(leaf(gradients, path))[: len(theirs)]
        np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=path)


def _names(config, params):
    """(our path, Hugging Face's name, whether transposed) of every one of the params."""
    names = [each for each in parameter_names(config) if each[0].split("/")[0] in params]
    head = _head(params)
    _, theirs = _MODELS[head]
    return [
        *names,
        (f"{head}/dense/kernel", f"{theirs}.weight", True),
        (f"{head}/dense/bias", f"{theirs}.bias", False),
    ]


def _head(params):
    (head,) = _MODELS.keys() & params.keys()
    return head
