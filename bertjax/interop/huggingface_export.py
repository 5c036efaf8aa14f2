"""Hugging Face folders written: what `transformers.AutoModel...from_pretrained` takes as it is."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bertjax.config import ModelConfig
from bertjax.interop.bert_config import settings_of
from bertjax.interop.checkpoint import EXTRAS, Checkpoint
from bertjax.interop.huggingface_names import (
    ARCHITECTURES,
    ENCODER,
    is_transposed,
    tensor_name,
)
from bertjax.interop.huggingface_tokenizer import save_tokenizer
from bertjax.interop.model_card import model_card
from bertjax.interop.safetensors_files import FILE
from bertjax.interop.sentence_transformers_export import embedding_files
from bertjax.interop.weights import BY_VOCABULARY
from bertjax.task_settings import Regression
from bertjax.tasks.embedding import MEAN
from bertjax.train.digest import named_leaves

_log = logging.getLogger(__name__)


def architecture_for(params: Mapping[str, Any]) -> str:
    """The class of transformers whose heads the weights have; those of a task come first."""
    complete = (name for name, heads in ARCHITECTURES.items() if params.keys() >= set(heads))
    return next(complete, "BertModel")


def write_huggingface(folder: Path, checkpoint: Checkpoint, name: str) -> None:
    """Writes weights, settings, tokenizer and model card into a local folder that is there.

    A checkpoint that embeds otherwise than by the mean becomes a folder of sentence-transformers.
    A head for which transformers has no class beside the others is logged and left out.

    Args:
        folder: the new one's place for now.
        checkpoint: what is to be written.
        name: what the folder will be called.
    """
    config, tokenizer = checkpoint.config, checkpoint.tokenizer
    architecture = architecture_for(checkpoint.params)
    settings = _settings(config, architecture) | {"pad_token_id": tokenizer.pad_id}
    settings |= checkpoint.history.get(EXTRAS, {})
    if isinstance(checkpoint.experiment.task, Regression):  # otherwise a pipeline takes its sigmoid
        settings["problem_type"] = "regression"
    files = {"config.json": settings}
    if checkpoint.embedding.refused:
        _log.warning("how it embeds is left out: %s", checkpoint.embedding.refused)
    elif checkpoint.embedding != MEAN:
        files |= embedding_files(checkpoint.embedding, config)
    for place, values in files.items():
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    tensors = _tensors(config, checkpoint.params, architecture)
    save_file(tensors, folder / FILE, metadata={"format": "pt"})
    (folder / FILE).chmod((folder / "config.json").stat().st_mode)  # save_file: the owner's alone
    save_tokenizer(tokenizer, folder, config.max_length, config.num_segments)
    card = model_card(checkpoint, name, architecture)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _settings(config: ModelConfig, architecture: str) -> dict[str, Any]:
    settings = {
        "architectures": [architecture],
        "model_type": "bert",
        **settings_of(config),
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    if config.labels and {"classification_head", "tagging_head"} & set(ARCHITECTURES[architecture]):
        settings["id2label"] = {str(number): label for number, label in enumerate(config.labels)}
        settings["label2id"] = {label: number for number, label in enumerate(config.labels)}
    return settings


def _tensors(
    config: ModelConfig, params: Mapping[str, Any], architecture: str
) -> dict[str, np.ndarray]:
    """The arrays by the names that the class stores them under."""
    # A pooler beside a class that has none does no harm there: AutoModel and bertjax use it.
    kept = {"embeddings", "layers", "pooler", *ARCHITECTURES[architecture]}
    if surplus := [name for name in params if name not in kept]:
        _log.warning("left out: %s, for which %s has no place", ", ".join(surplus), architecture)
    parts = {name: part for name, part in params.items() if name in kept}
    tensors = {}
    for place, leaf in named_leaves(parts).items():
        array = np.asarray(leaf, np.float32)
        if place in BY_VOCABULARY:
            array = array[: config.vocab_size]
        array = np.ascontiguousarray(array.T if is_transposed(place) else array)
        name = tensor_name(place)
        tensors[name.removeprefix(ENCODER) if architecture == "BertModel" else name] = array
    return tensors
