"""A training in the folder RUN: what pretraining and fine-tuning do alike around `loop.fit`."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from etils import epath

from bertjax.config import Config
from bertjax.errors import UserError
from bertjax.train.checkpoint import Checkpoints
from bertjax.train.initial import InitialWeights, complete_params, record_source, recorded_source
from bertjax.train.loop import fit
from bertjax.train.objective import Objective
from bertjax.train.record import list_steps
from bertjax.train.run_folder import write_file

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


def train_run(
    objective: Objective,
    config: Config,
    run: epath.Path,
    tokenizer: "Tokenizer",
    initial: Callable[[], InitialWeights] | None,
    *,
    identity: dict[str, str],
    facts: dict[str, Any],
    remarks: Iterable[str] = (),
    stream: Callable[[int], Iterator[dict[str, np.ndarray]]] | None = None,
    flops: Callable[[int], float] = lambda _: 0.0,
) -> dict[str, Any]:
    """`fit` with the run's checkpoints, its tokenizer and what it was started from.

    Args:
        objective, config, stream, flops: as of `fit`.
        run: held by this process, and `open_run` has accepted the config for it.
        tokenizer: is written into the run.
        initial: gives the weights to start from instead of random ones; called only if the run has
            no checkpoint.
        identity: digests that must not change within a run, besides the tokenizer's.
        facts: what checkpoints and the summary tell besides.
        remarks: lines to tell once the tokenizer is found to fit, before weights are read.

    Returns:
        The summary.

    Raises:
        UserError: config, tokenizer, initial weights and run do not fit together.
        SystemExit: 143, after a clean stop on SIGTERM or SIGINT.
    """

    def initial_params() -> Any:
        assert initial is not None
        given = initial()
        params = complete_params(given, config, objective.init, tokenizer.digest, tell)
        facts.update(record_source(run, given.source))  # known before a checkpoint is
        return params

    checkpoints = Checkpoints(run / "checkpoints", config.train.keep_checkpoints)
    with contextlib.closing(checkpoints):
        started = bool(list_steps(run / "checkpoints"))  # sound or not
        facts |= recorded_source(run, started or initial is not None)
        save_tokenizer(tokenizer, run / "tokenizer", started)
        for remark in remarks:
            tell(remark)
        with too_little_memory_told(config.train.accumulation):
            return fit(
                objective,
                config,
                run,
                checkpoints=checkpoints,
                initial_params=initial_params if initial else None,
                stream=stream,
                flops=flops,
                identity=identity | {"tokenizer_digest": tokenizer.digest},
                facts=facts,
            )


@contextlib.contextmanager
def too_little_memory_told(accumulation: int) -> Iterator[None]:
    """Makes XLA's error a UserError that says which settings need less memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        if not re.search("RESOURCE_EXHAUSTED.*(memory|allocat)", reason, re.IGNORECASE):
            raise
        raise UserError(
            f"the device's memory does not suffice: more --train.accumulation ({accumulation} now) "
            "takes a batch in smaller parts, with the same result, --model.remat=true computes "
            "layers twice, a smaller --train.batch_size, in another --run, learns from less "
            f"({reason})"
        ) from error


def tell(line: str) -> None:
    """Writes a line to standard error, in the first process alone."""
    if jax.process_index() == 0:
        print(f"bertjax: {line}", file=sys.stderr)


def save_tokenizer(tokenizer: "Tokenizer", folder: epath.Path, started: bool) -> None:
    """Writes a tokenizer's files into a run, which may be remote.

    Another tokenizer that is there already is replaced, unless training has `started`: the run has
    a checkpoint.

    Raises:
        UserError: the run was trained with the tokenizer that is there.
    """
    with tempfile.TemporaryDirectory() as local:
        tokenizer.save(local)
        files = {file.name: file.read_bytes() for file in Path(local).iterdir()}
    if started:
        there = {name for name in files if (folder / name).exists()}
        if any((folder / name).read_bytes() != files[name] for name in there):
            raise UserError(f"{folder} is another tokenizer than the data's: start another run")
        files = {name: files[name] for name in files.keys() - there}
    if jax.process_index() == 0:
        if not started and folder.exists():
            folder.rmtree()
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_file(folder / name, content)


def use_compilation_cache() -> None:
    """Keeps compiled programs in `~/.cache/bertjax`, unless JAX_COMPILATION_CACHE_DIR says where.

    The second start of a tiny model then takes a third of the time.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bertjax", "xla")
        jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
