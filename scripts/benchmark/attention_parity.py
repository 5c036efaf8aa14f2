"""How far an attention kernel is from the plain implementation.

    python -m scripts.benchmark.attention_parity [--json]          the TPU's, interpreted on a CPU
    python -m scripts.benchmark.attention_parity --device gpu      a Hopper GPU's, on one

Queries, keys, values and the result's gradient are standard normal; rows are packed with three
pairs and padding, or hold one pair. Every figure is the largest error of any element over the
largest element, against the plain path in float32 with the same dropout bits: of the attended
values, and of the worst of the three gradients. Beside it the same for the plain path itself in
the case's dtype: what rounding alone does.
"""

import argparse
import functools
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.model.attention import attend
from bertjax.model.attention_tpu import fused_attention
from bertjax.model.dropout import Dropout
from bertjax.settings import HOPPER_HEAD_DIMS
from scripts.benchmark.gpu import need_gpu

BATCH, HEADS, SITE = 2, 4, 1
CASES = (  # lengths and head sizes
    *((128, 64), (200, 64), (512, 64)),
    *((256, 32), (256, 128)),
)
DTYPES: dict[str, tuple[str, ...]] = {"cpu": ("float32", "bfloat16"), "gpu": ("bfloat16",)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--device", choices=DTYPES, default="cpu")
    parsed = parser.parse_args()
    as_json, gpu = parsed.json, parsed.device == "gpu"
    if gpu:
        need_gpu()
    else:
        jax.config.update("jax_platforms", "cpu")
    names = ("length", "head_dim", "dtype", "dropout", "values", "gradients")
    names += ("plain_values", "plain_gradients")
    if not as_json:
        print("|", " | ".join(names), "|\n|", "---|" * len(names))
    for (length, head_dim), dtype, rate in itertools.product(
        CASES, DTYPES[parsed.device], (0.0, 0.1)
    ):
        if gpu and head_dim not in HOPPER_HEAD_DIMS:
            continue
        figures = errors(length, head_dim, dtype, rate)
        row = dict(zip(names, (length, head_dim, dtype, rate, *figures), strict=True))
        shown = (f"{x:.1e}" if number > 3 else x for number, x in enumerate(row.values()))
        print(json.dumps(row) if as_json else f"| {' | '.join(map(str, shown))} |", flush=True)


def errors(length: int, head_dim: int, dtype: str, rate: float) -> list[float]:
    """The kernel's errors of values and gradients, then the plain path's."""
    random = np.random.default_rng(0)
    exact = random.standard_normal((4, BATCH, length, HEADS * head_dim)).astype(np.float32)
    if dtype == "bfloat16":  # what both paths are given
        exact = np.asarray(jnp.asarray(exact, dtype), np.float32)
    given = jnp.asarray(exact, dtype)
    pair_ids = packed(length)
    expected = results(plain, rate, exact, pair_ids)
    found = [results(attention, rate, given, pair_ids) for attention in (fused, plain)]
    return [figure for one in found for figure in largest_errors(one, expected)]


def packed(length: int) -> np.ndarray:
    """int32 [batch, length]: a row of three pairs and padding, and one of a single pair."""
    ends = [length // 3, length // 2, length - length // 10]
    pair = np.searchsorted(ends, np.arange(length), side="right") + 1
    return np.stack([np.where(pair == 4, 0, pair), np.ones(length)]).astype(np.int32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def results(
    attention: Callable[..., jax.Array], rate: float, arrays: jax.Array, pair_ids: jax.Array
) -> list[jax.Array]:
    """The attended values, and the gradients of query, key and value."""
    *operands, gradient = arrays
    dropout = Dropout(rate, jax.random.key(1), jnp.arange(BATCH))
    attended, back = jax.vjp(lambda *three: attention(*three, pair_ids, dropout), *operands)
    return [attended, *back(gradient)]


def plain(query: jax.Array, key: Any, value: Any, pair_ids: Any, dropout: Dropout) -> jax.Array:
    """`attend` of [batch, length, hidden]."""
    shape = (*query.shape[:2], HEADS, -1)
    query, key, value = (array.reshape(shape) for array in (query, key, value))
    attended, _ = attend(query, key, value, pair_ids, dropout, SITE)
    return attended.reshape(*attended.shape[:2], -1)


def fused(query: jax.Array, key: Any, value: Any, pair_ids: Any, dropout: Dropout) -> jax.Array:
    """The kernel of the device; on a CPU a TPU's, interpreted."""
    if jax.default_backend() == "gpu":
        return fused_on_gpu(query, key, value, pair_ids, dropout)
    return fused_attention(
        query,
        key,
        value,
        pair_ids,
        *_words(query, dropout),
        head_dim=query.shape[-1] // HEADS,
        rate=dropout.rate,
        interpret=True,
    )


def fused_on_gpu(
    query: jax.Array, key: jax.Array, value: jax.Array, pair_ids: Any, dropout: Dropout
) -> jax.Array:
    """A Hopper GPU's kernel."""
    from bertjax.model.attention_gpu import fused_attention as gpu_attention

    return gpu_attention(
        jnp.concatenate([query, key, value], axis=-1),
        pair_ids,
        *_words(query, dropout),
        head_dim=query.shape[-1] // HEADS,
        rate=dropout.rate,
    )


def _words(query: jax.Array, dropout: Dropout) -> tuple[jax.Array, ...]:
    return dropout.words(SITE, (HEADS, query.shape[1], query.shape[1]))


def largest_errors(found: Sequence[Any], expected: Sequence[Any]) -> tuple[float, float]:
    """Of the values and of the gradients, relative to the largest element of each array."""
    errors = [
        float(np.abs(np.asarray(one, np.float32) - other).max() / np.abs(other).max())
        for one, other in zip(found, map(np.asarray, expected), strict=True)
    ]
    return errors[0], max(errors[1:])


if __name__ == "__main__":
    main()
