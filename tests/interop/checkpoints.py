"""A tiny checkpoint with random weights, and the Hugging Face folder that it makes."""

import json

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from bertjax.config import Config, ModelConfig
from bertjax.interop.checkpoint import Checkpoint
from bertjax.interop.huggingface_export import write_huggingface
from bertjax.model import bert
from bertjax.text.vocabulary import SPECIAL_TOKENS
from bertjax.text.wordpiece import WordPieceSettings, make_wordpiece

MODEL = ModelConfig(
    num_layers=2,
    hidden_size=12,
    num_heads=3,
    intermediate_size=20,
    vocab_size=50,
    max_length=24,
    labels=("no", "yes"),
)


def make_checkpoint(heads=bert.PRETRAINING_HEADS, history=None, cased=False, **settings):
    """A checkpoint with these heads; `settings` are of the model's config."""
    model = ModelConfig(**vars(MODEL) | settings)
    words = [f"word{number}" for number in range(model.vocab_size - len(SPECIAL_TOKENS))]
    tokenizer = make_wordpiece([*SPECIAL_TOKENS, *words], WordPieceSettings(cased=cased), "here")
    params = jax.device_get(bert.init_params(model, jax.random.key(0), heads))
    return Checkpoint(Config(model), tokenizer, params, 7, "made up", history or {})


def write_folder(folder, heads=bert.PRETRAINING_HEADS, **settings):
    """The checkpoint as a Hugging Face folder."""
    folder.mkdir(exist_ok=True)
    write_huggingface(folder, make_checkpoint(heads, **settings), folder.name)
    return folder


def change_settings(folder, **changes):
    """Changes values of `config.json`; None removes one."""
    file = folder / "config.json"
    settings = json.loads(file.read_text()) | changes
    kept = {name: value for name, value in settings.items() if value is not None}
    file.write_text(json.dumps(kept))


def change_tensors(folder, **changes):
    """Replaces, adds or (None) removes tensors by their name in the file."""
    tensors = load_file(folder / "model.safetensors")
    tensors |= changes
    kept = {name: np.asarray(value) for name, value in tensors.items() if value is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
