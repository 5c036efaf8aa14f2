"""`bertjax pretrain`: config and data become an objective, and the loop trains it."""

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from etils import epath

from bertjax.config import Config, phases, validate
from bertjax.data.packing import max_pairs
from bertjax.data.shards import read_manifest
from bertjax.errors import UserError
from bertjax.model.bert import count_parameters, model_flops
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.batches import TrainingBatches, ValidationBatches
from bertjax.train.checkpoint import Checkpoints
from bertjax.train.loop import fit
from bertjax.train.masking import masking_table, prediction_count
from bertjax.train.mesh import batch_sharding, make_mesh, validate_batches
from bertjax.train.objective import mlm_nsp_objective
from bertjax.train.processes import join_processes
from bertjax.train.run_folder import open_run, write_whole

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


def pretrain(
    config: Config, data: str | Path, run: str | Path, initial_params: Any = None
) -> dict[str, Any]:
    """Pretrains an encoder on DATA in the folder RUN, or goes on with the run that is there.

    Args:
        config: the experiment; `model.vocab_size` may be None.
        data: a folder made by `bertjax prepare`.
        run: a local folder or `gs://`.
        initial_params: weights to start from instead of random ones.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: config, data, devices and run do not fit together.
        SystemExit: 143, after a clean stop on SIGTERM or SIGINT.
    """
    join_processes()
    manifest, tokenizer = read_manifest(data), load_tokenizer(Path(data))
    config = with_vocab_size(config, tokenizer.vocab_size)
    validate(config)
    use_compilation_cache()
    mesh = make_mesh(config.mesh)
    validate_batches(config, mesh.size)
    for change in open_run(run, config):
        print(f"bertjax: {change}, otherwise as the run was started", file=sys.stderr)
    save_tokenizer(tokenizer, epath.Path(run) / "tokenizer")

    batches = TrainingBatches(data, tokenizer, config)
    validation = ValidationBatches(data, tokenizer, config, batch_sharding(mesh))
    table = masking_table(tokenizer.continues_word, tokenizer.special_ids, tokenizer.mask_id)
    folder = epath.Path(run) / "checkpoints"
    with contextlib.closing(Checkpoints(folder, config.train.keep_checkpoints)) as checkpoints:
        return fit(
            mlm_nsp_objective(config, table, batches, validation),
            config,
            run,
            checkpoints=checkpoints,
            initial_params=initial_params,
            stream=batches.stream,
            flops=step_flops(config),
            identity={"data_digest": manifest["digest"], "tokenizer_digest": tokenizer.digest},
            facts={"parameters": count_parameters(config.model)},
        )


def with_vocab_size(config: Config, vocab_size: int) -> Config:
    """The config with the tokenizer's vocabulary size; raises UserError if it asks for another."""
    if config.model.vocab_size not in (None, vocab_size):
        raise UserError(
            f"model.vocab_size={config.model.vocab_size}, but the data's tokenizer has "
            f"{vocab_size} pieces: leave it out"
        )
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, vocab_size=vocab_size)
    )


def step_flops(config: Config) -> Callable[[int], float]:
    """The model's own arithmetic in a step, as a function of the step."""
    by_phase = [
        (
            phase.steps,
            model_flops(
                config.model,
                phase.batch_size,
                phase.length,
                prediction_count(phase.length, config.masking.rate),
                max_pairs(phase.length) if config.data.packing else 1,
            ),
        )
        for phase in phases(config)
    ]

    def flops(step: int) -> float:
        for steps, value in by_phase:
            if step < steps:
                return value
            step -= steps
        return by_phase[-1][1]

    return flops


def save_tokenizer(tokenizer: "Tokenizer", folder: epath.Path) -> None:
    """Writes a tokenizer's files into a run that lacks them; the run may be remote."""
    if jax.process_index():
        return
    with tempfile.TemporaryDirectory() as local:
        tokenizer.save(local)
        folder.mkdir(parents=True, exist_ok=True)
        for file in Path(local).iterdir():
            if not (folder / file.name).exists():
                write_whole(folder / file.name, file.read_bytes())


def use_compilation_cache() -> None:
    """Keeps compiled programs in `~/.cache/bertjax`, unless JAX_COMPILATION_CACHE_DIR says where.

    The second start of a tiny model then takes a third of the time.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "bertjax", "xla")
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
