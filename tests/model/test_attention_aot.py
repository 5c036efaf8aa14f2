"""The attention kernel goes through the real TPU compiler, alone and in a training step."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bertjax.config import Config, DataConfig, MeshConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.model.attention_tpu import fused_attention
from bertjax.model.dropout import bit_words
from bertjax.train.masking import masking_table
from bertjax.train.objective import mlm_nsp_objective
from bertjax.train.program import make_program
from bertjax.train.slices import find_slice

pytestmark = [
    pytest.mark.aot,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is missing"),
]
SLICES = ("v4:2x2x1", "v5e:2x4", "v5p:2x2x1", "v6e:2x4", "tpu7x:2x2x1")
ROWS, LENGTH, HIDDEN, HEAD_DIM = 2, 256, 256, 64


def forward_and_backward(query, key, value, pair_ids, gradient):
    shape = (HIDDEN // HEAD_DIM, query.shape[1], query.shape[1])
    words = bit_words(jax.random.key(0), 0, jnp.arange(ROWS), shape)
    run = lambda *three: fused_attention(*three, pair_ids, *words, head_dim=HEAD_DIM, rate=0.1)  # noqa: E731
    attended, back = jax.vjp(run, query, key, value)
    return attended, back(gradient)


def compiled_alone(topology, length, dtype):
    mesh = jax.sharding.Mesh(find_slice(topology).devices[:1], "one")
    place = NamedSharding(mesh, PartitionSpec())
    array = jax.ShapeDtypeStruct((ROWS, length, HIDDEN), dtype, sharding=place)
    ids = jax.ShapeDtypeStruct((ROWS, length), jnp.int32, sharding=place)
    lowered = jax.jit(forward_and_backward).lower(array, array, array, ids, array)
    return lowered.compile().as_text()


@pytest.mark.parametrize("topology", SLICES)
def test_forward_and_backward_compile_for(topology):
    text = compiled_alone(topology, LENGTH, jnp.bfloat16)
    assert text.count("tpu_custom_call") >= 2


def test_rows_twice_as_long_as_those_that_take_it_fit_the_smallest_memory():
    compiled_alone("v4:2x2x1", 2048, jnp.bfloat16)


def compiled_step(topology, mesh):
    """A step of two layers over a whole slice."""
    devices = find_slice(topology).devices
    rows = 2 * len(devices) // mesh.tensor
    model = ModelConfig(num_layers=2, hidden_size=HIDDEN, num_heads=4, intermediate_size=512,
                        vocab_size=1000, max_length=LENGTH)  # fmt: skip
    config = Config(
        model=model,
        data=DataConfig(length=LENGTH),
        mesh=mesh,
        optimizer=OptimizerConfig(warmup_steps=2),
        train=TrainConfig(steps=10, batch_size=rows, compute_dtype="bfloat16"),
    )
    table = masking_table(np.zeros(1000, bool), (0, 1, 2, 3, 4), 4)
    program = make_program(mlm_nsp_objective(config, table, lambda _: {}, []), config, devices)
    ids = jax.ShapeDtypeStruct((rows, LENGTH), jnp.int32)
    labels = jax.ShapeDtypeStruct((rows, 4), jnp.int32)
    batch = dict.fromkeys(("token_ids", "segment_ids", "pair_ids"), ids)
    batch |= {"next_sentence_labels": labels}
    key = jax.eval_shape(lambda: jax.random.key(0))
    return program.step.lower(program.state, batch, key).compile().as_text()


def test_a_step_compiled_for_a_slice_takes_the_kernel():
    text = compiled_step("v6e:2x4", MeshConfig(fsdp=2, tensor=2))
    fused_layers = 2 - 1  # the last one attends from selected positions alone
    assert text.count("tpu_custom_call") == 2 * fused_layers  # forward and backward
