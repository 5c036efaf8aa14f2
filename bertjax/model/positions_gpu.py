"""What the GPU kernels share that go through activations position by position.

Every element is read once and written once. A block of threads takes a block of positions, four at
a time: each of its warps has one, or some columns of one, in its registers.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

WARPS = 4  # of a block of threads: the positions that it has at a time
_LARGEST_BLOCK = 64  # positions that a block of threads takes, one group after the other


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns that a block of threads takes: `width` of them, a multiple of 128.

    Attributes:
        width: at a time.
        interpret: run on a CPU, slowly.
    """

    width: int
    interpret: bool

    @property
    def layout(self) -> Any:
        """Of an array [warps, width]: a warp has a row, a thread 8 or 4 of its elements in turn.

        Eight of bfloat16 are 16 bytes, the most that a thread reads at once.
        """
        elements = 8 if self.width % 256 == 0 else 4
        tiling = plgpu.Tiling(((WARPS, 32 * elements), (elements,)))
        return plgpu.Layout.TILED(tiling, warp_dims=(-3,), lane_dims=(-2,), vector_dim=-1)

    def load(self, array: Any) -> jax.Array:
        """Float32 [warps, width] of a reference to so much."""
        return _load(array, self.layout).astype(jnp.float32)

    def load_line(self, array: Any) -> jax.Array:
        """A reference [width], for every position."""
        line = _load(array, self.layout.reduce(0))
        return lax.broadcast_in_dim(line, (WARPS, self.width), (1,))

    def load_column(self, array: Any) -> jax.Array:
        """A reference [warps], for every column."""
        column = _load(array, self.layout.reduce(1))
        return lax.broadcast_in_dim(column, (WARPS, self.width), (0,))

    def zeros(self) -> jax.Array:
        """Float32 [warps, width]."""
        return plgpu.layout_cast(jnp.zeros((WARPS, self.width), jnp.float32), self.layout)


def _load(array: Any, layout: Any) -> Any:
    # jax 0.10 wants an index besides; there the kernels are not used.
    load: Any = plgpu.load
    return load(array, layout=layout, optimized=False)


def write(array: Any, value: jax.Array) -> None:
    """Writes to a reference to as much. A thread's float32 may be 32 bytes, in two pieces."""
    if hasattr(plgpu, "store"):  # jax 0.12, where an assignment allows 16
        plgpu.store(array, value, optimized=False)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        array[...] = value


def block_of(positions: int) -> int:
    """How many of a row's positions, a multiple of 4, a block of threads takes."""
    return next(block for block in range(_LARGEST_BLOCK, 0, -WARPS) if positions % block == 0)


def each_group(positions: int, step: Callable[[Any, Any], Any], carry: Any) -> Any:
    """Runs `step` on the place (row, group of positions) of one group after the other.

    Returns:
        the last carry.
    """
    block, row = block_of(positions), lax.axis_index("row")
    first = lax.axis_index("block") * block

    def body(number: Any, carry: Any) -> Any:
        return step((row, pl.ds(first + number * WARPS, WARPS)), carry)

    return lax.fori_loop(0, block // WARPS, body, carry)


def run_kernel(
    name: str,
    kernel: Callable[..., None],
    columns: Columns,
    operands: tuple[Any, ...],
    results: list[Any],
) -> Any:
    """Runs `kernel(*operands, *results)` on references, over all blocks of threads.

    The grid is (row, block, part): rows of the batch, blocks of positions, parts of the columns.

    Args:
        operands: the first is [batch, positions, columns], a batch of at most 65,535 rows; None
            for one that is left out.
        results: the shape and dtype of each.
    """
    given, tree = jax.tree.flatten(operands)
    batch, positions, width = given[0].shape

    def body(*refs: Any) -> None:
        kernel(*tree.unflatten(refs[: len(given)]), *refs[len(given) :])

    run = plgpu.kernel(
        body,
        out_type=results,
        grid=(batch, positions // block_of(positions), width // columns.width),
        grid_names=("row", "block", "part"),
        # Without barriers: no thread reads what another one writes.
        compiler_params=plgpu.CompilerParams(approx_math=True, unsafe_no_auto_barriers=True),
        kernel_name=name,
        interpret=_interpreter() if columns.interpret else None,
    )
    return run(*given)


def _interpreter() -> Any:
    return plgpu.InterpretGPUParams()  # pyright: ignore[reportAttributeAccessIssue]
