"""A run folder of our own made of any weights: what `load`, `evaluate` and `--init` open."""

from pathlib import Path

from bertjax.config import to_json
from bertjax.interop.checkpoint import Checkpoint


def write_run(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `config.json`, `tokenizer/` and `checkpoints/STEP/`: weights, no optimizer.

    The folder is local and there already.
    """
    from bertjax.train.checkpoint import Checkpoints

    (folder / "config.json").write_text(to_json(checkpoint.experiment))
    checkpoint.tokenizer.save(folder / "tokenizer")
    checkpoints = Checkpoints(folder / "checkpoints", keep=1)
    checkpoints.save(checkpoint.step, {"params": checkpoint.params}, checkpoint.history)
    checkpoints.close()
