"""How a sentence-transformers folder turns the encoder's output into sentence embeddings.

`modules.json` lists the encoder and what follows it, each with a folder of its own. What happens
to the text stands in `sentence_bert_config.json` and `config_sentence_transformers.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from etils import epath

from bertjax.errors import UserError
from bertjax.files import read_json
from bertjax.json_text import parse_json
from bertjax.tasks.embedding import MEAN, EmbeddingSettings, Pooling

_MODULES_FILE = "modules.json"
_PROMPTS_FILE = "config_sentence_transformers.json"
_MODULES = ("Transformer", "Pooling", "Normalize")
_SWITCHES = {  # before version 6 every pooling had a switch of its own
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}


def read_embedding_settings(folder: Path) -> EmbeddingSettings:
    """The settings of a folder; the defaults for one that is not of sentence-transformers.

    With a step that bertjax does not have, such as a dense layer after the pooling, they are
    `refused`: the encoder is as good as any other.

    Raises:
        UserError: a file that cannot be read.
    """
    if not (folder / _MODULES_FILE).exists():
        return MEAN
    modules = _read_modules(folder / _MODULES_FILE)
    refused = []
    if tuple(modules) not in (_MODULES[:2], _MODULES):
        refused.append(
            f"{_MODULES_FILE}: embeds by {', '.join(modules)}; "
            "bertjax by Transformer, Pooling and, after these, Normalize"
        )
    file = folder / modules.get("Pooling", "") / "config.json"
    values = read_json(file) if "Pooling" in modules else {}
    pooling, unknown = _pooling(values)
    if unknown:
        refused.append(f"{file.relative_to(folder)}: {unknown}")
    transformer = folder / modules["Transformer"]
    text = _optional(transformer / "sentence_bert_config.json")
    prompts = _optional(folder / _PROMPTS_FILE)
    prompt = _prompt(prompts, f"{folder / _PROMPTS_FILE}")
    if prompt and values.get("include_prompt") is False:
        refused.append("pools without the prompt; bertjax pools over all positions")
    return EmbeddingSettings(
        pooling=pooling,
        normalize="Normalize" in modules,
        max_length=_max_length(transformer, text),
        prompt=prompt,
        lower_case=text.get("do_lower_case") is True,
        refused="; ".join(refused),
    )


def transformer_folder(folder: epath.Path) -> epath.Path:
    """The folder that `modules.json` has the BERT in; without that file the folder itself.

    Raises:
        UserError: see `read_embedding_settings`.
    """
    file = folder / _MODULES_FILE
    return folder / _read_modules(file)["Transformer"] if file.exists() else folder


def _read_modules(file: epath.Path | Path) -> dict[str, str]:
    """The folder of each module by the name of its class; a Transformer is among them."""
    try:
        listed = parse_json(file.read_bytes())
        folders = {str(module["type"]).rpartition(".")[2]: module["path"] for module in listed}
        if not all(isinstance(path, str) for path in folders.values()):
            raise TypeError("a path is no text")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{file}: not a list of sentence-transformers modules") from error
    if "Transformer" not in folders:
        raise UserError(f"{file}: embeds by {', '.join(folders) or 'nothing'}, without an encoder")
    return folders


def _prompt(values: Mapping[str, Any], origin: str) -> str:
    """What is put in front of every sentence: the prompt that is named the default one."""
    prompts, name = values.get("prompts") or {}, values.get("default_prompt_name")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise UserError(f"{origin}: prompts has no text for default_prompt_name {name!r}")
    return prompt


def _optional(file: Path) -> dict[str, Any]:
    return read_json(file) if file.exists() else {}


def _pooling(values: Mapping[str, Any]) -> tuple[Pooling, str]:
    """The pooling that is chosen; the mean, as in sentence-transformers, where none is.

    And a line on one that bertjax does not have, in whose place the mean stands.
    """
    chosen = values.get("pooling_mode")
    if chosen is None:
        switched = [key for key in values if key.startswith("pooling_mode_") and values[key]]
        chosen = [_SWITCHES.get(key, key) for key in switched]
    names = [str(name) for name in (chosen if isinstance(chosen, list) else [chosen])] or ["mean"]
    if len(names) > 1 or names[0] not in get_args(Pooling):
        known = ", ".join(get_args(Pooling))
        return "mean", f"pools by {' and '.join(names)}; bertjax by one of {known}"
    return cast(Pooling, names[0]), ""


def _max_length(transformer: Path, text: Mapping[str, Any]) -> int | None:
    """Tokens of a sentence; where the encoder's settings do not say, the tokenizer's do."""
    value = text.get("max_seq_length")
    if value is None:
        value = _optional(transformer / "tokenizer_config.json").get("model_max_length")
    return int(value) if isinstance(value, int | float) and 2 < value < 1e6 else None
