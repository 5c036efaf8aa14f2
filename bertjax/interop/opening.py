"""Opening a checkpoint of any format, which is told by its files."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from etils import epath

from bertjax.config import Config, DataConfig, ModelConfig, from_json
from bertjax.errors import UserError
from bertjax.interop.bert_config import read_settings
from bertjax.interop.huggingface import CONFIG_FILE, open_huggingface
from bertjax.interop.sentence_transformers import read_embedding_settings
from bertjax.interop.weights import Imported
from bertjax.model.layers import vocab_rows
from bertjax.tasks.embedding import MEAN, EmbeddingSettings
from bertjax.text.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_PADDED = 128  # a vocabulary rounded up to a multiple of at most this has fewer rows of padding


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint of any format holds.

    Attributes:
        experiment: what it was trained with; of somebody else's, the model alone is theirs.
        tokenizer: its vocabulary is the model's.
        params: nested dict of float32 arrays; heads that it lacks are absent.
        step: how many training steps the weights have seen; 0 where it is not said.
        source: what it is, in words.
        embedding: how it embeds a sentence, where it says so.
    """

    experiment: Config
    tokenizer: "Tokenizer"
    params: dict[str, Any]
    step: int
    source: str
    embedding: EmbeddingSettings = MEAN


def open_checkpoint(path: epath.PathLike) -> Checkpoint:
    """Opens a run or one of its steps, or a Hugging Face folder.

    Raises:
        UserError: nothing there, no checkpoint, one of another architecture, or one that is
            incomplete or damaged.
    """
    folder = epath.Path(path)
    if not folder.exists():
        raise UserError(f"no checkpoint at {path}: no such folder")
    run = _run_of(folder)
    settings = run / CONFIG_FILE
    if not settings.exists():
        raise UserError(
            f"{path} is not a checkpoint: expected a run, or a Hugging Face folder with "
            "config.json and model.safetensors"
        )
    if "format_version" in read_settings(settings):
        return _open_run(run, folder)
    with _local(folder) as local:
        tokenizer = load_tokenizer(local)
        embedding = read_embedding_settings(local)
        found = _from_elsewhere(open_huggingface(local), tokenizer, "Hugging Face", str(path))
        return dataclasses.replace(found, embedding=embedding)


def _run_of(folder: epath.Path) -> epath.Path:
    """The run that a CHECKPOINT names: the folder itself, or two above a step's folder."""
    if folder.name == "checkpoints":
        return folder.parent
    if folder.name.isdecimal() and folder.parent.name == "checkpoints":
        return folder.parent.parent
    return folder


def _open_run(run: epath.Path, folder: epath.Path) -> Checkpoint:
    from bertjax.train.checkpoint import load_params

    file = run / CONFIG_FILE
    experiment = from_json(file.read_bytes(), str(file))
    if not (run / "tokenizer").exists():
        raise UserError(f"{run} is not a complete run: its tokenizer folder is missing")
    with _local(run / "tokenizer") as local:
        tokenizer = load_tokenizer(local)
    params, step = load_params(folder)
    source = _describe(f"bertjax run, step {step}", experiment.model, params)
    return Checkpoint(experiment, tokenizer, params, step, source)


def _from_elsewhere(
    imported: Imported, tokenizer: "Tokenizer", format_name: str, origin: str
) -> Checkpoint:
    model, params, dropped = _without_padding(imported, tokenizer, origin)
    notes = (*imported.notes, *([f"{dropped} rows of padding dropped"] if dropped else []))
    pairs = "nsp" if "nsp_head" in params and model.num_segments > 1 else "none"
    data = DataConfig(length=min(DataConfig.length, model.max_length), pairs=pairs)
    source = "; ".join((_describe(format_name, model, params), *notes))
    params = jax.device_put(params, jax.local_devices()[0])
    return Checkpoint(Config(model, data), tokenizer, params, imported.step, source)


def _without_padding(
    imported: Imported, tokenizer: "Tokenizer", origin: str
) -> tuple[ModelConfig, dict[str, Any], int]:
    """The model with exactly the tokenizer's vocabulary, and how many rows that took away.

    Some vocabularies are rounded up to a multiple of 8 or more in the weights; those rows stand for
    no piece. Any other difference is refused.
    """
    rows, pieces = imported.config.vocab_size or 0, tokenizer.vocab_size
    if rows == pieces:
        return imported.config, imported.params, 0
    if not (rows % 8 == 0 and 0 < rows - pieces < _PADDED):
        raise UserError(
            f"{origin}: its tokenizer has {pieces} pieces, its weights are for {rows}: "
            "the tokenizer belongs to another model"
        )
    config = dataclasses.replace(imported.config, vocab_size=pieces)
    params, kept = dict(imported.params), vocab_rows(config)

    def cut(array: np.ndarray) -> np.ndarray:
        array = array[:kept].copy()
        array[pieces:] = 0
        return array

    params["embeddings"] = params["embeddings"] | {"token": cut(params["embeddings"]["token"])}
    if "mlm_head" in params:
        params["mlm_head"] = params["mlm_head"] | {"bias": cut(params["mlm_head"]["bias"])}
    return config, params, rows - pieces


def _describe(what: str, config: ModelConfig, params: Mapping[str, Any]) -> str:
    heads = ", ".join(name for name in params if name not in ("embeddings", "layers")) or "no heads"
    return f"{what}: {config.num_layers} layers of {config.hidden_size}, {heads}"


@contextlib.contextmanager
def _local(folder: epath.Path) -> Iterator[Path]:
    """The folder, or where it is remote a local copy of its files: libraries open local ones."""
    if "://" not in str(folder):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as copy:
        for file in (*folder.iterdir(), *folder.glob("*/config.json")):
            if not file.is_dir():
                target = Path(copy, *file.parts[len(folder.parts) :])
                target.parent.mkdir(exist_ok=True)
                file.copy(target)
        yield Path(copy)
