"""`bertjax evaluate`: the validation figures of pretraining, for any weights and any text."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from bertjax.config import Config, MeshConfig
from bertjax.data.shards import read_manifest
from bertjax.errors import UserError
from bertjax.progress import Progress
from bertjax.train.batches import VALIDATION_POSITIONS, Validation, validation_shortage
from bertjax.train.masking import masking_table
from bertjax.train.mesh import batch_sharding, make_mesh, replicated
from bertjax.train.objective import compute_dtype, evaluate_pretraining

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


def evaluate(
    params: Any, config: Config, tokenizer: "Tokenizer", data: str | None, corpus: str | None
) -> dict[str, float | int | None]:
    """Losses and accuracies over DATA's validation split, or over all of a corpus.

    Args:
        params: the weights.
        config: what they were trained with: the longest rows and the kind of pairs come from it.
        tokenizer: what they were trained with.
        data: a folder made by `bertjax prepare` with the same tokenizer.
        corpus: or raw text, of which nothing is dropped.

    Returns:
        `mlm_loss`, `mlm_accuracy`, `nsp_loss`, `nsp_accuracy` (None where a head has no labels)
        and `examples`, the sentence pairs. Always 15% single tokens under fixed masks.

    Raises:
        UserError: DATA of another tokenizer or with too few documents for validation, or a corpus
            that cannot be read.
    """
    if data is not None:
        digest = read_manifest(data)["tokenizer"]["digest"]
        if digest != tokenizer.digest:
            raise UserError(
                f"{data} was made with another tokenizer ({digest[:12]}) than the checkpoint "
                f"({tokenizer.digest[:12]}): run bertjax prepare --tokenizer CHECKPOINT"
            )
        if shortage := validation_shortage(data, config):
            raise UserError(shortage)
        return _evaluate_folder(params, config, tokenizer, Path(data))
    assert corpus is not None
    from bertjax.text.tokenized_corpus import tokenize_corpus

    with tempfile.TemporaryDirectory() as folder:
        tokenize_corpus(corpus, tokenizer, Path(folder))
        return _evaluate_folder(params, config, tokenizer, Path(folder), None)


def _evaluate_folder(
    params: Any,
    config: Config,
    tokenizer: "Tokenizer",
    data: Path,
    most_positions: int | None = VALIDATION_POSITIONS,
) -> dict[str, float | int | None]:
    mesh = make_mesh(MeshConfig())
    table = masking_table(tokenizer.continues_word, tokenizer.special_ids, tokenizer.mask_id)
    batches = Validation(data, tokenizer, config, batch_sharding(mesh), most_positions)
    with jax.set_mesh(mesh), Progress("evaluating", len(batches), "batch") as progress:
        return evaluate_pretraining(
            jax.device_put(params, replicated(mesh)),
            config=config.model,
            table=table,
            batches=batches,
            dtype=compute_dtype(config),
            told=progress.update,
        )
