"""Opening a checkpoint of any format, which is told by its files."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from etils import epath

from bertjax.config import (
    Config,
    DataConfig,
    ModelConfig,
    QuestionAnswering,
    from_json,
)
from bertjax.errors import UserError
from bertjax.files import SEEDS_FOLDER, located, read_json
from bertjax.interop.checkpoint import EXTRAS, Checkpoint
from bertjax.interop.google import CONFIG_FILE as GOOGLE_CONFIG_FILE
from bertjax.interop.google import find_prefix, open_google
from bertjax.interop.huggingface import CONFIG_FILE, open_huggingface, refuse_unlike
from bertjax.interop.native_export import EMBEDDING_FILE
from bertjax.interop.safetensors_files import WEIGHT_FILES
from bertjax.interop.sentence_transformers import (
    read_embedding_settings,
    transformer_folder,
)
from bertjax.interop.weights import BY_VOCABULARY, Imported, expected_shapes
from bertjax.model.bert import HEADS
from bertjax.model.layers import vocab_rows
from bertjax.tasks.embedding import MEAN, EmbeddingSettings
from bertjax.text.tokenizer import load_tokenizer
from bertjax.typed_values import build

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer
    from bertjax.train.record import Record

_SUFFIXES = (".json", ".txt", ".safetensors", ".model", ".spiece")  # of all that is read


def open_checkpoint(path: epath.PathLike) -> Checkpoint:
    """Opens a run or one of its steps, a Hugging Face folder, or a Google folder or prefix.

    Raises:
        UserError: nothing there, no checkpoint, one of another architecture, or one that is
            incomplete or damaged.
    """
    folder = located(path, "checkpoint")
    run = _run_of(folder)
    if (run / CONFIG_FILE).exists() and "format_version" in read_json(run / CONFIG_FILE):
        return _open_run(run, folder)
    if _is_google(folder):
        opened = open_google(folder)
        with _local(find_prefix(folder).parent) as local:
            tokenizer = load_tokenizer(local)
        return _from_elsewhere(opened, tokenizer, "Google", str(path))
    if not folder.exists():
        raise UserError(f"no checkpoint at {path}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{path} is a file: give the folder that it is in")
    inner = transformer_folder(folder)
    if not (inner / CONFIG_FILE).exists():
        if (folder / SEEDS_FOLDER).is_dir():
            raise UserError(
                f"{path} holds runs of single seeds: give one of {folder / SEEDS_FOLDER}, or let "
                "the command that began it end, which makes it the best of several"
            )
        raise UserError(
            f"{path} is not a checkpoint: expected a run of bertjax, a Hugging Face folder "
            "(config.json, model.safetensors) or a Google folder (bert_config.json, *.ckpt.index)"
        )
    refuse_unlike(inner)  # before its tokenizer, which may be another architecture's, is read
    with _local(folder) as local:
        embedding, inner = read_embedding_settings(local), transformer_folder(epath.Path(local))
        opened, tokenizer = open_huggingface(Path(inner)), load_tokenizer(Path(inner))
        found = _from_elsewhere(opened, tokenizer, "Hugging Face", str(path))
        return dataclasses.replace(found, embedding=embedding)


def _is_google(folder: epath.Path) -> bool:
    """Whether it is a prefix, or a folder with TensorFlow's files and not Hugging Face's."""
    if not folder.is_dir():
        return epath.Path(f"{folder}.index").exists()
    if any((folder / name).exists() for name in WEIGHT_FILES):
        return False
    settings = (folder / GOOGLE_CONFIG_FILE).exists() and not (folder / CONFIG_FILE).exists()
    return settings or any(folder.glob("*.index"))


def _run_of(folder: epath.Path) -> epath.Path:
    """The run that a CHECKPOINT names: the folder itself, or two above a step's folder."""
    if (folder / CONFIG_FILE).exists():  # whatever it is called
        return folder
    if folder.name == "checkpoints":
        return folder.parent
    if folder.name.isdecimal() and folder.parent.name == "checkpoints":
        return folder.parent.parent
    return folder


def _open_run(run: epath.Path, folder: epath.Path) -> Checkpoint:
    from bertjax.train.checkpoint import load_params
    from bertjax.train.record import read_record

    file = run / CONFIG_FILE
    experiment = from_json(file.read_bytes(), str(file))
    # In this machine's way, whatever trained it.
    model = dataclasses.replace(experiment.model, attention="auto", epilogues="auto")
    experiment = dataclasses.replace(experiment, model=model)
    if not (run / "tokenizer").exists():
        raise UserError(f"{run} is not a complete run: its tokenizer folder is missing")
    with _local(run / "tokenizer") as local:
        tokenizer = load_tokenizer(local)
    if tokenizer.vocab_size != experiment.model.vocab_size:
        raise UserError(
            f"{run}: its tokenizer has {tokenizer.vocab_size} pieces, its {CONFIG_FILE} says "
            f"model.vocab_size={experiment.model.vocab_size}: one belongs to another run"
        )
    params, step = load_params(folder, best=experiment.task is not None)
    place = run / "checkpoints" / str(step)
    record = read_record(place)
    _refuse_other_sizes(place, experiment.model, record)
    source = _describe(f"bertjax, step {step}", experiment.model, params)
    if experiment.task is not None:
        _tell_if_unfinished(run, experiment)
    embedding = _embedding_of(run / EMBEDDING_FILE)
    return Checkpoint(experiment, tokenizer, params, step, source, record.metadata, embedding)


def _tell_if_unfinished(run: epath.Path, experiment: Config) -> None:
    """Tells of a fine-tuning that has steps before it; a run of the weights alone has none."""
    from bertjax.train.metrics import METRICS_FILE
    from bertjax.train.record import list_steps
    from bertjax.train.run import tell
    from bertjax.train.run_folder import SUMMARY_FILE

    summary = run / SUMMARY_FILE
    ended = read_json(summary).get("steps", 0) if summary.exists() else 0
    newest = max(list_steps(run / "checkpoints"))
    if newest <= ended or not (run / METRICS_FILE).exists():
        return
    task = experiment.task
    threshold = (
        "; its threshold for no answer is found at the end"
        if isinstance(task, QuestionAnswering) and task.unanswerable
        else ""
    )
    tell(f"{run}: unfinished, step {newest} of {experiment.train.steps}{threshold}")


def _refuse_other_sizes(folder: epath.Path, model: ModelConfig, record: "Record") -> None:
    """Refuses a step's weights that are not those of the run's config."""
    from bertjax.train.record import check_shapes

    saved = {name: array for name, array in record.arrays.items() if name.startswith("params/")}
    parts = {name.split("/")[1] for name in saved}
    wanted = expected_shapes(model, [head for head in HEADS if head in parts])
    for name in wanted.keys() & BY_VOCABULARY:
        wanted[name] = (vocab_rows(model), *wanted[name][1:])
    abstract = {f"params/{name}": jax.ShapeDtypeStruct(wanted[name], "float32") for name in wanted}
    check_shapes(folder, saved, abstract)


def _embedding_of(file: epath.Path) -> EmbeddingSettings:
    return build(EmbeddingSettings, read_json(file), str(file)) if file.exists() else MEAN


def _from_elsewhere(
    imported: Imported, tokenizer: "Tokenizer", format_name: str, origin: str
) -> Checkpoint:
    model, params, dropped = _without_padding(imported, tokenizer, origin)
    notes = (*imported.notes, *([f"{dropped} rows without a piece dropped"] if dropped else []))
    pairs = "nsp" if "nsp_head" in params and model.num_segments > 1 else "none"
    data = DataConfig(length=min(DataConfig.length, model.max_length), pairs=pairs)
    experiment = Config(model, data)
    source = "; ".join((_describe(format_name, model, params), *notes))
    params, step = jax.device_put(params, jax.local_devices()[0]), imported.step
    history = {"origin": source} | ({EXTRAS: imported.extras} if imported.extras else {})
    return Checkpoint(experiment, tokenizer, params, step, source, history)


def _without_padding(
    imported: Imported, tokenizer: "Tokenizer", origin: str
) -> tuple[ModelConfig, dict[str, Any], int]:
    """The model with exactly the tokenizer's vocabulary, and how many rows that took away.

    Rows behind the last piece stand for none: vocabularies are rounded up, and some models (e5's
    multilingual ones, dbmdz's Italian ones) have more besides. Fewer rows than pieces are refused,
    and twice as many, which are of another vocabulary.
    """
    rows, pieces = imported.config.vocab_size or 0, tokenizer.vocab_size
    if rows == pieces:
        return imported.config, imported.params, 0
    if rows < pieces or rows > 2 * pieces:
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
    heads = ", ".join(name for name in HEADS if name in params) or "no heads"
    return f"{what}: {config.num_layers} layers of {config.hidden_size}, {heads}"


@contextlib.contextmanager
def _local(folder: epath.Path) -> Iterator[Path]:
    """The folder, or a local copy of a remote one's files: libraries open local ones."""
    if "://" not in str(folder):
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as copy:
        for file in (*folder.iterdir(), *folder.glob("*/*.*")):
            if file.suffix in _SUFFIXES:
                target = Path(copy, *file.parts[len(folder.parts) :])
                target.parent.mkdir(exist_ok=True)
                file.copy(target)
        yield Path(copy)
