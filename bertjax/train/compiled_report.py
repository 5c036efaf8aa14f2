"""What a compiled program says about itself: cycles, collectives, shapes; read from its text.

The text is the compiler's own listing (HLO after every optimisation) with one instruction a line.
Nothing here runs the program.
"""

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Iterator

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|bf16|[sufc]\d+(?:e\w+)?)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|body|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_NAME = re.compile(r'\bop_name="([^"]*)"')
_PARTITIONS = re.compile(r"^HloModule .*\bnum_partitions=(\d+)", re.MULTILINE)
# Groups written out, {{0,1},{2,3}}; or as a table of [groups,devices of each]<=[...] of all.
_GROUPS = re.compile(r"\breplica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\]<=)")
_CHAIN = re.compile(r'\bchain_id="(\d+)"')
_BYTES = {"pred": 1, "bf16": 2}

COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("collective-broadcast", "ragged-all-to-all"),
)
# What the compiler estimates no cycles for, by opcode; besides, collectives and Pallas kernels.
_NOT_ESTIMATED = ("gather", "scatter", "sort", "rng-bit-generator")


@dataclasses.dataclass(frozen=True)
class Array:
    """The type of an array in the program."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Without the padding of its layout."""
        width = _BYTES.get(self.dtype) or int(re.findall(r"\d+", self.dtype)[0]) / 8
        return int(math.prod(self.shape) * width)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of the listing.

    Attributes:
        name: in the listing.
        opcode: without `-start`.
        results: the arrays that it gives.
        rest: operands and attributes.
    """

    name: str
    opcode: str
    results: tuple[Array, ...]
    rest: str

    @property
    def source(self) -> str:
        """Where in the Python program it comes from, as jax names it; may be empty."""
        found = _NAME.search(self.rest)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Collective:
    """Transfers of one kind between devices in one step, from one place of the program.

    Attributes:
        kind: "all-reduce" and so on.
        source: the place.
        count: how many there are.
        bytes: that a device sends in all of them together, by `Listing.sent`.
    """

    kind: str
    source: str
    count: int
    bytes: int


class Listing:
    """The parsed text of a compiled program."""

    def __init__(self, text: str) -> None:
        found = _PARTITIONS.search(text)
        self._devices = int(found[1]) if found else 1
        self._computations: dict[str, list[Instruction]] = {}
        self._entry, current = "", []
        for line in text.splitlines():
            if header := _HEADER.match(line):
                current = self._computations.setdefault(header[2], [])
                if header[1]:
                    self._entry = header[2]
            elif found := _INSTRUCTION.match(line):
                arrays = tuple(_arrays(found[2]))
                current.append(_instruction(found[1], found[3], arrays, found[4]))

    @functools.cached_property
    def instructions(self) -> list[tuple[Instruction, int, bool]]:
        """Every instruction that runs, how often in a step, and whether inside a fused one."""
        return list(self._run(self._entry, 1, False))

    def _run(self, name: str, times: int, fused: bool) -> Iterator[tuple[Instruction, int, bool]]:
        for instruction in self._computations.get(name, ()):
            yield instruction, times, fused
            if instruction.opcode.endswith(("-done", "-update")) or instruction.opcode in (
                *COLLECTIVES,
                *("reduce", "reduce-window", "sort", "scatter", "select-and-scatter", "map"),
            ):
                continue  # what they call is the sum or comparison of two numbers
            trips = self._trips(instruction) if instruction.opcode == "while" else 1
            called = _CALLED.findall(instruction.rest)
            for group in _BRANCHES.findall(instruction.rest):
                called += re.findall(r"[\w.\-]+", group)
            for callee in called:
                inside = fused or instruction.opcode == "fusion"
                yield from self._run(callee, times * trips, inside)

    def _trips(self, loop: Instruction) -> int:
        """How often a loop runs: the number that its condition compares with."""
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(known[1])
        condition = _CONDITION.search(loop.rest)
        numbers = [
            int(found[1])
            for instruction in self._computations.get(condition[1] if condition else "", ())
            if instruction.opcode == "constant"
            and (found := re.match(r"(\d+)\)", instruction.rest))
        ]
        return max(numbers, default=1)

    def cycles(self) -> int:
        """The compiler's estimates added up, loops as often as they run.

        It estimates none for Pallas kernels, random bits, gather, scatter, sort, collectives and
        the waiting for copies: a lower bound, and no promise.
        """
        return sum(
            times * int(found[1])
            for instruction, times, fused in self.instructions
            if not fused and (found := _CYCLES.search(instruction.rest))
        )

    def not_estimated(self) -> dict[str, int]:
        """How many instructions run in a step that `cycles` counts as nothing, by kind."""
        counts = Counter()
        for instruction, times, _ in self.instructions:
            if instruction.opcode in _NOT_ESTIMATED:
                counts[instruction.opcode] += times
            elif instruction.opcode == "custom-call" and '"tpu_custom_call"' in instruction.rest:
                counts["Pallas kernel"] += times
        for transfer, times in self.transfers():
            counts[transfer.opcode] += times
        return dict(sorted(counts.items()))

    def transfers(self) -> list[tuple[Instruction, int]]:
        """Every operation between devices, and how often it runs in a step.

        A TPU writes some reduce-scatters as an all-reduce fused with what picks out a part of it;
        and one that goes on during other operations stands in each fusion that takes part in it,
        as a link of one chain.
        """
        found, chains = [], set()
        for instruction, times, _ in self.instructions:
            if instruction.opcode in COLLECTIVES:
                if chain := _CHAIN.search(instruction.rest):
                    if chain[1] in chains:
                        continue
                    chains.add(chain[1])
                if instruction.name in self._parts_kept:
                    instruction = dataclasses.replace(instruction, opcode="reduce-scatter")
                found.append((instruction, times))
        return found

    @functools.cached_property
    def _parts_kept(self) -> set[str]:
        """Names of all-reduces of which each device keeps its part alone."""
        return {
            instruction.name
            for name, instructions in self._computations.items()
            if name.startswith("all-reduce-scatter")
            for instruction in instructions
            if instruction.opcode == "all-reduce"
        }

    def collectives(self) -> list[Collective]:
        """Transfers between devices, the largest first."""
        found: Counter[tuple[str, str]] = Counter()
        size: Counter[tuple[str, str]] = Counter()
        for instruction, times in self.transfers():
            key = instruction.opcode, _place(self.source(instruction))
            found[key] += times
            size[key] += times * sum(sent for _, sent in self.sent(instruction))
        groups = [Collective(*key, found[key], size[key]) for key in found]
        return sorted(groups, key=lambda group: -group.bytes)

    def source(self, instruction: Instruction) -> str:
        """Where in the Python program it comes from; of a sum, else where its addition does."""
        added = re.search(r"\bto_apply=%?([\w.\-]+)", instruction.rest)
        inside = self._computations.get(added[1], []) if added else []
        return instruction.source or next((part.source for part in inside if part.source), "")

    def sent(self, transfer: Instruction) -> list[tuple[Array, int]]:
        """The whole arrays that a transfer sums or puts together, each with what a device sends.

        In bytes, around a ring of g devices: (g - 1) / g of an array that each has a part of or
        keeps a part of; of a sum that every device gets, twice that; else all of the array.
        """
        arrays = transfer.results
        if transfer.opcode == "reduce-scatter":
            operands = re.findall(r"%([\w.\-]+)", transfer.rest.partition(")")[0])
            arrays = [array for name in operands for array in self._results.get(name, ())]
        group = self._group(transfer)
        if transfer.opcode == "all-reduce":
            return [(array, 2 * array.bytes * (group - 1) // group) for array in arrays]
        if transfer.opcode in ("reduce-scatter", "all-gather", "all-to-all"):
            return [(array, array.bytes * (group - 1) // group) for array in arrays]
        return [(array, array.bytes) for array in arrays]

    def _group(self, transfer: Instruction) -> int:
        """How many devices exchange with one another; all where the listing names no groups."""
        found = _GROUPS.search(transfer.rest)
        if not found:
            return self._devices
        return len(found[1].split(",")) if found[1] else int(found[2])

    @functools.cached_property
    def _results(self) -> dict[str, tuple[Array, ...]]:
        """What every instruction gives, by its name."""
        return {
            instruction.name: instruction.results
            for instructions in self._computations.values()
            for instruction in instructions
        }


def _instruction(name: str, opcode: str, arrays: tuple[Array, ...], rest: str) -> Instruction:
    """An asynchronous start as the operation itself: it lists its operands before its results."""
    if opcode in ("all-gather-start", "collective-permute-start"):
        arrays = arrays[len(arrays) // 2 :] if opcode == "all-gather-start" else arrays[1:2]
    return Instruction(name, opcode.removesuffix("-start"), arrays, rest)


def _arrays(text: str) -> Iterator[Array]:
    for dtype, shape in _ARRAY.findall(text):
        yield Array(dtype, tuple(int(size) for size in shape.split(",") if size))


def _place(source: str) -> str:
    """The end of a source's name, without the wrappers that jax puts around everything."""
    parts = [part for part in source.split("/") if not re.match(r"(jit|jvp|shard_map)\b", part)]
    return "/".join(parts[-3:])
