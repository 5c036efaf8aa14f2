"""`bertjax pretrain`: config and data become an objective, and the loop trains it."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from etils import epath

from bertjax.config import Config, phases, to_json, total_steps, validate
from bertjax.data.shards import read_manifest
from bertjax.errors import UserError
from bertjax.files import located
from bertjax.model.bert import count_parameters
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.batches import TrainingBatches, Validation, validation_shortage
from bertjax.train.initial import InitialWeights
from bertjax.train.masking import masking_table
from bertjax.train.mesh import batch_sharding, make_mesh, validate_mesh
from bertjax.train.objective import mlm_nsp_objective, pretraining_heads
from bertjax.train.plan import step_flops
from bertjax.train.processes import join_processes
from bertjax.train.record import list_steps
from bertjax.train.run import tell, train_run, use_compilation_cache
from bertjax.train.run_folder import hold_run, open_run, write_summary
from bertjax.train.together import same_everywhere

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


def pretrain(
    config: Config,
    data: str | Path,
    run: str | Path,
    initial: Callable[[], InitialWeights] | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Pretrains an encoder on DATA in the folder RUN, or goes on with the run that is there.

    Args:
        config: the experiment; `model.vocab_size` may be None.
        data: a folder made by `bertjax prepare`.
        run: a local folder or `gs://`.
        initial: gives the weights to start from instead of random ones; called only if the run has
            no checkpoint.
        remarks: lines to tell once settings, data and folder are found to fit, before weights and
            checkpoints are read.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: config, data, devices, initial weights and run do not fit together, or another
            process trains in RUN.
        SystemExit: 143, after a clean stop on SIGTERM or SIGINT.
    """
    join_processes()
    folder = located(run, "run folder")
    if config.task is not None or config.train.epochs is not None:
        raise UserError("a config for fine-tuning (task, train.epochs): bertjax finetune takes it")
    manifest, tokenizer = read_manifest(data), load_tokenizer(Path(data))
    if tokenizer.digest != manifest["tokenizer"]["digest"]:
        raise UserError(
            f"{data}: its tokenizer is not the one that the text was cut with; copy the folder "
            "again or run bertjax prepare again"
        )
    config = with_vocab_size(config, tokenizer.vocab_size)
    validate(config)
    use_compilation_cache()
    validate_mesh(config, make_mesh(config.mesh).size, jax.default_backend())
    with hold_run(run):
        config, changes = open_run(run, config)
        told = [to_json(config), manifest["digest"], initial is not None, str(folder)]
        if not same_everywhere(told):
            raise UserError(
                "the processes of this run differ in their config, --data, --init or --run"
            )
        remarks = [*changes, *remarks, *_unfinished_warmup(config)]
        remarks += _unused_init(folder, initial is not None)
        summary = _train(config, data, folder, initial, manifest, tokenizer, remarks)
        write_summary(folder, summary)
    return summary


def _unfinished_warmup(config: Config) -> list[str]:
    """A line where the run ends before its learning rate is reached."""
    warmup = phases(config)[0].warmup_steps
    if warmup <= total_steps(config):
        return []
    return [
        f"the run ends before its warmup of {warmup:,} steps; --optimizer.warmup_share=0.01 warms "
        "up over a hundredth of any run"
    ]


def _unused_init(run: epath.Path, given: bool) -> list[str]:
    """A line where the run goes on, so that the checkpoint it was to start from is not read."""
    steps = list_steps(run / "checkpoints") if given else []
    return [f"{run} goes on from its step {steps[-1]}; --init is not used"] if steps else []


def _train(
    config: Config,
    data: str | Path,
    run: epath.Path,
    initial: Callable[[], InitialWeights] | None,
    manifest: dict[str, Any],
    tokenizer: "Tokenizer",
    remarks: Sequence[str],
) -> dict[str, Any]:
    """Puts the parts together, and trains."""
    mesh = make_mesh(config.mesh)
    batches = TrainingBatches(data, tokenizer, config)
    validation = Validation(data, tokenizer, config, batch_sharding(mesh))
    if shortage := validation_shortage(data, config):
        tell(f"training without validation: {shortage}")
        validation = ()
    table = masking_table(tokenizer.continues_word, tokenizer.special_ids, tokenizer.mask_id)
    objective = mlm_nsp_objective(config, table, batches, validation)
    facts = {
        "parameters": count_parameters(config.model, pretraining_heads(config)),
        "corpora": _corpora(manifest),
    }
    return train_run(
        objective,
        config,
        run,
        tokenizer,
        initial,
        identity={"data_digest": manifest["digest"]},
        facts=facts,
        remarks=remarks,
        stream=batches.stream,
        flops=step_flops(config),
    )


def _corpora(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What was read, and how much of it: the text of DATA in a few words."""
    names = ("spec", "documents", "sentences", "tokens")
    return [{name: source[name] for name in names} for source in manifest["sources"]]


def with_vocab_size(config: Config, vocab_size: int) -> Config:
    """The config with the tokenizer's vocabulary size; raises UserError if it asks for another."""
    if config.model.vocab_size not in (None, vocab_size):
        raise UserError(
            f"model.vocab_size={config.model.vocab_size}, but the data's tokenizer has "
            f"{vocab_size} pieces: --model.vocab_size=none takes those"
        )
    return dataclasses.replace(
        config, model=dataclasses.replace(config.model, vocab_size=vocab_size)
    )
