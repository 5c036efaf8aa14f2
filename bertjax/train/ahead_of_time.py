"""`bertjax plan --topology`: compiles the real training step for devices that are not attached.

What comes out is the compiler's own account of the step: memory as it has laid it out, what the
devices send one another, and its estimate of the computing time.
"""

import dataclasses
import re
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import Config, Phase, largest_phase
from bertjax.data.packing import max_pairs
from bertjax.errors import UserError
from bertjax.train.compiled_report import Listing
from bertjax.train.compiled_warnings import find_warnings
from bertjax.train.hardware import peak_flops
from bertjax.train.masking import masking_table
from bertjax.train.mesh import batch_sharding, replicated
from bertjax.train.objective import mlm_nsp_objective
from bertjax.train.program import Program, make_program
from bertjax.train.slices import Slice

_TOO_LARGE = re.compile(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Compiled(NamedTuple):
    """One compilation; `memory` is bytes by kind on one device.

    Where the compiler gave up for lack of memory the listing is empty, and `memory` is its `total`
    alone.
    """

    program: Program
    memory: dict[str, int]
    fits: bool
    listing: Listing
    seconds: float


def plan_on(config: Config, where: Slice) -> dict[str, Any]:
    """Compiles a training step for a slice: of several phases, that of the largest.

    Args:
        config: for pretraining, its `model.vocab_size` set.
        where: from `find_slice`; the caller has asked `mesh.validate_mesh` about it.

    Returns:
        `topology`, `chips`, `devices`, `mesh`, `length`, `rows_per_chip`, `memory_per_chip`
        (bytes), the same by kind in `memory`, `chip_memory`, `fits`, `collectives` (see
        `compiled_report.Collective`; `bytes` that a device sends in a step), `estimated_seconds`
        (of the computation, see `Listing.cycles`; None where the compiler estimates none),
        `not_estimated`, `peak_flops` (per second, of all devices; None where it is not known),
        `warnings` and `compile_seconds`.

    Raises:
        UserError: config and slice do not fit together.
    """
    config = with_phase(config, largest_phase(config))
    compiled = compile_step(config, where)
    devices, listing = len(where.devices), compiled.listing
    peak = peak_flops(where.devices[0].device_kind)
    cores = devices // where.chips  # devices of a chip
    seconds = listing.cycles() / where.clock if listing.instructions and where.clock else None
    return {
        "topology": where.name,
        "chips": where.chips,
        "devices": devices,
        "mesh": dict(compiled.program.mesh.shape),
        "length": config.data.length,
        "rows_per_chip": config.train.batch_size / where.chips,
        "memory_per_chip": compiled.memory["total"] * cores,
        "memory": {kind: size * cores for kind, size in compiled.memory.items()},
        "chip_memory": where.memory,
        "fits": compiled.fits,
        "estimated_seconds": seconds,
        "not_estimated": listing.not_estimated(),
        "peak_flops": peak and peak * devices,
        "collectives": [dataclasses.asdict(group) for group in listing.collectives()],
        "warnings": find_warnings(config, compiled.program, listing),
        "compile_seconds": round(compiled.seconds, 1),
    }


def compile_step(config: Config, where: Slice) -> Compiled:
    """The training step of a config of one phase, compiled for the slice's devices.

    Raises:
        UserError: the TPU compiler is of another time than jax.
    """
    start = time.perf_counter()
    program, lowered = _lower(config, where)
    try:
        executable = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) or not (used := _TOO_LARGE.search(str(error))):
            raise
        total = int(float(used[1]) * _UNITS[used[2]])
        return Compiled(program, {"total": total}, False, Listing(""), time.perf_counter() - start)
    seconds = time.perf_counter() - start
    memory = _memory(executable.memory_analysis(), program)
    share = where.memory and where.memory * where.chips // len(where.devices)
    fits = share is None or memory["total"] <= share
    try:
        listing = Listing(executable.as_text())
    except jax.errors.JaxRuntimeError as error:  # a libtpu newer than jax has other instructions
        if where.platform != "tpu":
            raise
        raise UserError(
            f"--topology {where.name}: this jax cannot read what the installed libtpu compiled; "
            "pip install -e '.[aot]' brings the libtpu that fits"
        ) from error
    return Compiled(program, memory, fits, listing, seconds)


def _lower(config: Config, where: Slice) -> tuple[Program, Any]:
    """The program on the slice's devices, and its step ready to be compiled."""
    vocabulary = config.model.vocab_size
    assert vocabulary is not None
    table = masking_table(np.zeros(vocabulary, bool), (0, 1, 2, 3, 4), 4)
    dtype = config.train.compute_dtype or ("float32" if where.platform == "cpu" else "bfloat16")
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, compute_dtype=dtype)
    )
    objective = mlm_nsp_objective(config, table, lambda _: {}, ())
    program = make_program(objective, config, where.devices)
    rows, length = config.train.batch_size, config.data.length
    sharding = batch_sharding(program.mesh)
    array = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32, sharding=sharding)  # noqa: E731
    batch = {name: array(rows, length) for name in ("token_ids", "segment_ids", "pair_ids")}
    batch["next_sentence_labels"] = array(rows, max_pairs(length, config.data.packing))
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=replicated(program.mesh))
    return program, program.step.lower(program.state, batch, key)  # pyright: ignore[reportFunctionMemberAccess]


def _memory(stats: Any, program: Program) -> dict[str, int]:
    """Bytes on one device by kind, and their `total`; the step writes the new state in place."""
    parameters, optimizer = (_held(program.state[name]) for name in ("params", "optimizer"))
    kinds = {
        "parameters": parameters,
        "optimizer": optimizer,
        "batch_and_padding": stats.argument_size_in_bytes - parameters - optimizer,
        "new_outputs": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "temporary": stats.temp_size_in_bytes,
        "program": stats.generated_code_size_in_bytes,
    }
    return kinds | {"total": sum(kinds.values())}


def _held(tree: Any) -> int:
    """Bytes of one device's part of the arrays."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def with_phase(config: Config, phase: Phase) -> Config:
    """The config of a run that has this phase alone."""
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, length=phase.length),
        train=dataclasses.replace(
            config.train, steps=phase.steps, batch_size=phase.batch_size, phases=(phase,)
        ),
    )
