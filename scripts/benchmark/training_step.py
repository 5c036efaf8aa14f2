"""A full training step: bertjax, Hugging Face with PyTorch eager, and with torch.compile.

    python -m scripts.benchmark.training_step [--case base mini-30k mini-8k] [--json FILE]
    python -m scripts.benchmark.training_step --device gpu

Forward, backward, clipping and AdamW on the same rows, without padding, with dropout 0.1; float32
on a CPU, bfloat16 products on a GPU. PyTorch computes the vocabulary at the predicted positions
alone too, its AdamW is the fused one and its attention `scaled_dot_product_attention`; its last
layer is computed at every position, as its model has it, bertjax's where something is read (5% of
base's arithmetic, 13 to 16% of mini's).

Each side is a process of its own; they take turns, so that all share whatever else the machine
does. bertjax keeps freed memory, as its command does; PyTorch's allocator is as it comes, and with
the same it gains (docs/measured.md). A round is a few seconds of steps, one after the other as in a
training loop: nothing waits for a result before the last. A figure is the median round, with the
shortest and the longest; a ratio is the median of the rounds' own.
"""

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from scripts.benchmark.gpu import need_gpu
from scripts.benchmark.training_sides import Action, Case, Side, make_step

CASES = (
    Case("base", 12, 768, 30_522, 8, 128),
    Case("mini-30k", 4, 256, 30_522, 32, 128),
    Case("mini-8k", 4, 256, 8_192, 32, 128),
)
GPU_CASES = (
    Case("base-128", 12, 768, 30_522, 256, 128),
    Case("base-512", 12, 768, 30_522, 64, 512),
    Case("large-128", 24, 1024, 30_522, 128, 128),
    Case("large-512", 24, 1024, 30_522, 32, 512),
)
KINDS = ("bertjax", "eager", "compiled")
_WARM_UP = 3  # steps: compilation, first allocations


def main() -> None:
    arguments = parse_arguments()
    gpu = arguments.device == "gpu"
    cases = [case for case in (GPU_CASES if gpu else CASES) if case.name in arguments.case]
    if not cases:
        raise SystemExit(f"--case {arguments.case[0]} is not for --device {arguments.device}")
    if set(arguments.side) - {"bertjax"} and importlib.util.find_spec("torch") is None:
        raise SystemExit(
            "PyTorch is not installed (pip install torch transformers): --side bertjax"
        )
    os.environ["JAX_PLATFORMS"] = "cuda" if gpu else "cpu"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # the sides share a GPU's memory
    if gpu:  # to try Triton for every product takes minutes, and cuBLAS wins for such large ones
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_enable_triton_gemm=false"
        need_gpu()
    results = [
        measure(case, [Side(kind, gpu) for kind in arguments.side], arguments.rounds)
        for case in cases
    ]
    print(table(results))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [case.name for case in CASES + GPU_CASES]
    parser.add_argument("--case", nargs="+", choices=names, default=names)
    parser.add_argument("--side", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    return parser.parse_args()


def measure(
    case: Case, sides: Sequence[Side], rounds: int, round_seconds: float = 4.0
) -> dict[str, Any]:
    """Every side's seconds per step by round, and what it said of itself."""
    with contextlib.ExitStack() as stack:
        turns = [stack.enter_context(process_of(case, side)) for side in sides]
        told = []
        for turn in turns:  # one after the other: compilation takes all cores
            turn.send(None)
            told.append(turn.recv())
        seconds: list[list[float]] = [[] for _ in sides]
        for number in range(rounds):
            for index in range(len(sides)):
                side = (index + number) % len(sides)
                turns[side].send(max(1, round(round_seconds / told[side]["warm_seconds"])))
                seconds[side].append(turns[side].recv())
    return {
        "case": vars(case),
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "sides": [
            {"side": side.name} | facts | {"seconds": taken}
            for side, facts, taken in zip(sides, told, seconds, strict=True)
        ],
    }


@contextlib.contextmanager
def process_of(case: Case, side: Side) -> Iterator[Connection]:
    """Starts a side; it makes as many steps as it is sent and answers with the seconds of one."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(case, side, its), daemon=True
    )
    process.start()
    its.close()
    yield ours
    ours.close()
    process.join()


def serve(case: Case, side: Side, turns: Connection) -> None:
    """What a side's process does."""
    turns.recv()
    started = time.perf_counter()
    step, wait, facts = make_step(case, side)
    timed(step, wait, 1)
    facts["first_step_seconds"] = time.perf_counter() - started
    warm = [timed(step, wait, 1) for _ in range(_WARM_UP)]
    turns.send(facts | {"warm_seconds": min(warm)})
    with contextlib.suppress(EOFError):
        while True:
            turns.send(timed(step, wait, turns.recv()))


def timed(step: Action, wait: Action, count: int) -> float:
    """Seconds of one of `count` steps."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    wait()
    return (time.perf_counter() - started) / count


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row for each case and side; every ratio is over the first side."""
    first = results[0]
    versions = ", ".join(dict.fromkeys(side["version"] for side in first["sides"]))
    lines = [
        f"{first['machine']}; Python {first['python']}, {versions}; {first['date']}",
        "",
        "| model | side | ms per step (rounds) | real tokens/s | MFU | over the first |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for result in results:
        case, ours = result["case"], result["sides"][0]
        tokens = case["batch_size"] * case["length"]
        for side in result["sides"]:
            middle, low, high = spread(side["seconds"])
            mfu = ours["flops"] / middle / ours["peak"] if ours.get("peak") else None
            lines.append(
                f"| {case['name']}, batch {case['batch_size']} | {side['side']} "
                f"| {1e3 * middle:.1f} ({1e3 * low:.1f}-{1e3 * high:.1f}) "
                f"| {tokens / middle:,.0f} | {f'{mfu:.1%}' if mfu else '-'} "
                f"| {ratio(ours['seconds'], side['seconds'])} |"
            )
    return "\n".join(lines)


def spread(seconds: Sequence[float]) -> tuple[float, float, float]:
    """The median round, the shortest and the longest."""
    return statistics.median(seconds), min(seconds), max(seconds)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """How many times as fast `ours` is: the median round's, smallest and largest."""
    if ours is theirs:
        return ""
    ratios = [their_round / our_round for our_round, their_round in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def processor() -> str:
    """The processor's own name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
