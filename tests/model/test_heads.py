"""Heads beyond the encoder: each is there or not, by itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.model import bert
from tests.model.conftest import CONFIG

LABELLED = dataclasses.replace(CONFIG, labels=("a", "b", "c"))
HIDDEN = np.random.default_rng(0).standard_normal((2, 5, CONFIG.hidden_size)).astype(np.float32)


def init(*heads):
    return bert.init_params(LABELLED, jax.random.key(0), heads)


@pytest.mark.parametrize(
    ("head", "logits", "outputs"),
    [
        ("nsp_head", bert.nsp_logits, 2),
        ("classification_head", bert.classification_logits, 3),
        ("tagging_head", bert.tagging_logits, 3),
        ("span_head", bert.span_logits, 2),
    ],
)
def test_a_head_is_one_matrix_product_with_bias_in_float32(head, logits, outputs):
    params = {head: init(head)[head]}  # all that it needs
    params[head]["dense"]["bias"] = jnp.arange(outputs, dtype=jnp.float32)
    expected = HIDDEN @ np.asarray(params[head]["dense"]["kernel"]) + np.arange(outputs)
    found = logits(params, LABELLED, jnp.asarray(HIDDEN))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    rounded = logits(params, LABELLED, jnp.asarray(HIDDEN, jnp.bfloat16))
    assert rounded.dtype == jnp.float32


def test_only_the_heads_that_are_asked_for_are_made():
    assert set(init()) == {"embeddings", "layers"}
    assert set(init("span_head", "pooler")) == {"embeddings", "layers", "span_head", "pooler"}


def test_the_encoder_needs_no_head(params, pairs):
    ids = [pairs.packed[name] for name in ("token_ids", "segment_ids", "pair_ids")]
    alone = {name: params[name] for name in ("embeddings", "layers")}
    np.testing.assert_array_equal(
        bert.forward(alone, CONFIG, *ids).hidden, bert.forward(params, CONFIG, *ids).hidden
    )


def test_every_head_has_a_logical_name_per_axis():
    axes, params = bert.logical_axes(LABELLED, bert.HEADS), init(*bert.HEADS)
    jax.tree.map(lambda leaf, names: np.testing.assert_equal(leaf.ndim, len(names)), params, axes)


@pytest.mark.parametrize("rates", [(0.0, 0.5), (0.5, 0.0)])
def test_attention_has_a_dropout_rate_of_its_own(params, pairs, rates):
    ids = [pairs.unpacked[name] for name in ("token_ids", "segment_ids", "pair_ids")]

    def attended(dropout, attention_dropout):
        config = dataclasses.replace(CONFIG, dropout=dropout, attention_dropout=attention_dropout)
        options = {"dropout_key": jax.random.key(0), "row_ids": jnp.arange(6), "all_hidden": True}
        return bert.forward(params, config, *ids, **options).hidden_states

    both, none = attended(*rates), attended(0.0, None)
    embeddings_differ = bool(np.abs(both[0] - none[0]).max() > 0.1)
    assert embeddings_differ == (rates[0] > 0)
    assert np.abs(both[1] - none[1]).max() > 0.1
