"""How long the GPU's attention takes: the kernel, the plain path, and cuDNN's.

    python -m scripts.benchmark.attention_time [--json]

Queries, keys and values come in one array, as a projection leaves them, bfloat16, heads of 64, rows
of one pair; forward and backward together, milliseconds, the shortest of three rounds of 30 calls
that wait for the last alone. cuDNN's has neither dropout nor pair ids.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from bertjax.model.attention import attend
from bertjax.model.attention_gpu import fused_attention
from bertjax.model.dropout import Dropout, bit_words
from scripts.benchmark.gpu import need_gpu

SHAPES = ((256, 128, 12), (64, 512, 12), (128, 128, 16), (32, 512, 16))  # rows, length, heads
HEAD_DIM, SITE, ROUNDS, CALLS = 64, 1, 3, 30

Attention = Callable[[jax.Array], jax.Array]


def main() -> None:
    """Prints a line for each shape and implementation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    as_json = parser.parse_args().json
    need_gpu()
    for rows, length, heads in SHAPES:
        shape = f"{rows} x {length}, {heads} heads"
        for name, attention in implementations(rows, length, heads):
            found = milliseconds(attention, rows, length, heads)
            figures = {"device": jax.devices()[0].device_kind, "shape": shape, "name": name}
            line = (
                json.dumps(figures | {"ms": found}) if as_json else f"{shape}, {name}: {found:.3f}"
            )
            print(line, flush=True)


def implementations(rows: int, length: int, heads: int) -> Iterator[tuple[str, Attention]]:
    """Each takes the projections [rows, length, 3 * hidden] and returns [rows, length, hidden]."""
    pair_ids = jnp.ones((rows, length), jnp.int32)
    dropout = Dropout(0.1, jax.random.key(1), jnp.arange(rows))
    assert dropout.key is not None
    assert dropout.row_ids is not None
    words = bit_words(dropout.key, SITE, dropout.row_ids, (heads, length, length))

    def kernel(projections: jax.Array, *words: jax.Array) -> jax.Array:
        return fused_attention(projections, pair_ids, *words, head_dim=HEAD_DIM, rate=0.1)

    def split(projections: jax.Array) -> list[jax.Array]:
        parts = jnp.split(projections, 3, axis=-1)
        return [part.reshape(rows, length, heads, HEAD_DIM) for part in parts]

    def plain(projections: jax.Array) -> jax.Array:
        query, key, value = split(projections)
        attended, _ = attend(query, key, value, pair_ids, dropout, SITE)
        return attended.reshape(rows, length, -1)

    def cudnn(projections: jax.Array) -> jax.Array:
        query, key, value = split(projections)
        attended = jax.nn.dot_product_attention(query, key, value, implementation="cudnn")
        return attended.reshape(rows, length, -1)

    yield "kernel, dropout 0.1", lambda projections: kernel(projections, *words)
    yield "kernel, no dropout", kernel
    yield "plain, dropout 0.1", plain
    yield "cuDNN, no dropout", cudnn


def milliseconds(attention: Attention, rows: int, length: int, heads: int) -> float:
    """Of the values and the projections' gradient."""
    lanes = heads * HEAD_DIM
    key, other = jax.random.split(jax.random.key(0))
    projections = jax.random.normal(key, (rows, length, 3 * lanes), jnp.bfloat16)
    gradient = jax.random.normal(other, (rows, length, lanes), jnp.bfloat16)

    @jax.jit
    def run(projections: jax.Array, gradient: jax.Array) -> Any:
        attended, back = jax.vjp(attention, projections)
        return attended, back(gradient)

    call = functools.partial(run, projections, gradient)
    jax.block_until_ready([call() for _ in range(ROUNDS)])
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        jax.block_until_ready([call() for _ in range(CALLS)][-1])
        times.append((time.perf_counter() - started) / CALLS)
    return 1e3 * min(times)


if __name__ == "__main__":
    main()
