"""How fast the loader delivers batches, how full they are, and how soon any step is there.

    python scripts/benchmark/loader.py DATA [DATA ...] [--json FILE]
    python scripts/benchmark/loader.py --synthetic 10_000_000

The first form reads folders that `bertjax prepare` made and prints, per folder, length and
packing: real tokens per second from the prefetching iterator, and per second of processor time
(training shares the cores); the share of positions that hold a token; the share of pairs that a
window dropped or drew again. The second form takes documents of made-up lengths.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.config import DataConfig
from bertjax.data.loader import Batches, prefetch
from bertjax.data.random_bits import fold_in, random_bits, uniform
from bertjax.data.shards import open_split
from bertjax.data.windows import epoch_stream
from bertjax.text.records import TokenizedDocument

BATCH_TOKENS = 16_384
TRAINING_TOKENS_PER_SECOND = 1e6
MEAN_DOCUMENT_TOKENS = 500


@dataclass(frozen=True)
class SpecialTokens:
    """Ids as good as any: nothing here looks at them."""

    pad_id: int = 0
    classifier_id: int = 1
    separator_id: int = 2


class SyntheticDocuments:
    """Documents of exponentially distributed lengths with sentences of about 25 tokens."""

    def __init__(self, documents: int) -> None:
        self.token_counts = np.empty(documents, np.uint32)
        for start in range(0, documents, 1 << 20):
            part = self.token_counts[start : start + (1 << 20)]
            part[:] = 8 - MEAN_DOCUMENT_TOKENS * np.log1p(-uniform(fold_in(0, start), len(part)))

    def read(self, indices: Sequence[int]) -> list[TokenizedDocument]:
        """Documents made up from their numbers."""
        return [self._document(index) for index in indices]

    def _document(self, index: int) -> TokenizedDocument:
        tokens = int(self.token_counts[index])
        ends = random_bits(index, tokens // 25) % np.uint64(tokens)
        bounds = np.concatenate([[0], np.unique(ends.astype(np.int64)), [tokens]])
        ids = (random_bits(index, tokens) % np.uint64(30_000)).astype(np.uint16)
        return TokenizedDocument(ids, np.diff(bounds).astype(np.int32))


def measure_delivery(data_folder: str, length: int, packing: bool) -> dict[str, Any]:
    """One row of the table: one epoch, at least 20 million positions, through `prefetch`."""
    data = DataConfig(length=length, packing=packing)
    training = Batches(
        open_split(data_folder, "train"), SpecialTokens(), data, BATCH_TOKENS // length, seed=0
    )
    epoch = training.windows * training.rows_per_window // training.rows
    steps = max(epoch, 20_000_000 // BATCH_TOKENS)
    iterator = prefetch(training)
    next(iterator)
    real, wall, processor = 0, time.perf_counter(), time.process_time()
    for batch in islice(iterator, steps):
        real += np.count_nonzero(batch["pair_ids"])
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    dropped, redrawn = dropped_and_redrawn(training)
    return {
        "data": data_folder,
        "length": length,
        "packing": packing,
        "tokens_per_second": real / wall,
        "tokens_per_processor_second": real / processor,
        "real": real / (steps * BATCH_TOKENS),
        "dropped": dropped,
        "redrawn": redrawn,
    }


def table_row(row: dict[str, Any]) -> str:
    """Markdown."""
    rates = [f"{row[f'tokens_per_{kind}'] / 1e6:.1f}" for kind in ("second", "processor_second")]
    shares = [f"{row[name]:.2%}" for name in ("real", "dropped", "redrawn")]
    packed = "yes" if row["packing"] else "no"
    return f"| {' | '.join([row['data'], str(row['length']), packed, *rates, *shares])} |"


def dropped_and_redrawn(training: Batches) -> tuple[float, float]:
    """Shares of the pairs drawn, over at least ten windows of whole epochs."""
    count = training.windows * -(-10 // training.windows)
    windows = [training.window(number) for number in range(min(count, 200))]
    drawn = sum(window.drawn for window in windows)
    redrawn = sum(window.redrawn for window in windows)
    kept = sum(len(window.pairs.labels) for window in windows)
    return (drawn + redrawn - kept) / drawn, redrawn / drawn


def measure_random_access(count: int, length: int) -> None:
    """Prints how soon a step is there, and what planning an epoch costs."""
    documents = SyntheticDocuments(count)
    tokens = int(documents.token_counts.sum(dtype=np.int64))
    data = DataConfig(length=length)
    training, making = timed(lambda: Batches(documents, SpecialTokens(), data, 256, seed=0))
    epoch = training.windows * training.rows_per_window // training.rows
    first = timed(lambda: training[epoch // 2])[1]
    others = [timed(lambda s=s: training[s])[1] for s in (epoch - 7, 3, epoch // 3, epoch // 5)]
    far = timed(lambda: training[7 * epoch // 2])[1]
    planning = making + timed(lambda: epoch_stream(documents.token_counts, 1, 0, 1))[1]
    share = planning / (tokens / TRAINING_TOKENS_PER_SECOND)
    print(f"length {length}: {count:,} documents, {tokens:,} tokens, {training.windows} windows")
    print("  seconds, wall and processor")
    print(f"  a fresh object and its first step    {making + first}")
    print(f"  another step of that epoch, at most  {np.max(others, axis=0)}")
    print(f"  a step of another epoch              {far}")
    print(f"  planning an epoch                    {planning}")
    print(f"    percent of training at {TRAINING_TOKENS_PER_SECOND:,.0f} tokens/s  {share * 100}")


def timed(work: Callable[[], Any]) -> tuple[Any, np.ndarray]:
    """The result of `work` and its seconds: float64 [wall, processor]."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, np.array([time.perf_counter() - wall, time.process_time() - processor])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="The loader benchmark")
    parser.add_argument("data", nargs="*", help="DATA folders made by bertjax prepare")
    parser.add_argument("--synthetic", type=int, help="documents of made-up lengths")
    parser.add_argument("--json", metavar="FILE", help="write the rows of the table there too")
    arguments = parser.parse_args()
    if arguments.data:
        print(
            "| data | length | packed | M tokens/s | per processor second | real | drop | redrawn |"
        )
        print("|---|---:|---|---:|---:|---:|---:|---:|")
    rows = []
    for data_folder in arguments.data:
        for length in 128, 512:
            for packing in True, False:
                rows.append(measure_delivery(data_folder, length, packing))
                print(table_row(rows[-1]), flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.synthetic:
        np.set_printoptions(precision=3, suppress=True)
        for length in 128, 512:
            measure_random_access(arguments.synthetic, length)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(f"peak memory: {peak:.2f} GB")


if __name__ == "__main__":
    main()
