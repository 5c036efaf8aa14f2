"""What the blocks of threads of the GPU attention kernel work on, and how it reaches them.

A block owns `OWN` positions of one head of one row, and goes through all of the row's positions
`other` at a time, while those that come next are being copied.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

OWN = 64  # positions: the rows of one matrix instruction
_Accumulator = plgpu.ACC  # pyright: ignore[reportPrivateImportUsage]


@dataclasses.dataclass(frozen=True)
class KernelSettings:
    """What a kernel is compiled for.

    Attributes:
        heads, head_dim, length: of the projections; `other` divides `length`.
        rate: of dropout; 0 where nothing is dropped.
        other: positions taken at a time of the side that a block does not own.
    """

    heads: int
    head_dim: int
    length: int
    rate: float
    other: int

    @property
    def steps(self) -> int:
        """How often a block takes other positions."""
        return self.length // self.other

    @property
    def stages(self) -> int:
        """For how many of these there is room at once."""
        return min(2, self.steps)


class Positions(NamedTuple):
    """What is known of some positions of one head, as queries or as keys; None where not needed.

    Attributes:
        first, second: [positions, head_dim]; of queries the query and, in the backward pass, the
            gradient of what it attended, of keys the key and the value.
        pair_ids: int32 [positions].
        words: uint32 [positions], of `dropout.bit_words`.
        normaliser: float32 [positions] of queries, the base-2 logarithm of the softmax's
            denominator.
        along: float32 [positions] of queries, the products of gradient and output, summed.
        pair_ranges: of all of the row, as in `Operands`.
    """

    first: Any
    second: Any
    pair_ids: Any
    words: Any
    normaliser: Any = None
    along: Any = None
    pair_ranges: Any = None


class Operands(NamedTuple):
    """All of the kernel's inputs; `words` and what is for the backward pass may be None.

    Attributes:
        projections: [batch, length, 3 * heads, head_dim]: queries, keys, values.
        pair_ids: int32 [batch, length].
        pair_ranges: int32 [batch, at least 2 * length / OWN]: the least pair id of each `OWN`
            positions, then the largest of each.
        query_words: uint32 [batch, heads, length].
        key_words: uint32 [batch, length].
        gradient: [batch, length, heads, head_dim].
        normaliser, along: float32 [batch, heads, length].
    """

    projections: Any
    pair_ids: Any
    pair_ranges: Any
    query_words: Any = None
    key_words: Any = None
    gradient: Any = None
    normaliser: Any = None
    along: Any = None

    def queries(self, positions: Any) -> Positions:
        """References to those of this block's row and head."""
        row, head = lax.axis_index("row"), lax.axis_index("head")

        def of_head(array: Any) -> Any:
            return None if array is None else array.at[row, head, positions]

        return Positions(
            self.projections.at[row, positions, head],
            None if self.gradient is None else self.gradient.at[row, positions, head],
            self.pair_ids.at[row, positions],
            of_head(self.query_words),
            of_head(self.normaliser),
            of_head(self.along),
            self.pair_ranges.at[row],
        )

    def keys(self, positions: Any) -> Positions:
        """References to those of this block's row and head."""
        row, head = lax.axis_index("row"), lax.axis_index("head")
        heads = self.projections.shape[2] // 3
        return Positions(
            self.projections.at[row, positions, heads + head],
            self.projections.at[row, positions, 2 * heads + head],
            self.pair_ids.at[row, positions],
            None if self.key_words is None else self.key_words.at[row, positions],
            pair_ranges=self.pair_ranges.at[row],
        )


class Barriers(NamedTuple):
    """Passed once the copies are there: of a block's own positions; of the others, by stage."""

    own: Any
    others: Any


def loop(
    settings: KernelSettings,
    sides: tuple[Any, Any],
    block: Any,
    own: Positions,
    others: Positions,
    barriers: Barriers,
    step: Callable[[Positions, bool, Any], Any],
    carry: Any,
) -> Any:
    """Fills `own`, then runs `step` on part after part of the other side; returns the last carry.

    Parts whose range of pair ids does not meet that of the block are passed over.

    Args:
        sides: `Operands.queries` and `Operands.keys`, that of the block's own positions first.
        block: the number of the block among those of its side.
        others: as `own`, but each array [stages, positions, ...].
        step: of (other, mixed, carry); `mixed` is whether pair ids must be compared.
    """

    def fetch(number: Any) -> None:
        stage = lax.rem(number, jnp.int32(settings.stages))
        part = pl.ds(number * settings.other, settings.other)
        _copy(sides[1](part), _stage(others, stage), barriers.others.at[stage])

    def body(number: Any, carry: Any) -> Any:
        stage = lax.rem(number, jnp.int32(settings.stages))
        plgpu.barrier_wait(barriers.others.at[stage])
        other = _stage(others, stage)
        disjoint, one = _compare_pairs(settings, own.pair_ranges, block, number)
        uniform, mixed = functools.partial(step, other, False), functools.partial(step, other, True)
        visible = functools.partial(lax.cond, one, uniform, mixed)
        carry = lax.cond(disjoint, lambda carry: carry, visible, carry)
        following = number + settings.stages
        pl.when(following < settings.steps)(lambda: fetch(following))
        return carry

    _copy(sides[0](mine(block)), own, barriers.own)
    for number in range(settings.stages):
        fetch(jnp.int32(number))
    plgpu.barrier_wait(barriers.own)
    return lax.fori_loop(0, settings.steps, body, carry)


def _compare_pairs(
    settings: KernelSettings, pair_ranges: Any, block: Any, number: Any
) -> tuple[Any, Any]:
    """Whether the pair ids of a block and of a part of the other side do not meet; are all one.

    Args:
        pair_ranges: a row of `Operands.pair_ranges`.
        block: counts `OWN` positions.
        number: of the part, counts `settings.other` positions.
    """
    blocks, each = settings.length // OWN, settings.other // OWN
    least, largest = pair_ranges[block], pair_ranges[blocks + block]
    parts = [number * each + index for index in range(each)]
    its_least = functools.reduce(jnp.minimum, [pair_ranges[part] for part in parts])
    its_largest = functools.reduce(jnp.maximum, [pair_ranges[blocks + part] for part in parts])
    disjoint = (largest < its_least) | (its_largest < least)
    return disjoint, (least == its_largest) & (its_least == largest)


def _stage(others: Positions, stage: Any) -> Positions:
    return Positions(*(None if array is None else array.at[stage] for array in others))


def _copy(source: Positions, target: Positions, ready: Any) -> None:
    """Starts copying; `ready` counts each array."""
    for one, other in zip(source, target, strict=True):
        if one is not None and other is not None:
            plgpu.copy_gmem_to_smem(one, other, ready)


def mine(block: Any) -> Any:
    """The positions that a block owns."""
    return pl.ds(block * OWN, OWN)


def product(left: Any, right: Any, shape: tuple[int, int]) -> jax.Array:
    """float32 [m, n] of references to [m, k] and [n, k]."""

    def multiply(total: Any) -> jax.Array:
        plgpu.wgmma(total, left, right.transpose((1, 0)))
        return total[...]

    return pl.run_scoped(multiply, _Accumulator(shape, jnp.float32))


def add_product(total: jax.Array, left: jax.Array, right: Any) -> Any:
    """`total` [m, n] and the product of `left` [m, k] with a reference to [k, n]: as `total`."""

    def multiply(total: Any) -> None:
        plgpu.wgmma(total, left.astype(right.dtype), right)

    return pl.run_state(multiply)(_Accumulator.init(total))
