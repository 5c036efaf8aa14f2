"""Starting from given weights: what must fit, what is made new, what is left out."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from etils import epath

from bertjax.config import Config, ModelConfig
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.train.initial import (
    InitialWeights,
    complete_params,
    record_source,
    recorded_source,
)
from tests.tasks.small_bert import TOKENIZER

MODEL = ModelConfig(
    num_layers=1, hidden_size=8, num_heads=2, intermediate_size=12, vocab_size=20, max_length=16
)
INIT = functools.partial(bert.init_params, MODEL)


def weights(heads, config=MODEL):
    labelled = dataclasses.replace(config, labels=("a", "b"))
    params = bert.init_params(labelled, jax.random.key(9), heads)
    return InitialWeights(params, config, TOKENIZER, "weights of somebody")


def complete(initial, config=MODEL, digest=TOKENIZER.digest):
    told = []
    return complete_params(initial, Config(config), INIT, digest, told.append), told


def test_absent_heads_are_made_and_named_and_all_else_is_as_given():
    initial = weights(["pooler"])
    params, (line,) = complete(initial)
    assert line == "starting from weights of somebody; new, at random: mlm_head, nsp_head"
    assert set(params) == {"embeddings", "layers", *bert.PRETRAINING_HEADS}
    for name in ("embeddings", "layers", "pooler"):
        jax.tree.map(np.testing.assert_array_equal, params[name], initial.params[name])
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(INIT, jax.random.key(0)))


def test_heads_that_are_not_trained_are_left_out_and_named():
    params, (line,) = complete(weights([*bert.PRETRAINING_HEADS, "span_head"]))
    assert line.endswith("somebody; left out: span_head")
    assert "span_head" not in params


def test_another_encoder_is_refused_with_the_options_that_describe_it():
    other = dataclasses.replace(MODEL, num_layers=2, activation="relu", dropout=0.5)
    with pytest.raises(UserError) as caught:
        complete(weights([], other))
    assert str(caught.value).endswith("add --model.num_layers=2 --model.activation=relu")


def test_a_run_that_was_started_from_weights_and_has_no_checkpoint_needs_them_again(tmp_path):
    run = epath.Path(tmp_path)
    assert recorded_source(run, has_weights=False) == {}
    known = record_source(run, "weights of somebody")
    with pytest.raises(UserError, match="from weights of somebody, and has no checkpoint yet"):
        recorded_source(run, has_weights=False)
    assert recorded_source(run, has_weights=True) == known


@pytest.mark.parametrize("text", ['{"started', '{"x": 1}', '{"started_from": 3}', "[]"])
def test_a_damaged_note_of_what_a_run_was_started_from_is_told_in_a_line(tmp_path, text):
    (tmp_path / "initial.json").write_text(text)
    with pytest.raises(UserError, match=r"initial\.json: damaged; copy it again"):
        recorded_source(epath.Path(tmp_path), has_weights=True)


def test_another_tokenizer_is_refused():
    refused = rf"another tokenizer \({TOKENIZER.digest[:12]}\) than the data's \(other\)"
    with pytest.raises(UserError, match=refused):
        complete(weights([]), digest="other")
