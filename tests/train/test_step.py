import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import MeshConfig, OptimizerConfig
from bertjax.train.program import make_program
from bertjax.train.state import initial_state, state_from_params
from tests.train.toy import toy_config, toy_objective


def start(objective, config, devices=None):
    program = make_program(objective, config, devices)
    state = initial_state(objective.init, program.optimizer, config.train.seed, program.shardings)
    return program, state


def run_steps(objective, config, steps, devices=None):
    """The state after some steps, and every step's figures."""
    program, state = start(objective, config, devices)
    key, history = jax.random.key(3), []
    for step in range(steps):
        state, figures = program.step(state, objective.batch(step), key)
        history.append(jax.device_get(figures))
    return state, history


def losses(history):
    return np.array([figures["loss"] for figures in history])


@functools.cache
def one_device_losses():
    config = toy_config()
    return losses(run_steps(toy_objective(), config, 20, jax.devices()[:1])[1])


LAMB = dataclasses.replace(
    toy_config(), optimizer=OptimizerConfig(name="lamb", learning_rate=0.02, warmup_steps=0)
)


def trained(config, devices=None):
    """Weights after ten steps, and the ten losses."""
    state, history = run_steps(toy_objective(), config, 10, devices)
    return jax.tree.map(np.array, state["params"]), losses(history)


@functools.cache
def lamb_on_one_device():
    return trained(LAMB, jax.devices()[:1])


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
    config = dataclasses.replace(toy_config(), mesh=mesh)
    found = losses(run_steps(toy_objective(), config, 20)[1])
    assert one_device_losses()[-1] < one_device_losses()[0]
    np.testing.assert_allclose(found, one_device_losses(), rtol=1e-4)


@pytest.mark.parametrize(
    "mesh",
    [MeshConfig(data=8), MeshConfig(data=1, fsdp=8), MeshConfig(data=2, fsdp=2, tensor=2)],
    ids=["data", "fsdp", "all"],
)
def test_lamb_takes_the_norms_of_whole_arrays_wherever_their_parts_lie(mesh):
    cut = dataclasses.replace(LAMB, mesh=mesh)
    params, found = trained(cut)
    whole_params, whole = lamb_on_one_device()
    np.testing.assert_allclose(found, whole, rtol=1e-4)
    # The toy's first weights, cut over tensor, differ by 2e-5 already.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), params, whole_params
    )
    assert whole[-1] < whole[0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_devices_sum_their_gradients_in_the_dtype_that_is_asked_for(dtype):
    objective = toy_objective()
    program, state = start(objective, toy_config(gradient_dtype=dtype))
    program_text = program.step.lower(state, objective.batch(0), jax.random.key(0)).as_text()
    assert "reduce_scatter" in program_text
    assert ("bf16" in program_text) == (dtype == "bfloat16")  # all else is float32
    assert np.isfinite(losses(run_steps(objective, toy_config(gradient_dtype=dtype), 1)[1])).all()


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulating_equals_one_batch_as_large(accumulation):
    """Rows have 1 to 8 real positions, so the parts' counts differ."""
    config = toy_config()
    whole, whole_history = run_steps(toy_objective(), config, 5, jax.devices()[:2])
    config = toy_config(accumulation=accumulation)
    parts, parts_history = run_steps(toy_objective(), config, 5, jax.devices()[:2])
    np.testing.assert_allclose(losses(parts_history), losses(whole_history), rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        parts["params"],
        whole["params"],
    )
    for found, wanted in zip(parts_history, whole_history, strict=True):
        assert found["tokens"] == wanted["tokens"]
        np.testing.assert_allclose(found["gradient_norm"], wanted["gradient_norm"], rtol=1e-5)


def test_gradients_that_are_not_finite_change_nothing_but_the_counters():
    objective, config = toy_objective(poison=frozenset({1, 2})), toy_config()
    program, state = start(objective, config, jax.devices()[:1])
    key = jax.random.key(0)
    state, _ = program.step(state, objective.batch(0), key)
    before = jax.tree.map(np.array, state)  # a copy: the step donates the state's own memory
    for step in (1, 2):
        state, figures = program.step(state, objective.batch(step), key)
    assert not np.isfinite(figures["loss"])
    jax.tree.map(np.testing.assert_array_equal, state["params"], before["params"])
    jax.tree.map(np.testing.assert_array_equal, state["optimizer"], before["optimizer"])
    assert (state["step"], state["skipped_steps"], state["skipped_in_a_row"]) == (3, 2, 2)

    state, figures = program.step(state, objective.batch(3), key)
    assert np.isfinite(figures["loss"])
    assert (figures["skipped_steps"], figures["skipped_in_a_row"]) == (2, 0)
    assert np.any(state["params"]["down"]["kernel"] != before["params"]["down"]["kernel"])


def test_the_learning_rate_follows_the_step_through_skipped_ones():
    config = toy_config()
    _, history = run_steps(toy_objective(poison=frozenset({3})), config, 6, jax.devices()[:1])
    _, smooth = run_steps(toy_objective(), config, 6, jax.devices()[:1])
    rates = [[figures["learning_rate"] for figures in run] for run in (history, smooth)]
    assert rates[0] == rates[1]


def test_every_step_has_a_key_of_its_own():
    """The same weights and rows, other masks and dropout: a toy's loss tells its key."""
    objective = toy_objective()
    still = dataclasses.replace(
        toy_config(), optimizer=OptimizerConfig(learning_rate=1e-30, warmup_steps=0)
    )
    again = dataclasses.replace(objective, batch=lambda _: objective.batch(0))
    found = losses(run_steps(again, still, 4, jax.devices()[:1])[1])
    assert len(set(found.tolist())) == 4


def test_a_metric_without_anything_to_count_is_nan_and_leaves_the_loss_alone():
    toy = toy_objective()

    def loss(params, batch, key):
        sums, counts = toy.loss(params, batch, key)
        return sums | {"nsp_loss": jnp.float32(0)}, counts | {"nsp_loss": jnp.float32(0)}

    objective = dataclasses.replace(toy, loss=loss)
    _, (figures,) = run_steps(objective, toy_config(), 1, jax.devices()[:1])
    assert np.isnan(figures["nsp_loss"])
    assert figures["loss"] == figures["mlm_loss"]


def test_the_step_compiles_once_and_gives_its_memory_back():
    objective, config = toy_objective(), toy_config()
    program, state = start(objective, config)
    key = jax.random.key(0)
    for step in range(3):
        old = state
        state, _ = program.step(state, objective.batch(step), key)
    assert program.step._cache_size() == 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))


def test_given_parameters_can_be_used_again_after_the_first_step():
    objective, config = toy_objective(), toy_config()
    program, state = start(objective, config, jax.devices()[:1])
    params = state["params"]
    fresh = state_from_params(params, program.state, program.optimizer, program.shardings)
    program.step(fresh, objective.batch(0), jax.random.key(0))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("deterministic", [False, True])
def test_determinism_on_a_gpu_is_an_option_of_the_compiled_step(deterministic):
    objective = toy_objective()
    program, state = start(objective, toy_config(deterministic=deterministic), jax.devices()[:1])
    compiled = program.step.lower(state, objective.batch(0), jax.random.key(0)).compile()
    serialized = compiled.runtime_executable().serialize()
    assert (b"xla_gpu_deterministic_ops" in serialized) == deterministic
