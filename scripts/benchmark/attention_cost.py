"""What the TPU attention kernel costs by the compiler's own schedule, and its dropout in it.

    python scripts/benchmark/attention_cost.py [--kinds v5e,v6e] [--shapes 16x512x768] [--json]

Needs libtpu (`pip install -e '.[aot]'`), no TPU. A kernel's instruction bundles, one a cycle, times
the steps of its grid, over the clock: milliseconds of one layer, forward and backward. Waiting for
memory is not in it, so this is a lower bound and no measurement. Dropout is shown three ways: the
counter hash that the plain path uses too, none, and the bits of the chip's own generator.
"""

import argparse
import functools
import glob
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

SLICES = {"v4": "v4:2x2x1", "v5e": "v5e:2x4", "v5p": "v5p:2x2x1", "v6e": "v6e:2x4"}
SHAPES = "16x512x768,8x512x1024"  # rows, length, hidden of BERT-base and BERT-large
HEAD_DIM, RATE = 64, 0.1


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default="v5e", help=f"of {', '.join(SLICES)}")
    parser.add_argument("--shapes", default=SHAPES, help="ROWSxLENGTHxHIDDEN, by commas")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare_compiler(folder)
        names = ("kind", "rows", "length", "hidden", "dropout", "forward_ms", "backward_ms", "more")
        if not arguments.json:
            print("|", " | ".join(names), "|\n|", "---|" * len(names))
        for kind in arguments.kinds.split(","):
            for shape in arguments.shapes.split(","):
                rows, length, hidden = (int(size) for size in shape.split("x"))
                none = None
                for dropout in ("none", "hash", "hardware"):
                    each = row_seconds(kind, length, dropout, Path(folder))
                    times = [1e3 * rows * (hidden // 128) * seconds for seconds in each]
                    none = none or sum(times)
                    shown = (*(round(time, 3) for time in times), f"{sum(times) / none - 1:.0%}")
                    row = dict(
                        zip(names, (kind, rows, length, hidden, dropout, *shown), strict=True)
                    )
                    line = f"| {' | '.join(map(str, row.values()))} |"
                    print(json.dumps(row) if arguments.json else line, flush=True)


def prepare_compiler(folder: str) -> None:
    """Asks libtpu for its listings; before jax is loaded."""
    assert "jax" not in sys.modules
    os.environ.update(
        JAX_PLATFORMS="cpu",
        LIBTPU_INIT_ARGS=f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true",
    )


@functools.cache
def row_seconds(kind: str, length: int, dropout: str, folder: Path) -> list[float]:
    """Of the forward and of the backward kernel, for one row and one group of heads."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import SingleDeviceSharding

    from bertjax.model import attention_tpu, attention_tpu_bodies
    from bertjax.model.dropout import bit_words
    from bertjax.train.slices import find_slice

    where = find_slice(SLICES[kind])
    assert where.clock is not None
    place = SingleDeviceSharding(where.devices[0])

    def step(query: Any, key: Any, value: Any, pair_ids: Any, gradient: Any) -> Any:
        shape = (128 // HEAD_DIM, length, length)
        words: Any = ()
        if dropout != "none":
            words = bit_words(jax.random.key(0), 0, jnp.arange(1), shape)
        attention = functools.partial(attention_tpu.fused_attention, head_dim=HEAD_DIM, rate=RATE)
        run = lambda q, k, v: attention(q, k, v, pair_ids, *words)  # noqa: E731
        attended, back = jax.vjp(run, query, key, value)
        return attended, back(gradient)

    array = jax.ShapeDtypeStruct((1, length, 128), jnp.bfloat16, sharding=place)
    ids = jax.ShapeDtypeStruct((1, length), jnp.int32, sharding=place)
    for old in folder.glob("*"):
        old.unlink()
    hash_bits = attention_tpu_bodies._kept
    if dropout == "hardware":
        attention_tpu_bodies._kept = hardware_bits
    try:
        jax.jit(step).lower(array, array, array, ids, array).compile()
    finally:
        attention_tpu_bodies._kept = hash_bits
    blocks = length // attention_tpu._query_block(length)
    kernels = ("forward", "backward")
    return [blocks * step_bundles(folder, name) / where.clock for name in kernels]


def hardware_bits(settings: Any, words: Any, columns: Any, head: int) -> Any:
    """In place of the kernel's `_kept`: bits of the chip's generator, another stream per step."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    if not words:
        return None
    step = pl.program_id(0) * pl.num_programs(1) + pl.program_id(1)
    pltpu.prng_seed(step, pl.program_id(2) * settings.heads + head)
    bits = pltpu.prng_random_bits((columns.shape[0], words[0].shape[-1]))
    return jax.lax.bitcast_convert_type(bits, jnp.int32) >= round(settings.rate * 2**32) - 2**31


def step_bundles(folder: Path, name: str) -> int:
    """Instruction bundles of one step of the grid."""
    (file,) = glob.glob(f"{folder}/*attention_{name}*schedule-analysis_final_bundles.txt")
    found = re.search(r"total scheduled bundles: *(\d+)", Path(file).read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main()
