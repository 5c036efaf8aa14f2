import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.config import Config, OptimizerConfig, Phase, TrainConfig
from bertjax.train.optimizer import learning_rate, make_optimizer, weight_decay_mask

STEPS, WARMUP, PEAK = 50, 10, 3e-4


def rates(schedule, steps=STEPS, warmup=WARMUP, **optimizer):
    settings = OptimizerConfig(
        schedule=schedule, learning_rate=PEAK, warmup_steps=warmup, **optimizer
    )
    rate = jax.jit(learning_rate(Config(optimizer=settings, train=TrainConfig(steps=steps))))
    return np.array([rate(step) for step in range(steps)])


def joined(*parts, boundaries):
    schedule = optax.join_schedules(list(parts), list(boundaries))
    return np.array([schedule(step) for step in range(STEPS)])


def test_linear_schedule_is_optax_warmup_then_linear_to_zero():
    warmup = optax.linear_schedule(0.0, PEAK, WARMUP)
    decay = optax.linear_schedule(PEAK, 0.0, STEPS - WARMUP)
    np.testing.assert_allclose(
        rates("linear"), joined(warmup, decay, boundaries=[WARMUP]), rtol=1e-5
    )


def test_cosine_schedule_is_optax_warmup_cosine_decay():
    expected = optax.warmup_cosine_decay_schedule(0.0, PEAK, WARMUP, STEPS, 0.0)
    np.testing.assert_allclose(rates("cosine"), [expected(s) for s in range(STEPS)], rtol=1e-4)


def test_wsd_schedule_is_flat_until_its_last_share_then_linear_to_zero():
    warmup = optax.linear_schedule(0.0, PEAK, WARMUP)
    flat = optax.constant_schedule(PEAK)
    decay = optax.linear_schedule(PEAK, 0.0, 10)
    expected = joined(warmup, flat, decay, boundaries=[WARMUP, STEPS - 10])
    np.testing.assert_allclose(rates("wsd", decay_share=0.2), expected, rtol=1e-5)


@pytest.mark.parametrize("share", [0.95, 1.0])
def test_wsd_reaches_its_peak_where_the_decay_would_begin_within_the_warmup(share):
    values = rates("wsd", decay_share=share)
    np.testing.assert_allclose(values, rates("linear"), rtol=1e-6)
    assert values.max() == pytest.approx(PEAK)


def test_constant_schedule_stays_at_its_peak_after_warmup():
    values = rates("constant")
    np.testing.assert_allclose(values[:WARMUP], PEAK * np.arange(WARMUP) / WARMUP, rtol=1e-6)
    np.testing.assert_allclose(values[WARMUP:], PEAK, rtol=1e-6)


def test_without_warmup_the_first_step_has_the_full_rate():
    assert rates("linear", warmup=0)[0] == pytest.approx(PEAK)


def test_each_phase_has_its_own_warmup_and_peak_and_one_decay_runs_over_all():
    first = Phase(steps=30, length=128, batch_size=8, learning_rate=1e-3, warmup_steps=5)
    second = Phase(steps=20, length=512, batch_size=8, learning_rate=2e-4, warmup_steps=4)
    rate = learning_rate(Config(train=TrainConfig(phases=(first, second))))
    assert rate(5) == pytest.approx(1e-3)
    assert rate(29) == pytest.approx(1e-3 * 21 / 45)
    assert rate(30) == 0
    assert rate(34) == pytest.approx(2e-4 * 16 / 45)
    assert rate(50) == pytest.approx(0, abs=1e-12)


def params():
    random = np.random.default_rng(0)
    return {
        "dense": {
            "kernel": jnp.asarray(random.normal(size=(5, 3)), jnp.float32),
            "bias": jnp.asarray(random.normal(size=3), jnp.float32),
        },
        "layer_norm": {"scale": jnp.ones(3), "bias": jnp.zeros(3)},
        "embedding": jnp.asarray(random.normal(size=(7, 3)), jnp.float32),
    }


def test_matrices_and_tables_decay_but_no_bias_or_layer_norm():
    assert weight_decay_mask(params() | {"heads": {"bias": jnp.zeros((2, 3))}}) == {
        "dense": {"kernel": True, "bias": False},
        "layer_norm": {"scale": False, "bias": False},
        "embedding": True,
        "heads": {"bias": False},
    }


def adam_direction(gradients, config):
    """The bias-corrected Adam update of the last of `gradients` (Kingma & Ba 2015, Algorithm 1)."""
    first = second = 0.0
    for gradient in gradients:
        first = config.beta1 * first + (1 - config.beta1) * gradient
        second = config.beta2 * second + (1 - config.beta2) * gradient**2
    steps = len(gradients)
    first = first / (1 - config.beta1**steps)
    return first / (np.sqrt(second / (1 - config.beta2**steps)) + config.epsilon)


def clipped(gradient, clip_norm):
    norm = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
    return jax.tree.map(lambda leaf: leaf * min(1.0, clip_norm / norm), gradient)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_updates_are_those_of_the_paper_in_numpy(name):
    config = OptimizerConfig(name=name, weight_decay=0.1, clip_norm=0.7)
    optimizer, random, weights = make_optimizer(config), np.random.default_rng(1), params()
    state = optimizer.init(weights)
    history = []
    for _ in range(3):
        gradient = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), weights)
        updates, state = optimizer.update(
            jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), gradient), state, weights
        )
        history.append(clipped(gradient, config.clip_norm))

    def expected(weight, decays, *gradients):
        direction = adam_direction(gradients, config) + config.weight_decay * decays * weight
        if name == "adamw":
            return -direction  # Loshchilov & Hutter 2019, Algorithm 2
        # You et al. 2020, Algorithm 2; what does not decay has no ratio, nor has a layer of zeros.
        norms = np.linalg.norm(weight), np.linalg.norm(direction)
        return -direction * (norms[0] / norms[1] if decays and all(norms) else 1.0)

    wanted = jax.tree.map(expected, weights, weight_decay_mask(weights), *history)
    jax.tree.map(
        lambda found, right: np.testing.assert_allclose(found, right, rtol=2e-5, atol=1e-7),
        updates,
        wanted,
    )


@pytest.mark.parametrize("kind", [optax.adamw, optax.lamb])
def test_the_state_has_the_form_of_optax_which_older_checkpoints_hold(kind):
    theirs = optax.chain(
        optax.clip_by_global_norm(1.0), kind(1.0, weight_decay=0.01, mask=weight_decay_mask)
    )
    ours = make_optimizer(OptimizerConfig(name=kind.__name__))
    found, expected = (jax.tree.structure(each.init(params())) for each in (ours, theirs))
    assert found == expected


def test_a_phase_that_restarts_the_schedule_warms_up_and_decays_as_a_run_of_its_own():
    first = Phase(steps=30, length=128, batch_size=8, learning_rate=6e-3, warmup_steps=10)
    second = Phase(20, 512, 4, learning_rate=4e-3, warmup_steps=4, restart_schedule=True)
    third = Phase(10, 512, 4, learning_rate=2e-3, warmup_steps=0)
    rate = learning_rate(Config(train=TrainConfig(phases=(first, second, third))))
    alone = learning_rate(Config(train=TrainConfig(phases=(first,))))
    after = learning_rate(Config(train=TrainConfig(phases=(second, third))))
    found = [float(rate(step)) for step in range(60)]
    assert found == [float(alone(n)) for n in range(30)] + [float(after(n)) for n in range(30)]
    assert found[10] == pytest.approx(6e-3)
    assert found[30] == 0
    assert found[34] == pytest.approx(4e-3)


def test_a_config_with_a_longer_run_keeps_the_shares_of_its_phases():
    first = Phase(steps=30, length=128, batch_size=8, learning_rate=1e-3, warmup_steps=5)
    second = dataclasses.replace(first, steps=10, learning_rate=2e-4)
    rate = learning_rate(Config(train=TrainConfig(steps=400, phases=(first, second))))
    assert rate(50) == pytest.approx(1e-3)
    assert rate(300) == 0
    assert rate(350) == pytest.approx(2e-4 * 50 / 350)


def bert_like(value=1.0):
    """Embeddings, three layers and a head, each a matrix."""
    matrix = jnp.full((2, 2), value)
    layers = {str(number): {"kernel": matrix} for number in range(3)}
    return {"embeddings": {"token": matrix}, "layers": layers, "pooler": {"kernel": matrix}}


def updates_of(**settings):
    params, gradients = bert_like(), bert_like(0.3)
    optimizer = make_optimizer(OptimizerConfig(**settings))
    return optimizer.update(gradients, optimizer.init(params), params)[0]


def shares(**settings):
    """Each part's update as a share of what it is without the settings, from below upwards."""
    found = jax.tree.map(jnp.divide, updates_of(**settings), updates_of())
    layers = [found["layers"][str(number)]["kernel"] for number in range(3)]
    parts = [found["embeddings"]["token"], *layers, found["pooler"]["kernel"]]
    return [float(part[0, 0]) for part in parts]


def test_layer_decay_multiplies_from_the_head_downwards():
    np.testing.assert_allclose(shares(layer_decay=0.5), [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1], rtol=1e-6)


def test_frozen_layers_and_the_embeddings_below_them_do_not_move_nor_decay():
    assert shares(frozen_layers=2) == [0, 0, 0, 1, 1]


def test_freezing_nothing_leaves_the_embeddings_free():
    assert shares(frozen_layers=0) == [1, 1, 1, 1, 1]


def test_a_share_of_the_steps_can_be_the_warmup():
    np.testing.assert_array_equal(
        rates("linear", warmup=10), rates("linear", warmup=0, warmup_share=0.2)
    )
