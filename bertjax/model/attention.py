"""Multi-head self-attention (Vaswani et al. 2017, section 3.2), kept within each packed pair."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, PartitionSpec

from bertjax.config import LONGEST_FUSED, ModelConfig
from bertjax.model.dropout import Dropout, bit_words
from bertjax.model.layers import Dense, Keys
from bertjax.model.matmul import matmul_precision
from bertjax.model.positions import MASKED, Selected
from bertjax.model.sharding import TENSOR_AXIS


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    site: int,
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
    scores = jnp.einsum(
        "bnqd,bnkd->bnqk", query, key, precision=precision, preferred_element_type=jnp.float32
    )
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


def attention_path(setting: str, platform: str, length: int, lanes: int, head_dim: int) -> str:
    """Which of the two implementations runs: "plain" (`attend`) or "fused" (attention_kernel.py).

    Fused on a TPU from 256 positions on: at 128 XLA's own fusions are as fast, by the compiler's
    estimate. Elsewhere plain: cuDNN's attention has neither dropout nor pair ids. A layer that
    attends from selected positions alone is plain, whatever this says.

    Args:
        setting: `model.attention`.
        platform: what is compiled for: "cpu", "gpu" or "tpu".
        length: positions in a row.
        lanes: of the heads that one device has, side by side.
        head_dim: of these, one head's.
    """
    if setting == "auto":
        whole_groups = lanes % 128 == 0 and 128 % head_dim == 0
        worthwhile = platform == "tpu" and 256 <= length <= LONGEST_FUSED
        return "fused" if worthwhile and whole_groups else "plain"
    return setting


def _attend_fused(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    site: int,
    head_dim: int,
) -> jax.Array:
    """What `attend` returns first, of [batch, length, hidden], computed on each device alone."""
    from bertjax.model.attention_kernel import fused_attention  # Pallas takes long to load

    _, length, hidden = query.shape
    words = ()
    if dropout.active:
        assert dropout.key is not None
        assert dropout.row_ids is not None, "dropout needs row_ids"
        shape = (hidden // head_dim, length, length)
        words = bit_words(dropout.key, site, dropout.row_ids, shape)
    attention = functools.partial(
        fused_attention,
        head_dim=head_dim,
        rate=dropout.rate,
        interpret=_platform(query) != "tpu",
    )
    mesh = _mesh(query)
    if mesh.size == 1 or not mesh.auto_axes:  # one device, or its own part of the rows already
        return attention(query, key, value, pair_ids, *words)
    rows = tuple(name for name in mesh.auto_axes if name != TENSOR_AXIS)
    heads = TENSOR_AXIS if TENSOR_AXIS in mesh.auto_axes else None
    whole, by_row = PartitionSpec(rows, None, heads), PartitionSpec(rows)
    by_word = (PartitionSpec(rows, heads), by_row) if words else ()
    split = jax.shard_map(
        attention,
        mesh=mesh,
        in_specs=(whole, whole, whole, by_row, *by_word),
        out_specs=whole,
        axis_names=set(mesh.auto_axes),
        check_vma=False,
    )
    return split(query, key, value, pair_ids, *words)


def _mesh(array: jax.Array) -> AbstractMesh:
    """The devices that an array's program is compiled for; empty where nothing says so."""
    return jax.typeof(array).sharding.mesh


def _platform(array: jax.Array) -> str:
    """Of these devices, which need not be attached: "cpu", "gpu" or "tpu"."""
    device = _mesh(array).abstract_device
    return jax.default_backend() if device is None else device.platform


class SelfAttention(nnx.Module):
    """Separate query, key and value projections, attention, and the output projection."""

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
        site: int,
        need_probabilities: bool = False,
        selected: Selected | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Attention of `asking` to `hidden` [batch, length, hidden].

        Args:
            asking: `hidden` itself, or its rows at the `selected` positions.

        Returns:
            the output, shaped as `asking`, and the probabilities if they are needed.
        """
        query, key, value = self.query(asking), self.key(hidden), self.value(hidden)
        head_dim = hidden.shape[2] // self.num_heads
        lanes = hidden.shape[2] // _mesh(query).shape.get(TENSOR_AXIS, 1)
        path = attention_path(self.setting, _platform(query), hidden.shape[1], lanes, head_dim)
        if path == "fused" and not need_probabilities and selected is None:
            attended = _attend_fused(query, key, value, pair_ids, dropout, site, head_dim)
            return self.output(attended), None
        heads = (self.num_heads, head_dim)
        query, key, value = (
            array.reshape(*array.shape[:2], *heads) for array in (query, key, value)
        )
        attended, probabilities = attend(query, key, value, pair_ids, dropout, site, selected)
        return self.output(attended.reshape(asking.shape)), probabilities
