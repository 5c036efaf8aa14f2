"""The model's own promises: sizes, layouts, padding, precision, initial weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import ModelConfig
from bertjax.model import bert
from bertjax.model.encoder import EncoderLayer
from bertjax.model.positions import gather_positions
from tests.model.conftest import CONFIG

LARGE = ModelConfig(num_layers=24, hidden_size=1024, num_heads=16, intermediate_size=4096)


@functools.partial(jax.jit, static_argnames=("remat", "compute_dtype", "all_hidden", "attention"))
def run(params, batch, dropout_key=None, row_ids=None, remat=False, **options):
    config = dataclasses.replace(CONFIG, remat=remat)
    ids = (batch[name] for name in ("token_ids", "segment_ids", "pair_ids"))
    return bert.forward(params, config, *ids, dropout_key=dropout_key, row_ids=row_ids, **options)


@pytest.mark.parametrize(
    ("config", "parameters"), [(ModelConfig(), 110_106_428), (LARGE, 336_226_108)]
)
def test_published_sizes_have_their_published_parameter_counts(config, parameters):
    assert bert.count_parameters(dataclasses.replace(config, vocab_size=30_522)) == parameters


def test_parameter_count_is_that_of_the_weights_without_added_vocabulary_rows(params):
    added = (256 - CONFIG.vocab_size) * (CONFIG.hidden_size + 1)
    assert params["embeddings"]["token"].shape == (256, CONFIG.hidden_size)
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert bert.count_parameters(CONFIG) == total - added


def test_model_flops_are_those_of_every_matrix_product_counted_one_by_one():
    batch, length, predictions, pairs = 2, 8, 3, 2
    hidden, inner = CONFIG.hidden_size, CONFIG.intermediate_size
    head_dim = hidden // CONFIG.num_heads
    products = [  # (how many, rows, inner, columns) of one row of the batch
        (4 * CONFIG.num_layers, length, hidden, hidden),
        (1 * CONFIG.num_layers, length, hidden, inner),
        (1 * CONFIG.num_layers, length, inner, hidden),
        (CONFIG.num_heads * CONFIG.num_layers, length, head_dim, length),
        (CONFIG.num_heads * CONFIG.num_layers, length, length, head_dim),
        (1, predictions, hidden, hidden),
        (1, predictions, hidden, CONFIG.vocab_size),
        (1, pairs, hidden, hidden),
        (1, pairs, hidden, 2),
    ]
    forward = sum(2 * count * m * k * n for count, m, k, n in products)
    expected = 3 * batch * forward
    assert bert.model_flops(CONFIG, batch, length, predictions, pairs) == expected


def test_every_parameter_has_a_logical_name_per_axis(params):
    axes = bert.logical_axes(CONFIG)
    jax.tree.map(lambda leaf, names: np.testing.assert_equal(leaf.ndim, len(names)), params, axes)
    assert axes["embeddings"]["token"] == ("vocab", "embed")
    assert axes["layers"]["1"]["attention"]["query"]["kernel"] == ("embed", "heads")
    assert axes["layers"]["0"]["output"]["kernel"] == ("mlp", "embed")


def test_kernels_and_tables_start_as_a_normal_cut_at_two_standard_deviations(initial_params):
    for path, leaf in jax.tree_util.tree_flatten_with_path(initial_params)[0]:
        if path[-1].key == "bias":
            assert (leaf == 0).all()
        elif path[-1].key == "scale":
            assert (leaf == 1).all()
        else:
            assert np.abs(leaf).max() <= 0.04
            spread = 0.02 * 0.8796  # of a standard normal cut at two
            assert np.std(leaf) == pytest.approx(spread, rel=5 / (2 * leaf.size) ** 0.5)


def test_a_packed_pair_comes_out_as_in_a_row_of_its_own(params, pairs):
    packed = run(params, pairs.packed).hidden
    unpacked = run(params, pairs.unpacked).hidden
    for number, (row, start, length) in enumerate(pairs.places):
        found = packed[row, start : start + length]
        np.testing.assert_allclose(found, unpacked[number, :length], atol=1e-5)


def test_what_stands_in_other_pairs_and_in_padding_changes_nothing(params, pairs):
    batch = pairs.packed
    others = batch["pair_ids"] != 2
    changed = batch | {"token_ids": np.where(others, 7, batch["token_ids"])}
    np.testing.assert_array_equal(
        run(params, batch).hidden[~others], run(params, changed).hidden[~others]
    )


def test_a_row_of_padding_is_finite_forward_and_backward(params, pairs):
    batch = {name: np.zeros_like(array) for name, array in pairs.packed.items()}
    value, gradients = jax.value_and_grad(lambda p: run(p, batch).hidden.sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradients)))


@pytest.mark.parametrize("remat", [False, True])
def test_layers_that_are_alike_are_traced_once(params, pairs, monkeypatch, remat):
    calls, plain = [], EncoderLayer.__call__
    monkeypatch.setattr(
        EncoderLayer, "__call__", lambda self, *inputs: calls.append(1) or plain(self, *inputs)
    )
    deep = params | {"layers": {str(number): params["layers"]["0"] for number in range(5)}}
    jax.clear_caches()

    def total(params, config):
        ids = (pairs.packed[name] for name in ("token_ids", "segment_ids", "pair_ids"))
        options = {"dropout_key": jax.random.key(0), "row_ids": jnp.arange(2)}
        return bert.forward(params, config, *ids, **options).hidden.sum()

    config = dataclasses.replace(CONFIG, num_layers=5, remat=remat)
    try:
        jax.make_jaxpr(jax.grad(total), static_argnums=1)(deep, config)
    finally:
        jax.clear_caches()
    assert len(calls) == 1


@pytest.mark.slow
def test_recomputing_layers_changes_no_gradient(params, pairs):
    dropout_key, rows = jax.random.key(1), jnp.arange(2)

    def total(params, remat):
        return run(params, pairs.packed, dropout_key, rows, remat).hidden[:, ::3].sum()

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        jax.grad(total)(params, True),
        jax.grad(total)(params, False),
    )


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_a_last_layer_for_some_positions_alone_changes_neither_these_nor_any_gradient(
    params, pairs, remat
):
    """With dropout: a position loses what it would lose among all."""
    positions = jnp.array([[0, 9, 3, 30, 3], [17, 12, 0, 25, 8]])  # one twice, of several pairs
    weights = jax.random.normal(jax.random.key(2), (2, 5, CONFIG.hidden_size))
    dropout_key, rows = jax.random.key(1), jnp.arange(2)

    def total(params, some):
        options = {"positions": positions} if some else {}
        hidden = run(params, pairs.packed, dropout_key, rows, remat, **options).hidden
        chosen = hidden if some else gather_positions(hidden, positions)
        return jnp.sum(chosen * weights), chosen

    (_, found), gradients = jax.value_and_grad(total, has_aux=True)(params, True)
    (_, expected), whole = jax.value_and_grad(total, has_aux=True)(params, False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), gradients, whole
    )


@pytest.mark.slow
def test_bfloat16_stays_close_to_float32_and_logits_stay_float32(params, pairs):
    exact = run(params, pairs.packed).hidden
    rounded = run(params, pairs.packed, compute_dtype=jnp.bfloat16).hidden
    assert rounded.dtype == jnp.bfloat16
    real = pairs.packed["pair_ids"] > 0
    error = np.abs(np.asarray(rounded, np.float32) - exact)[real]
    assert error.mean() < 0.03
    assert bert.mlm_logits(params, CONFIG, rounded).dtype == jnp.float32
    assert bert.nsp_logits(params, CONFIG, rounded[:, 0]).dtype == jnp.float32


def test_only_what_is_asked_for_is_kept(params, pairs):
    plain = run(params, pairs.packed)
    assert plain.hidden_states == plain.attentions == ()
    asked = run(params, pairs.packed, all_hidden=True, attention=True)
    np.testing.assert_array_equal(asked.hidden_states[-1], asked.hidden)
    np.testing.assert_allclose(asked.attentions[0].sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_dropout_of_a_row_does_not_depend_on_the_rest_of_the_batch(params, pairs):
    def hidden(batch, rows):
        return run(params, batch, jax.random.key(5), jnp.asarray(rows)).hidden

    whole = hidden(pairs.unpacked, np.arange(6))
    part = {name: array[4:] for name, array in pairs.unpacked.items()}
    real = part["pair_ids"] > 0
    np.testing.assert_allclose(hidden(part, [4, 5])[real], whole[4:][real], atol=1e-5)
    assert np.abs(hidden(part, [0, 1])[real] - whole[4:][real]).max() > 0.1
