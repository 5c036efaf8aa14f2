"""The pretraining step of BERT is the same on any mesh and for any accumulation."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from bertjax.config import Config, MeshConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.train.masking import masking_table
from bertjax.train.objective import mlm_nsp_objective
from bertjax.train.program import make_program
from tests.train.test_step import losses, run_steps

VOCAB, LENGTH, ROWS = 200, 32, 16
CONFIG = Config(
    model=ModelConfig(
        num_layers=2, hidden_size=16, num_heads=8, intermediate_size=32, vocab_size=VOCAB,
        max_length=LENGTH,
    ),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2),
    train=TrainConfig(steps=20, batch_size=ROWS),
)  # fmt: skip


def batch(step):
    """Rows with one or two pairs and padding of any length."""
    random = np.random.default_rng(step)
    ends = np.sort(random.integers(8, LENGTH + 1, (ROWS, 2)), axis=1)
    place = np.arange(LENGTH)
    pair_ids = np.where(place < ends[:, :1], 1, np.where(place < ends[:, 1:], 2, 0))
    labels = random.integers(0, 2, (ROWS, 2))
    labels[ends[:, 0] == ends[:, 1], 1] = -1
    arrays = {
        "token_ids": np.where(pair_ids > 0, random.integers(5, VOCAB, (ROWS, LENGTH)), 0),
        "segment_ids": random.integers(0, 2, (ROWS, LENGTH)),
        "pair_ids": pair_ids,
        "next_sentence_labels": labels,
    }
    return {name: array.astype(np.int32) for name, array in arrays.items()}


def bert_objective(config):
    table = masking_table(np.zeros(VOCAB, bool), (0, 1, 2, 3, 4), 4)
    return mlm_nsp_objective(config, table, batch, [])


@functools.cache
def one_device():
    state, history = run_steps(bert_objective(CONFIG), CONFIG, 20, jax.devices()[:1])
    return jax.tree.map(np.array, state["params"]), losses(history)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mesh",
    [
        MeshConfig(data=8),
        MeshConfig(data=1, fsdp=8),
        MeshConfig(data=1, tensor=8),
        MeshConfig(data=2, fsdp=2, tensor=2),
    ],
    ids=["data", "fsdp", "tensor", "all"],
)
def test_any_mesh_gives_the_losses_of_one_device(mesh):
    config = dataclasses.replace(CONFIG, mesh=mesh)
    found = losses(run_steps(bert_objective(config), config, 20)[1])
    np.testing.assert_allclose(found, one_device()[1], rtol=1e-4)


@pytest.mark.slow
def test_accumulation_over_four_equals_one_batch_as_large():
    train = dataclasses.replace(CONFIG.train, accumulation=4)
    config = dataclasses.replace(CONFIG, train=train)
    _, history = run_steps(bert_objective(config), config, 20, jax.devices()[:1])
    np.testing.assert_allclose(losses(history), one_device()[1], rtol=1e-5)


@pytest.mark.slow
def test_counting_before_accumulating_computes_no_forward_pass():
    """The first pass over the microbatches wants the counts alone."""

    def products(accumulation):
        config = dataclasses.replace(
            CONFIG, train=dataclasses.replace(CONFIG.train, accumulation=accumulation)
        )
        program = make_program(bert_objective(config), config, jax.devices()[:1])
        lowered = program.step.lower(program.state, batch(0), jax.random.key(0))
        return lowered.compile().as_text().count(" dot(")

    assert products(4) == products(1) > 20
