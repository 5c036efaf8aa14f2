"""One of two processes of test_hosts.py: python -m tests.train.host DATA FOLDER.

It goes on with two runs that one process began: `FOLDER/bert`, split by rows, and `FOLDER/toy`, in
layouts that split parameters over both processes. Then it trains in `FOLDER/stopped` until a
signal. `FOLDER/RANK.json` tells what it saw.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bertjax.config import Config, MeshConfig
from bertjax.errors import UserError
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train import run_folder
from bertjax.train.batches import TrainingBatches
from bertjax.train.checkpoint import Checkpoints
from bertjax.train.loop import fit
from bertjax.train.mesh import batch_sharding, make_mesh, own_rows
from bertjax.train.pretrain import pretrain
from bertjax.train.processes import join_processes
from bertjax.train.together import ending_together
from tests.train.toy import small_config, toy_config, toy_objective

ROWS, FSDP, TENSOR = MeshConfig(), MeshConfig(data=1, fsdp=8), MeshConfig(data=1, tensor=8)
LAYOUTS = ROWS, FSDP, TENSOR
BERT_BEGUN, BERT_JOINT, TOY_BEGUN, TOY_FSDP, TOY_TENSOR = 3, 6, 4, 8, 12  # last steps


def constant(config: Config) -> Config:
    """With one learning rate, whatever the last step is."""
    optimizer = dataclasses.replace(config.optimizer, schedule="constant", warmup_steps=0)
    return dataclasses.replace(config, optimizer=optimizer)


def train_toy(run: Path, steps: int, mesh: MeshConfig = ROWS) -> None:
    """Trains the toy up to a step, each process on its own rows."""
    config = dataclasses.replace(constant(toy_config(steps)), mesh=mesh)
    objective, rows = toy_objective(), own_rows(batch_sharding(make_mesh(mesh)), 16)

    def stream(step: int) -> Iterator[dict[str, np.ndarray]]:
        while True:
            yield {name: array[rows] for name, array in objective.batch(step).items()}
            step += 1

    checkpoints = Checkpoints(run / "checkpoints", keep=2)
    fit(objective, config, run, checkpoints=checkpoints, stream=stream)


def train_bert(data: Path, run: Path, steps: int, **train: Any) -> None:
    """Pretrains up to a step."""
    pretrain(constant(small_config(steps=steps, **train)), data, run)


def refusal(data: Path, run: Path, **train: Any) -> str:
    """How a run is refused; both processes are told."""
    try:
        train_bert(data, run, 2, **train)
    except UserError as error:
        return str(error)
    return "accepted"


def made(data: Path, mesh: MeshConfig) -> list[list[int]]:
    """The tokens of the rows that this process makes of the first batch."""
    config = dataclasses.replace(small_config(), mesh=mesh)
    return TrainingBatches(data, load_tokenizer(data), config)(0)["token_ids"].tolist()


def main(data: Path, folder: Path) -> None:
    join_processes()
    with ending_together():
        rank = jax.process_index()
        run_folder._SHOWS_WITHIN = 0
        seen = {
            "rows": [made(data, mesh) for mesh in LAYOUTS],
            "own folder": refusal(data, folder / f"own-{rank}"),
            "own seed": refusal(data, folder / "seeds", seed=rank),
        }
        (folder / f"{rank}.json").write_text(json.dumps(seen))
        train_bert(data, folder / "bert", BERT_JOINT)
        train_toy(folder / "toy", TOY_FSDP, FSDP)
        train_toy(folder / "toy", TOY_TENSOR, TENSOR)
        train_toy(folder / "stopped", 1_000_000)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
