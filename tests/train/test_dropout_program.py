"""What dropout adds to the training step: arithmetic, and no random number generator."""

import re

import jax
import pytest

from bertjax.model import dropout
from bertjax.train.program import make_program
from tests.train.test_parallel_bert import CONFIG, batch, bert_objective

DRAWS = re.compile(r"\b(random_bits|threefry2x32|rng_bit_generator|rng_uniform)\[")


def traced_step():
    assert CONFIG.model.dropout > 0
    program = make_program(bert_objective(CONFIG), CONFIG, jax.devices()[:1])
    return program.step.trace(program.state, batch(0), jax.random.key(0))


@pytest.mark.slow
def test_a_step_with_dropout_draws_no_random_numbers():
    traced = traced_step()
    assert not DRAWS.findall(str(traced.jaxpr))
    assert "stablehlo.rng" not in traced.lower().as_text()


@pytest.mark.slow
def test_a_step_that_drew_them_would_be_noticed(monkeypatch):
    def draw(key, site, row_ids, shape, selected=None):  # noqa: ARG001
        return jax.random.bits(jax.random.fold_in(key, site), (*row_ids.shape, *shape))

    monkeypatch.setattr(dropout, "dropout_bits", draw)
    jax.clear_caches()
    try:
        assert set(DRAWS.findall(str(traced_step().jaxpr))) == {"random_bits"}
    finally:
        jax.clear_caches()
