"""BERT (Devlin et al. 2018) as functions of a plain dict of weights.

The modules are Flax NNX; outside this package the weights are a nested dict of arrays: the
encoder's `embeddings` and `layers` (by number, as a string), and those of `HEADS` that the model
has.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from bertjax.config import ModelConfig
from bertjax.model.dropout import Dropout
from bertjax.model.encoder import SITES_PER_LAYER, Embeddings, EncoderLayer
from bertjax.model.heads import LinearHead, MlmHead, Pooler
from bertjax.model.layers import Keys, vocab_rows
from bertjax.model.positions import Selected, position_ids
from bertjax.model.sharding import split_rows

Params = dict[str, Any]
PRETRAINING_HEADS = ("mlm_head", "pooler", "nsp_head")
HEADS = (*PRETRAINING_HEADS, "classification_head", "tagging_head", "span_head")


class Encoded(NamedTuple):
    """What the encoder returns; the tuples are empty unless asked for."""

    hidden: jax.Array  # [batch, length or count, hidden], after the last layer
    hidden_states: tuple[jax.Array, ...]  # num_layers + 1; [0] is the embeddings
    attentions: tuple[jax.Array, ...]  # num_layers, float32 [batch, heads, length, length]


class Encoder(nnx.Module):
    """The embeddings and the layers."""

    def __init__(self, config: ModelConfig, dtype: jnp.dtype, rngs: Keys) -> None:
        self.remat = config.remat
        self.embeddings = Embeddings(config, dtype, rngs)
        self.layers = nnx.List(
            [EncoderLayer(config, dtype, rngs) for _ in range(config.num_layers)]
        )

    def __call__(
        self,
        token_ids: jax.Array,
        segment_ids: jax.Array,
        pair_ids: jax.Array,
        dropout: Dropout,
        attention: bool = False,
        positions: jax.Array | None = None,
    ) -> Encoded:
        """Every hidden state is kept, and every attention if asked for.

        The last layer computes `positions` int32 [batch, count] alone, if they are given.
        """
        hidden = self.embeddings(token_ids, segment_ids, position_ids(pair_ids), dropout)
        hidden = split_rows(hidden)
        states, attentions = [hidden], []
        last = None if positions is None else Selected(positions, token_ids.shape[1])
        for number, layer in enumerate(self.layers):
            first_site = 1 + number * SITES_PER_LAYER
            selected = last if number == len(self.layers) - 1 else None
            others = (pair_ids, dropout, first_site, selected)
            hidden, probabilities = _apply(layer, hidden, others, attention, self.remat)
            hidden = split_rows(hidden)
            states.append(hidden)
            attentions.append(probabilities)
        return Encoded(hidden, tuple(states), tuple(attentions) if attention else ())


def init_params(
    config: ModelConfig, key: jax.Array, heads: Sequence[str] = PRETRAINING_HEADS
) -> Params:
    """Fresh float32 weights of the encoder and of `heads`, some of `HEADS`.

    A pure function of the key, the same for any sharding under jit.
    """
    rngs = Keys(key)
    with nnx.use_eager_sharding(False):
        return _by_part(
            heads, lambda name: nnx.state(_part(name, config, jnp.float32, rngs), nnx.Param)
        )


def logical_axes(config: ModelConfig, heads: Sequence[str] = PRETRAINING_HEADS) -> Params:
    """The weights' tree with a tuple of logical axis names in place of each array.

    Names are "vocab", "embed", "mlp", "heads", "position", or None for an axis never cut.
    """
    with nnx.use_eager_sharding(False):
        specs = _by_part(
            heads,
            lambda name: nnx.get_partition_spec(
                nnx.state(_abstract(name, config, jnp.dtype(jnp.float32)), nnx.Param)
            ),
        )
    is_spec = lambda leaf: isinstance(leaf, jax.sharding.PartitionSpec)  # noqa: E731
    return jax.tree.map(tuple, specs, is_leaf=is_spec)


def forward(
    params: Params,
    config: ModelConfig,
    token_ids: jax.Array,
    segment_ids: jax.Array,
    pair_ids: jax.Array,
    *,
    compute_dtype: Any = jnp.float32,
    dropout_key: jax.Array | None = None,
    row_ids: jax.Array | None = None,
    all_hidden: bool = False,
    attention: bool = False,
    positions: jax.Array | None = None,
) -> Encoded:
    """The encoder's hidden states.

    Layers have reverse-mode gradients of their own, so `jax.grad` of it and `vmap` work, but
    `jax.jvp` and `jax.jacfwd` do not; `jax.grad` twice only without kernels, where `attention` and
    `epilogues` are plain.

    Args:
        params: as from `init_params`.
        config: its `dropout` is applied where `dropout_key` is given.
        token_ids, segment_ids, pair_ids: int32 [batch, length]; pair id 0 is padding, and what
            comes out there is finite but means nothing.
        compute_dtype: of the matrix products; float32 means full-precision products everywhere.
        dropout_key: a key that is new every step, or None for no dropout.
        row_ids: int32 [batch], each row's number in the global batch; needed with `dropout_key`.
        all_hidden, attention: whether to keep every layer's states and probabilities; the latter
            takes the plain attention, whatever `config.attention`.
        positions: int32 [batch, count], where the last hidden states are wanted: `hidden` is then
            [batch, count, hidden], the same values. The last layer's queries and feed-forward are
            computed for these alone, which saves most of that layer; its keys and values for all.

    Raises:
        ValueError: `positions` beside `all_hidden` or `attention`, which are of every position.
    """
    if positions is not None and (all_hidden or attention):
        raise ValueError("positions: only where neither all_hidden nor attention is asked for")
    dropout = Dropout(config.dropout, dropout_key, row_ids)
    layers = {int(number): layer for number, layer in params["layers"].items()}
    weights = {"embeddings": params["embeddings"], "layers": layers}
    encoder = _merge("encoder", weights, config, compute_dtype)
    encoded = encoder(token_ids, segment_ids, pair_ids, dropout, attention, positions)
    return encoded if all_hidden else encoded._replace(hidden_states=())


def mlm_logits(params: Params, config: ModelConfig, hidden: jax.Array) -> jax.Array:
    """Float32 logits [..., padded vocab] of hidden states [..., hidden], in their own dtype.

    The rows that round the vocabulary up to a multiple of 128 get -1e9.
    """
    head = _merge("mlm_head", params["mlm_head"], config, hidden.dtype)
    return head(hidden, params["embeddings"]["token"])


def pooled(params: Params, config: ModelConfig, classifier_hidden: jax.Array) -> jax.Array:
    """The pooled output [..., hidden] of the hidden states at `[CLS]` [..., hidden]."""
    return _apply_head("pooler", params, config, classifier_hidden)


def nsp_logits(params: Params, config: ModelConfig, pooled: jax.Array) -> jax.Array:
    """Float32 logits [..., 2] of pooled outputs [..., hidden]; 0 = is next."""
    return _apply_head("nsp_head", params, config, pooled)


def classification_logits(params: Params, config: ModelConfig, pooled: jax.Array) -> jax.Array:
    """Float32 logits [..., labels] of pooled outputs [..., hidden] (section 4.1)."""
    return _apply_head("classification_head", params, config, pooled)


def tagging_logits(params: Params, config: ModelConfig, hidden: jax.Array) -> jax.Array:
    """Float32 logits [..., labels] of every hidden state [..., hidden] (section 5.3)."""
    return _apply_head("tagging_head", params, config, hidden)


def span_logits(params: Params, config: ModelConfig, hidden: jax.Array) -> jax.Array:
    """Float32 logits [..., 2] of hidden states [..., hidden]; 0 = start, 1 = end (section 4.2)."""
    return _apply_head("span_head", params, config, hidden)


def count_parameters(config: ModelConfig, heads: Sequence[str] = PRETRAINING_HEADS) -> int:
    """Weights with these heads, the tied decoder once, no padding of the vocabulary."""
    one_layer = dataclasses.replace(config, num_layers=1)
    init = functools.partial(init_params, one_layer, heads=heads)
    shapes = jax.eval_shape(init, jax.random.key(0))
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert config.vocab_size is not None
    added = (vocab_rows(config) - config.vocab_size) * (config.hidden_size + 1)
    return size(shapes) + (config.num_layers - 1) * size(shapes["layers"]) - added


def model_flops(
    config: ModelConfig, batch: int, length: int, predictions: int, pairs: int = 1
) -> float:
    """Floating-point operations of one training step's own arithmetic: forward and twice back.

    Two per multiply-add of the matrix products, attention over whole rows included; the
    vocabulary only at the predicted positions; nothing for recomputation, norms or GELU. The last
    layer counts whole, as anybody's BERT has it, though a step here computes it only where it is
    read: 5% less in all for BERT-base, which figures per second are the better for.

    Args:
        config: the model, its vocabulary size set.
        batch: rows, each of `length` positions.
        predictions: predicted positions per row.
        pairs: packed pairs per row, for the pooler; 0 without one.
    """
    assert config.vocab_size is not None
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = length * (8 * hidden**2 + 4 * hidden * inner) + 4 * length**2 * hidden
    mlm = predictions * (2 * hidden**2 + 2 * hidden * config.vocab_size)
    nsp = pairs * (2 * hidden**2 + 4 * hidden)
    return 3.0 * batch * (config.num_layers * layer + mlm + nsp)


def _apply(
    layer: EncoderLayer, hidden: jax.Array, others: tuple[Any, ...], attention: bool, remat: bool
) -> tuple[jax.Array, jax.Array | None]:
    """What the layer returns; with `remat` only its input is kept for the backward pass."""
    graph, state = nnx.split(layer)
    run = functools.partial(_encoder_layer, graph, attention=attention)
    return (jax.checkpoint(run) if remat else run)(*_gradients_together(state, hidden), *others)


# Traced and lowered once for all the layers that are alike, which differ in weights and site alone;
# XLA puts it back in their places. Whoever replaces a function of the layer after that
# calls `jax.clear_caches()`.
@functools.partial(jax.jit, static_argnames=("graph", "attention"))
def _encoder_layer(
    graph: nnx.GraphDef[EncoderLayer],
    state: Any,
    hidden: jax.Array,
    pair_ids: jax.Array,
    dropout: Dropout,
    first_site: int | jax.Array,
    selected: Selected | None,
    *,
    attention: bool,
) -> tuple[jax.Array, jax.Array | None]:
    """What `EncoderLayer` returns of `hidden` [batch, length, hidden] with these weights."""
    return nnx.merge(graph, state)(hidden, pair_ids, dropout, first_site, attention, selected)


@jax.custom_vjp
def _gradients_together(state: Any, hidden: jax.Array) -> tuple[Any, jax.Array]:
    """A layer's weights and input as they are; in the backward pass both gradients, or neither.

    Left to itself the TPU compiler puts the gradients of the weights off, and all layers' inner
    gradients wait for that: a third of the memory of BERT-base's activations (v5e, length 512).
    """
    return state, hidden


_gradients_together.defvjp(
    lambda state, hidden: ((state, hidden), None),
    lambda _, gradients: jax.lax.optimization_barrier(gradients),
)


def _part(name: str, config: ModelConfig, dtype: Any, rngs: Keys) -> Any:
    """The module of the encoder or of one of `HEADS`, with fresh weights."""
    dtype = jnp.dtype(dtype)
    match name:
        case "encoder":
            return Encoder(config, dtype, rngs)
        case "mlm_head":
            return MlmHead(config, dtype, rngs)
        case "pooler":
            return Pooler(config, dtype, rngs)
        case "nsp_head" | "span_head":
            return LinearHead(2, config, dtype, rngs)
        case "classification_head" | "tagging_head":
            return LinearHead(len(config.labels), config, dtype, rngs)
    raise ValueError(name)


def _apply_head(name: str, params: Params, config: ModelConfig, hidden: jax.Array) -> jax.Array:
    return _merge(name, params[name], config, hidden.dtype)(hidden)


def _merge(name: str, weights: Params, config: ModelConfig, dtype: Any) -> Any:
    """The module with these weights in it."""
    with nnx.use_eager_sharding(False):
        return nnx.merge(_graph(name, config, jnp.dtype(dtype)), weights)


@functools.lru_cache(maxsize=64)
def _graph(name: str, config: ModelConfig, dtype: jnp.dtype) -> nnx.GraphDef[Any]:
    with nnx.use_eager_sharding(False):
        return nnx.graphdef(_abstract(name, config, dtype))


@functools.lru_cache(maxsize=64)
def _abstract(name: str, config: ModelConfig, dtype: jnp.dtype) -> Any:
    """The module with shapes in place of weights; never changed, so that one does for all."""
    nowhere = jax.sharding.AbstractMesh((), ())  # under a mesh, Flax reads our axes' names as its
    with jax.sharding.use_abstract_mesh(nowhere):
        return nnx.eval_shape(lambda: _part(name, config, dtype, Keys(jax.random.key(0))))


def _by_part(heads: Sequence[str], state: Callable[[str], nnx.State]) -> Params:
    """The states of the encoder and of `heads` in one nested dict."""
    encoder, *parts = (_plain(nnx.to_pure_dict(state(name))) for name in ("encoder", *heads))
    return encoder | dict(zip(heads, parts, strict=True))


def _plain(tree: Mapping[Any, Any]) -> Params:
    """Nested dicts with string keys, as checkpoints store them."""
    return {
        str(name): _plain(value) if isinstance(value, Mapping) else value
        for name, value in tree.items()
    }
