"""Multi-head self-attention (Vaswani et al. 2017, section 3.2), kept within each packed pair."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from bertjax.errors import UserError
from bertjax.model.dropout import Dropout
from bertjax.model.layers import Dense, Keys, add_bias
from bertjax.model.matmul import matmul, matmul_precision, product
from bertjax.model.positions import MASKED, Selected
from bertjax.model.sharding import TENSOR_AXIS, device_of, mesh_of, on_each_device, row_axes
from bertjax.settings import HOPPER_HEAD_DIMS, LONGEST_FUSED, ModelConfig


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    site: int | jax.Array,
    selected: Selected | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Attention of each position to those with the same pair id; padding (0) sees padding.

    Args:
        query: [batch, queries, heads, head_dim], of every position or of the `selected` ones.
        key, value: [batch, length, heads, head_dim].
        pair_ids: int32 [batch, length].
        dropout, site: for the attention probabilities.

    Returns:
        the attended values [batch, queries, heads, head_dim], and the probabilities before dropout
        float32 [batch, heads, queries, length].
    """
    precision = matmul_precision(query.dtype)
    # Heads before positions: a CPU's products take a fifth to a third less time so.
    query, key, value = (array.swapaxes(1, 2) for array in (query, key, value))
    scores = _scores(query, key)
    own_ids = pair_ids
    if selected is not None:
        own_ids = jnp.take_along_axis(pair_ids, selected.positions, axis=1)
    visible = own_ids[:, None, :, None] == pair_ids[:, None, None, :]
    scores = jnp.where(visible, scores * query.shape[-1] ** -0.5, MASKED)
    probabilities = _softmax(scores)
    weights = dropout(probabilities, site, selected).astype(value.dtype)
    attended = jnp.einsum("bnqk,bnkd->bnqd", weights, value, precision=precision)
    return attended.swapaxes(1, 2), probabilities


@jax.custom_vjp
def _scores(query: jax.Array, key: jax.Array) -> jax.Array:
    """Float32 [batch, heads, queries, keys]; the gradient is rounded to the operands' dtype first.

    Left in float32 it would make float32 products of the two that follow, on a GPU at half the
    speed.
    """
    precision = matmul_precision(query.dtype)
    return jnp.einsum(
        "bnqd,bnkd->bnqk", query, key, precision=precision, preferred_element_type=jnp.float32
    )


def _scores_forward(query: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
    return _scores(query, key), (query, key)


def _scores_backward(saved: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    query, key = saved
    gradient = gradient.astype(query.dtype)
    return product(gradient, key), product(gradient.swapaxes(2, 3), query)


_scores.defvjp(_scores_forward, _scores_backward)


@jax.custom_vjp
def _softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis whose gradient needs its output alone."""
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    probabilities = _softmax(scores)
    return probabilities, probabilities


def _softmax_backward(probabilities: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    product = probabilities * gradient
    return (product - probabilities * jnp.sum(product, axis=-1, keepdims=True),)


_softmax.defvjp(_softmax_forward, _softmax_backward)


def attention_path(setting: str, device: str, length: int, lanes: int, head_dim: int) -> str:
    """Which of the implementations runs: "plain" (`attend`) or "fused", the device's own kernel.

    Fused on a TPU from 256 positions on: at 128 XLA's own fusions are as fast, by the compiler's
    estimate. On a GPU of the Hopper kind from 128 to 512. Elsewhere plain: cuDNN's attention has
    neither dropout nor pair ids. A layer that attends from selected positions alone is plain,
    whatever this says.

    Args:
        setting: `model.attention`.
        device: what is compiled for: "cpu", "gpu", "hopper" (a GPU where its kernel runs) or "tpu".
        length: positions in a row.
        lanes: of the heads that one device has, side by side.
        head_dim: of these, one head's.

    Raises:
        UserError: "fused" is set for a GPU without the kernel.
    """
    if setting == "fused" and (
        device == "gpu" or (device == "hopper" and head_dim not in HOPPER_HEAD_DIMS)
    ):
        raise UserError(
            "model.attention=fused: the GPU's kernel is for H100 and H200, bfloat16, heads of 64 "
            "or 128, no tensor parallelism, jax 0.11 or newer; leave it at auto"
        )
    if setting != "auto":
        return setting
    whole_groups = lanes % 128 == 0 and 128 % head_dim == 0
    # On the GPU nothing else than heads of 64 up to 512 positions has been tried.
    kernels = {"tpu": (256, LONGEST_FUSED, whole_groups), "hopper": (128, 512, head_dim == 64)}
    shortest, longest, fits = kernels.get(device, (0, 0, False))
    return "fused" if fits and shortest <= length <= longest else "plain"


def _attend_on_tpu(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    site: int | jax.Array,
    head_dim: int,
) -> jax.Array:
    """What `attend` returns first, of [batch, length, hidden], computed on each device alone."""
    from bertjax.model.attention_tpu import fused_attention  # Pallas takes long to load

    _, length, hidden = query.shape
    words = dropout.words(site, (hidden // head_dim, length, length))
    attention = functools.partial(
        fused_attention,
        head_dim=head_dim,
        rate=dropout.rate,
        interpret=device_of(query, query.dtype) != "tpu",
    )
    rows, heads = row_axes(query), TENSOR_AXIS if TENSOR_AXIS in mesh_of(query).auto_axes else None
    whole, by_row = PartitionSpec(rows, None, heads), PartitionSpec(rows)
    by_word = (PartitionSpec(rows, heads), by_row) if words else ()
    split = on_each_device(attention, query, (whole, whole, whole, by_row, *by_word), whole)
    return split(query, key, value, pair_ids, *words)


def _attend_on_gpu(
    projections: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    site: int | jax.Array,
    head_dim: int,
) -> jax.Array:
    """The same of queries, keys and values in one array [batch, length, 3 * hidden]."""
    from bertjax.model.attention_gpu import fused_attention

    _, length, lanes = projections.shape
    words = dropout.words(site, (lanes // (3 * head_dim), length, length))
    attention = functools.partial(fused_attention, head_dim=head_dim, rate=dropout.rate)
    by_row = PartitionSpec(row_axes(projections))
    split = on_each_device(attention, projections, (by_row,) * (2 + len(words)), by_row)
    return split(projections, pair_ids, *words)


class SelfAttention(nnx.Module):
    """Separate query, key and value projections and attention.

    The output projection is held here and applied by whoever adds its result to the residual.
    """

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        hidden = config.hidden_size
        self.num_heads = config.num_heads
        self.setting = config.attention
        self.query = Dense(hidden, hidden, ("embed", "heads"), config, dtype, rngs)
        self.key = Dense(hidden, hidden, ("embed", "heads"), config, dtype, rngs)
        self.value = Dense(hidden, hidden, ("embed", "heads"), config, dtype, rngs)
        self.output = Dense(hidden, hidden, ("heads", "embed"), config, dtype, rngs)

    def __call__(
        self,
        asking: jax.Array,
        hidden: jax.Array,
        pair_ids: jax.Array,
        dropout: Dropout,
        site: int | jax.Array,
        need_probabilities: bool = False,
        selected: Selected | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Attention of `asking` to `hidden` [batch, length, hidden].

        Args:
            asking: `hidden` itself, or its rows at the `selected` positions.

        Returns:
            the attended values, shaped as `asking`, and the probabilities if they are needed.
        """
        head_dim = hidden.shape[2] // self.num_heads
        device = device_of(hidden, self.query.dtype)
        lanes = hidden.shape[2] // mesh_of(hidden).shape.get(TENSOR_AXIS, 1)
        path = attention_path(self.setting, device, hidden.shape[1], lanes, head_dim)
        if path == "fused" and not need_probabilities and selected is None:
            if device == "hopper":
                projections = self._project(hidden)
                return _attend_on_gpu(projections, pair_ids, dropout, site, head_dim), None
            parts = (self.query(hidden), self.key(hidden), self.value(hidden))
            return _attend_on_tpu(*parts, pair_ids, dropout, site, head_dim), None
        query, key, value = (
            part(array).reshape(*array.shape[:2], self.num_heads, head_dim)
            for part, array in ((self.query, asking), (self.key, hidden), (self.value, hidden))
        )
        attended, probabilities = attend(query, key, value, pair_ids, dropout, site, selected)
        return attended.reshape(asking.shape), probabilities

    def _project(self, hidden: jax.Array) -> jax.Array:
        """Queries, keys and values [batch, length, 3 * hidden] in one product."""
        parts = (self.query, self.key, self.value)
        kernel = jnp.concatenate([part.kernel[...] for part in parts], axis=1)
        bias = jnp.concatenate([part.bias[...] for part in parts])
        return add_bias(matmul(hidden.astype(self.query.dtype), kernel), bias)
