"""The TPU attention kernel, interpreted, gives what the plain implementation gives."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import Config, MeshConfig, ModelConfig, TrainConfig, validate
from bertjax.errors import UserError
from bertjax.model import attention_tpu, bert
from bertjax.model.attention import attend, attention_path
from bertjax.model.attention_tpu import fused_attention
from bertjax.model.dropout import Dropout, bit_words
from bertjax.train.masking import masking_table
from bertjax.train.mesh import batch_sharding, make_mesh, param_shardings
from bertjax.train.objective import mlm_nsp_objective

BATCH, HEADS, HEAD_DIM, SITE = 2, 4, 64, 3
HIDDEN = HEADS * HEAD_DIM
# Largest error allowed, in units of the largest value: float32 rounding, and bfloat16's of the
# probabilities and of the result.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}


def packed(length):
    """int32 [batch, length]: three pairs and padding, and a row that is all one pair."""
    place = np.arange(length)
    several = np.searchsorted([length // 3, length // 2, length - 9], place, side="right") + 1
    return np.stack([np.where(several == 4, 0, several), np.ones(length)]).astype(np.int32)


def inputs(length, dtype):
    """Query, key, value and the result's gradient."""
    random = np.random.default_rng(0)
    arrays = random.standard_normal((4, BATCH, length, HIDDEN)).astype(np.float32)
    return tuple(jnp.asarray(array, dtype) for array in arrays)


def plain(query, key, value, pair_ids, dropout):
    split = (array.reshape(*array.shape[:2], HEADS, HEAD_DIM) for array in (query, key, value))
    return attend(*split, pair_ids, dropout, SITE)[0].reshape(query.shape)


def fused(query, key, value, pair_ids, dropout):
    length = query.shape[1]
    words = ()
    if dropout.active:
        words = bit_words(dropout.key, SITE, dropout.row_ids, (HEADS, length, length))
    return fused_attention(
        query, key, value, pair_ids, *words, head_dim=HEAD_DIM, rate=dropout.rate, interpret=True
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def results(attention, rate, arrays, pair_ids):
    """The attended values and the gradients of query, key and value, as float32."""
    *operands, gradient = arrays
    dropout = Dropout(rate, jax.random.key(1), jnp.arange(BATCH))
    attended, back = jax.vjp(lambda *three: attention(*three, pair_ids, dropout), *operands)
    return [array.astype(jnp.float32) for array in (attended, *back(gradient))]


def assert_alike(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


@pytest.mark.parametrize(
    ("length", "rate", "dtype"),
    [(200, 0.0, "float32"), (200, 0.1, "float32"), (128, 0.1, "float32"),
     (200, 0.0, "bfloat16"), (200, 0.1, "bfloat16")],
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_plain_path(length, rate, dtype):
    arrays, pair_ids = inputs(length, dtype), packed(length)
    exact = [array.astype(jnp.float32) for array in arrays]
    expected = results(plain, rate, exact, pair_ids)
    assert_alike(results(fused, rate, arrays, pair_ids), expected, TOLERANCE[dtype])


@pytest.mark.slow
def test_several_blocks_of_queries_give_what_one_gives(monkeypatch):
    arrays, pair_ids = inputs(384, "float32"), packed(384)
    expected = results(plain, 0.1, arrays, pair_ids)
    monkeypatch.setattr(attention_tpu, "_TILE", 384 * 128)
    found = jax.jit(results.__wrapped__, static_argnums=(0, 1))(fused, 0.1, arrays, pair_ids)
    assert attention_tpu._query_block(384) == 128
    assert_alike(found, expected, 1e-5)


@pytest.mark.parametrize("length", [128, 384, 512, 640, 896, 1024, 2048])
def test_a_block_of_queries_divides_the_length_and_stays_within_the_tile(length):
    queries = attention_tpu._query_block(length)
    assert length % queries == 0
    assert queries % 128 == 0
    assert queries * length <= 512 * 512


def test_the_path_depends_on_setting_device_length_and_heads():
    path = functools.partial(attention_path, lanes=768, head_dim=64)
    assert path("auto", "cpu", 512) == "plain"
    assert path("auto", "gpu", 512) == "plain"
    lengths = (128, 256, 1024, 2048)
    found = [path("auto", "tpu", length) for length in lengths]
    assert found == ["plain", "fused", "fused", "plain"]
    assert attention_path("auto", "tpu", 512, lanes=96, head_dim=48) == "plain"
    assert attention_path("auto", "tpu", 512, lanes=96, head_dim=32) == "plain"
    assert path("plain", "tpu", 512) == "plain"
    assert path("fused", "cpu", 128) == "fused"


def test_heads_that_the_kernel_cannot_take_are_refused():
    config = Config(model=ModelConfig(num_heads=16, attention="fused"), train=TrainConfig(steps=1))
    with pytest.raises(UserError, match="heads of 48"):
        validate(config)


MODEL = ModelConfig(
    num_layers=2, hidden_size=HIDDEN, num_heads=HEADS, intermediate_size=64, vocab_size=200,
    max_length=128,
)  # fmt: skip
ROWS = 4


def batch():
    """Packed rows of random tokens."""
    random = np.random.default_rng(0)
    pair_ids = np.concatenate([packed(128), packed(128)[::-1]])
    arrays = {
        "token_ids": random.integers(5, MODEL.vocab_size, pair_ids.shape),
        "segment_ids": random.integers(0, 2, pair_ids.shape),
        "pair_ids": pair_ids,
        "next_sentence_labels": random.integers(-1, 2, (ROWS, 3)),
        "row_ids": np.arange(ROWS),
    }
    return {name: array.astype(np.int32) for name, array in arrays.items()}


def loss_and_gradients(model, mesh):
    """Of both heads' summed losses with dropout 0.1, on as many devices as the mesh has."""
    table = masking_table(np.zeros(MODEL.vocab_size, bool), (0, 1, 2, 3, 4), 4)
    objective = mlm_nsp_objective(Config(model=model), table, lambda _: batch(), [])

    def loss(params, rows, key):
        return sum(value for name, value in objective.loss(params, rows, key)[0].items()
                   if name.endswith("_loss"))  # fmt: skip

    shapes = jax.eval_shape(objective.init, jax.random.key(0))
    held = param_shardings(shapes, objective.axes, mesh)
    params = jax.jit(objective.init, out_shardings=held)(jax.random.key(0))
    rows = jax.device_put(batch(), batch_sharding(mesh))
    with jax.set_mesh(mesh):
        found, gradients = jax.jit(jax.value_and_grad(loss))(params, rows, jax.random.key(1))
    return float(found), jax.tree.map(np.asarray, gradients)


@functools.cache
def of_the_plain_model():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    return loss_and_gradients(dataclasses.replace(MODEL, attention="plain"), mesh)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True], ids=["kept", "remat"])
@pytest.mark.parametrize(
    "mesh", [MeshConfig(), MeshConfig(data=2, fsdp=2, tensor=2)], ids=["one device", "eight"]
)
def test_the_model_has_the_same_loss_and_gradients_on_any_mesh(mesh, remat):
    devices = jax.devices() if mesh.tensor > 1 else jax.devices()[:1]
    model = dataclasses.replace(MODEL, attention="fused", remat=remat)
    loss, gradients = loss_and_gradients(model, make_mesh(mesh, devices))
    expected, expected_gradients = of_the_plain_model()
    assert loss == pytest.approx(expected, rel=1e-5)
    for found, other in zip(*map(jax.tree.leaves, (gradients, expected_gradients)), strict=True):
        assert np.abs(found - other).max() <= 1e-4 * np.abs(other).max() + 1e-6


@pytest.mark.slow
def test_probabilities_asked_for_come_from_the_plain_path():
    model = dataclasses.replace(MODEL, attention="fused")
    params = bert.init_params(model, jax.random.key(0))
    rows = batch()
    ids = [jnp.asarray(rows[name]) for name in ("token_ids", "segment_ids", "pair_ids")]
    encoded = bert.forward(params, model, *ids, attention=True)
    assert [array.shape for array in encoded.attentions] == [(ROWS, HEADS, 128, 128)] * 2
