"""What in a compiled step would not scale: told in one line each."""

from typing import Any

import jax
import numpy as np

from bertjax.config import Config
from bertjax.data.packing import max_pairs
from bertjax.model.sharding import BATCH_AXES, TENSOR_AXIS
from bertjax.train.compiled_report import Array, Listing
from bertjax.train.masking import prediction_count
from bertjax.train.program import Program

# Of the places that train/gradients.py and train/step.py name: what devices are meant to exchange.
_MEANT = ("gather_weights", "sum_gradients", "new_weights")


def find_warnings(config: Config, program: Program, listing: Listing) -> list[str]:
    """One line for each kind of thing that keeps the step from scaling; empty if all is well."""
    return [
        *_whole_batch_operations(config, program, listing),
        *_unexpected_transfers(config, program, listing),
        *_whole_parameters(program),
    ]


def _whole_batch_operations(config: Config, program: Program, listing: Listing) -> list[str]:
    """Operations on every device whose result has the shape of the whole batch."""
    shards = _shards(program)
    if shards == 1:
        return []
    rows, length = config.train.batch_size, config.data.length
    model = config.model
    predictions = prediction_count(length, config.masking.rate)
    pairs = max_pairs(length, config.data.packing)
    factors = (1, length, predictions, pairs, model.num_heads, predictions * length)
    own = {rows // shards * factor for factor in factors} | {length, predictions, pairs}
    own |= {predictions + pairs, model.hidden_size // model.num_heads}
    sizes = {size for leaf in jax.tree.leaves(program.state) for size in leaf.shape}
    parts = {
        size // n
        for n in range(1, shards + 1)
        for size in sizes
        if shards % n == 0 and size % n == 0
    }
    whole = {rows * factor for factor in factors} - own - sizes
    found: dict[str, Array] = {}
    for instruction, _, fused in listing.instructions:
        if fused or any(place in listing.source(instruction) for place in _MEANT):
            continue
        for array in instruction.results:
            matrix = len(array.shape) <= 2  # may be a part of a weight, on its way
            suspicious = (whole - parts if matrix else whole) & {*array.shape}
            if suspicious and np.prod(array.shape) >= rows * length:
                found.setdefault(f"{instruction.opcode} ({instruction.source})", array)
    return [
        f"{what}: {array} has the rows of the whole batch on every device"
        for what, array in found.items()
    ]


def _unexpected_transfers(config: Config, program: Program, listing: Listing) -> list[str]:
    """Transfers of which a device sends half a hidden state, of no gradient and no weight."""
    if program.mesh.shape[TENSOR_AXIS] > 1:  # there activations are summed in every layer
        return []
    rows = config.train.batch_size // _shards(program)
    large = rows * config.data.length * config.model.hidden_size  # bytes: half of one in bfloat16
    return [
        f"{instruction.opcode} of {array}, which is neither a gradient nor a weight "
        f"({listing.source(instruction) or 'source unknown'})"
        for instruction, _ in listing.transfers()
        if not any(place in listing.source(instruction) for place in _MEANT)
        for array, sent in listing.sent(instruction)
        if sent >= large
    ]


def _shards(program: Program) -> int:
    """Parts that the batch is cut into."""
    return int(np.prod([program.mesh.shape[name] for name in BATCH_AXES]))


def _whole_parameters(program: Program) -> list[str]:
    """Matrices that a mesh axis should have cut and has not."""
    mesh = program.mesh
    wanted = {
        "parameters": ("params", mesh.shape["fsdp"] * mesh.shape[TENSOR_AXIS]),
        "optimizer state": ("optimizer", mesh.size),
    }
    warnings = []
    for what, (name, parts) in wanted.items():
        leaves: list[Any] = [leaf for leaf in jax.tree.leaves(program.state[name]) if leaf.ndim > 1]
        whole = [leaf for leaf in leaves if leaf.sharding.is_fully_replicated]
        share = sum(leaf.size for leaf in whole) / sum(leaf.size for leaf in leaves)
        if parts > 1 and share > 0.01:
            warnings.append(
                f"{share:.0%} of the {what} is whole on every device: no axis of those arrays "
                "divides over the mesh"
            )
    return warnings
