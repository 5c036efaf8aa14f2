"""Hugging Face folders opened: `config.json` and safetensors, without PyTorch."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.files import read_json
from bertjax.interop.bert_config import model_config
from bertjax.interop.huggingface_names import (
    ARCHITECTURES,
    DECODER,
    DECODER_BIAS,
    ENCODER,
    MLM_BIAS,
    MLM_HEAD,
    TOKEN_TABLE,
    current_name,
    is_transposed,
    tensor_name,
)
from bertjax.interop.safetensors_files import open_tensors, require_weights
from bertjax.interop.weights import Imported, Tensor, assemble, expected_shapes
from bertjax.model import bert

CONFIG_FILE = "config.json"

# transformers' own defaults, for what a config.json leaves out.
_DEFAULTS = {
    "vocab_size": 30_522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
# What else changes how transformers runs a model: which loss and which probabilities, how much
# dropout before the classifier. An export says it again.
_EXTRAS = ("problem_type", "classifier_dropout")
_CHOICE = "BertForMultipleChoice"  # whose one output compares texts: none of our heads
_BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")


def refuse_unlike(folder: epath.PathLike) -> None:
    """Refuses, by `config.json` and names of files alone, what is no BERT or no safetensors.

    Args:
        folder: may be remote.

    Raises:
        UserError: another architecture, or weights of another format only.
    """
    file = epath.Path(folder) / CONFIG_FILE
    _architecture(read_json(file), str(file))
    require_weights(file.parent)


def open_huggingface(folder: Path) -> Imported:
    """Opens a folder of `BertModel` or of one of its relatives with heads.

    Raises:
        UserError: another architecture, something missing, truncated, damaged, of another shape
            than `config.json` says, or not finite; the one line names it.
    """
    refuse_unlike(folder)
    file = folder / CONFIG_FILE
    settings = read_json(file)
    architecture = _architecture(settings, str(file))
    config = model_config(_DEFAULTS | settings, str(file))
    with open_tensors(folder) as stored:
        _refuse_doubles(stored, str(folder))
        tensors = {current_name(name): tensor for name, tensor in stored.items()}
        for name in _BUFFERS:
            tensors.pop(name, None)
        if not any(name.startswith(ENCODER) for name in tensors):
            some = f"such as {next(iter(stored))!r}" if stored else "of which there are none"
            raise UserError(
                f"{folder}: none of its tensors, {some}, has the name of a BERT's; from a module "
                "around the model (module., model.) save what is in it"
            )
        untied = _merge_decoder(tensors, settings, str(folder))
        if "classifier.weight" in tensors and architecture != _CHOICE:
            outputs, *_ = tensors["classifier.weight"].shape or (0,)
            labels = _labels(settings, outputs, architecture, str(file))
            config = dataclasses.replace(config, labels=labels)
        placed = _place(tensors, config, architecture)
        _refuse_headless(placed, architecture, untied, str(folder))
        notes = _unused(tensors, placed, str(folder))
        if untied:
            notes += ("mlm_head left out, whose decoder is not the token table",)
        params = assemble(config, placed, str(folder), tensor_name)
    extras = {name: settings[name] for name in _EXTRAS if settings.get(name) is not None}
    return Imported(config, params, 0, notes, extras)


def _refuse_doubles(names: Iterable[str], origin: str) -> None:
    """Refuses a weight that is stored under its old and its present name."""
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(current_name(name), name)) != name:
            raise UserError(f"{origin}: {other!r} and {name!r} are one weight; remove one of them")


def _architecture(settings: Mapping[str, Any], origin: str) -> str:
    """The class that `config.json` names; refuses all but BERT, and what changes its arithmetic."""
    names = settings.get("architectures") or ["BertModel"]
    if not isinstance(names, list):
        raise UserError(f"{origin}: architectures must be a list of names; found {names!r}")
    name = str(names[0])
    model_type = settings.get("model_type", "bert" if name.startswith("Bert") else None)
    if model_type != "bert":
        raise UserError(
            f"{origin}: a model of type {model_type} ({name}), not a BERT; "
            "bertjax opens model_type bert"
        )
    unlike = {"position_embedding_type": "absolute", "is_decoder": False}
    for key, usual in unlike.items():
        if settings.get(key, usual) != usual:
            raise UserError(f"{origin}: {key} is {settings[key]!r}; bertjax opens {usual!r} only")
    return name


def _merge_decoder(tensors: dict[str, Tensor], settings: Mapping[str, Any], origin: str) -> bool:
    """Removes the decoder, which is the token table again; refuses one that differs from it.

    Where the settings say that it may, the whole head of such a decoder goes: True.
    """
    tied = settings.get("tie_word_embeddings", True)
    if MLM_BIAS in tensors and not tied and DECODER not in tensors:
        raise UserError(f"{origin}: {DECODER} is missing, and tie_word_embeddings is false")
    both = [tensors[name] for name in (DECODER, TOKEN_TABLE) if name in tensors]
    if not tied and len(both) == 2 and not _equal(*both):
        for name in [name for name in tensors if name.startswith(MLM_HEAD)]:
            del tensors[name]
        return True
    for copy, own in ((DECODER, TOKEN_TABLE), (DECODER_BIAS, MLM_BIAS)):
        if copy not in tensors:
            continue
        found = tensors.pop(copy)
        first = tensors.setdefault(own, found)
        if first is not found and not _equal(first, found):
            raise UserError(
                f"{origin}: {found.name} differs from {first.name}; "
                "bertjax has one array for both, as BERT was published"
            )
    return False


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and np.array_equal(first.read(), second.read())


def _labels(
    settings: Mapping[str, Any], outputs: int, architecture: str, origin: str
) -> tuple[str, ...]:
    """A label for every output of the classifier; refuses those of another classifier."""
    given = settings.get("id2label") or {}
    if not isinstance(given, dict):
        raise UserError(f"{origin}: id2label must name a label by number; found {given!r}")
    numbers = [str(number) for number in range(outputs)]
    count = len(given) or settings.get("num_labels") or outputs
    # A class of somebody's own need not have an output for each label.
    if architecture in ARCHITECTURES and (count != outputs or given.keys() - set(numbers)):
        known = f": {', '.join(list(given)[:5])}" if given else ""
        raise UserError(
            f"{origin}: the classifier has {outputs} outputs, numbered from 0; "
            f"its settings name {count} labels{known}"
        )
    return tuple(str(given.get(number, f"LABEL_{number}")) for number in numbers)


def _place(
    tensors: Mapping[str, Tensor], config: ModelConfig, architecture: str
) -> dict[str, Tensor]:
    """The tensors by their place in our tree; `classifier` means what the class does with it."""
    if architecture == _CHOICE:
        tensors = {name: own for name, own in tensors.items() if not name.startswith("classifier.")}
    tags = architecture == "BertForTokenClassification" or "bert.pooler.dense.weight" not in tensors
    other = "classification_head" if tags else "tagging_head"
    heads = [head for head in bert.HEADS if head != other]
    return {
        place: dataclasses.replace(tensors[name], transposed=is_transposed(place))
        for place in expected_shapes(config, heads)
        if (name := tensor_name(place)) in tensors
    }


def _refuse_headless(
    placed: Mapping[str, Tensor], architecture: str, untied: bool, origin: str
) -> None:
    present = {place.split("/")[0] for place in placed}
    needed = set(ARCHITECTURES.get(architecture, ())) if architecture != "BertModel" else set()
    if present & {"nsp_head", "classification_head"}:
        needed.add("pooler")
    if untied:
        needed.discard("mlm_head")
    if missing := sorted(needed - present):
        raise UserError(f"{origin}: the weights of its {missing[0]} are missing ({architecture})")


def _unused(
    tensors: Mapping[str, Tensor], placed: Mapping[str, Tensor], origin: str
) -> tuple[str, ...]:
    """A note on tensors that belong to no head of ours; within the encoder they are refused."""
    used = {tensor.name for tensor in placed.values()}
    unused = [name for name, tensor in tensors.items() if tensor.name not in used]
    if inner := [name for name in unused if name.startswith(ENCODER)]:
        raise UserError(f"{origin}: holds {inner[0]}, which no BERT of {CONFIG_FILE}'s sizes has")
    more = f" and {len(unused) - 3} others" if len(unused) > 3 else ""
    return (f"not used: {', '.join(unused[:3])}{more}",) if unused else ()
