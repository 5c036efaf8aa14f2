"""What sentence-transformers needs beside an encoder to embed sentences as bertjax does."""

from typing import Any

from bertjax.config import ModelConfig
from bertjax.tasks.embedding import EmbeddingSettings, longest

_PACKAGE = "sentence_transformers.models"  # every version of the library knows its classes by it
_PROMPT = "sentence"


def embedding_files(settings: EmbeddingSettings, config: ModelConfig) -> dict[str, Any]:
    """The JSON values of each file, by its place in the folder.

    The pooling has its name and the switch that versions before 6 read.

    Args:
        settings: how the checkpoint embeds.
        config: the encoder's sizes.
    """
    places = {"Transformer": "", "Pooling": "1_Pooling"}
    if settings.normalize:
        places["Normalize"] = "2_Normalize"
    modules = [
        {"idx": number, "name": str(number), "path": place, "type": f"{_PACKAGE}.{name}"}
        for number, (name, place) in enumerate(places.items())
    ]
    pooling = {
        "word_embedding_dimension": config.hidden_size,
        "pooling_mode_cls_token": settings.pooling == "cls",
        "pooling_mode_mean_tokens": settings.pooling == "mean",
        "pooling_mode_max_tokens": settings.pooling == "max",
        "include_prompt": True,
    }
    text = {"max_seq_length": longest(config, settings), "do_lower_case": settings.lower_case}
    files = {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": text,
    }
    if settings.prompt:
        prompts = {"prompts": {_PROMPT: settings.prompt}, "default_prompt_name": _PROMPT}
        files["config_sentence_transformers.json"] = prompts
    return files
