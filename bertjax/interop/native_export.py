"""A run folder of our own made of any weights: what `load`, `evaluate` and `--init` open."""

import dataclasses
import json
from pathlib import Path

from bertjax.config import to_json
from bertjax.interop.checkpoint import Checkpoint
from bertjax.tasks.embedding import MEAN

EMBEDDING_FILE = "embedding.json"  # in a run that embeds otherwise than by the mean


def write_run(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `config.json`, `tokenizer/` and `checkpoints/STEP/`: weights, no optimizer.

    The folder is local and there already.
    """
    from bertjax.train.checkpoint import Checkpoints

    (folder / "config.json").write_text(to_json(checkpoint.experiment))
    if checkpoint.embedding != MEAN:
        text = json.dumps(dataclasses.asdict(checkpoint.embedding), indent=2)
        (folder / EMBEDDING_FILE).write_text(text + "\n")
    checkpoint.tokenizer.save(folder / "tokenizer")
    checkpoints = Checkpoints(folder / "checkpoints", keep=1)
    checkpoints.save(checkpoint.step, {"params": checkpoint.params}, checkpoint.history)
    checkpoints.close()
