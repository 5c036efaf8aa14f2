"""What the training loop is promised of the pretraining objective."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.config import Config, MaskingConfig, ModelConfig
from bertjax.train import objective
from bertjax.train.masking import masking_table

VOCAB, LENGTH, ROWS = 90, 24, 8
MODEL = ModelConfig(
    num_layers=1, hidden_size=16, num_heads=2, intermediate_size=32, vocab_size=VOCAB
)
TABLE = masking_table(np.arange(VOCAB) >= 60, (0, 1, 2, 3, 4), 4)
HEADS = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


def make_batch(seed, rows=ROWS):
    """Rows of two pairs; the second is absent from every other row."""
    random = np.random.default_rng(seed)
    token_ids = random.integers(5, VOCAB, (rows, LENGTH)).astype(np.int32)
    pair_ids = np.where(np.arange(LENGTH) < 14, 1, 2) * np.ones((rows, 1), np.int32)
    pair_ids[::2, 14:] = 0
    labels = random.integers(0, 2, (rows, 2)).astype(np.int32)
    labels[::2, 1] = -1
    return {
        "token_ids": token_ids * (pair_ids > 0),
        "segment_ids": np.zeros_like(token_ids),
        "pair_ids": pair_ids.astype(np.int32),
        "next_sentence_labels": labels,
    }


def make_objective(validation=(), **settings):
    config = Config(model=MODEL, **settings)
    return objective.mlm_nsp_objective(config, TABLE, make_batch, list(validation))


def with_rows(batch, start=0):
    rows = len(batch["token_ids"])
    return batch | {"row_ids": np.arange(start, start + rows, dtype=np.int32)}


@pytest.fixture(scope="module")
def trained():
    """The objective and weights that give different rows different losses."""
    built = make_objective()
    params = jax.jit(built.init)(jax.random.key(0))
    return built, jax.tree.map(lambda leaf: leaf * 5, params)


@pytest.fixture(scope="module")
def loss(trained):
    return jax.jit(trained[0].loss)


def test_sums_and_counts_carry_the_four_metrics(trained, loss):
    sums, counts = loss(trained[1], with_rows(make_batch(0)), jax.random.key(0))
    assert set(sums) == set(counts) == set(HEADS)
    assert counts["nsp_loss"] == counts["nsp_accuracy"] == 12
    assert counts["mlm_loss"] == 4 * round(0.15 * 14) + 4 * round(0.15 * 24)
    assert all(0 <= sums[name] <= counts[name] for name in HEADS if name.endswith("accuracy"))


@pytest.mark.slow
def test_parts_of_a_batch_add_up_to_the_whole(trained, loss):
    batch, key = with_rows(make_batch(1)), jax.random.key(1)
    whole = loss(trained[1], batch, key)
    parts = [
        loss(trained[1], {name: array[part::2] for name, array in batch.items()}, key)
        for part in range(2)
    ]
    added = jax.tree.map(lambda a, b: a + b, *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), added, whole)


@pytest.mark.parametrize("absent", ["mlm_head", "nsp_head"])
def test_a_head_that_is_absent_counts_nothing_and_leaves_the_others_figures(trained, loss, absent):
    batch, key = with_rows(make_batch(1)), jax.random.key(1)
    some = {name: part for name, part in trained[1].items() if name != absent}
    sums, counts = loss(some, batch, key)
    expected = loss(trained[1], batch, key)[0]
    for name in HEADS:
        if name.startswith(absent[:3]):
            assert counts[name] == 0
        else:
            assert sums[name] == pytest.approx(float(expected[name]), rel=1e-5)


def test_the_key_decides_masks_and_dropout(trained, loss):
    batch = with_rows(make_batch(2))
    first, again, other = (loss(trained[1], batch, jax.random.key(key)) for key in (0, 0, 1))
    assert first[0]["mlm_loss"] == again[0]["mlm_loss"] != other[0]["mlm_loss"]


def test_evaluation_is_fixed_and_ignores_training_masks_and_dropout(trained):
    batches = [make_batch(seed) for seed in range(3)]
    plain = make_objective(batches).evaluate(trained[1])
    other = make_objective(batches, masking=MaskingConfig(rate=0.4, unit="span"))
    assert plain == make_objective(batches).evaluate(trained[1]) == other.evaluate(trained[1])


@pytest.mark.slow
def test_evaluation_is_the_mean_over_all_validation_batches(trained):
    batches = [make_batch(seed) for seed in range(3)]
    loss = jax.jit(
        lambda *arrays: objective.masked_loss(*arrays, None, config=MODEL, dtype=np.float32)
    )
    figures = make_objective(batches).evaluate(trained[1])
    sums, counts = dict.fromkeys(HEADS, 0.0), dict.fromkeys(HEADS, 0.0)
    for number, batch in enumerate(batches):
        rows = with_rows(batch, number * ROWS)
        masked = objective.mask_batch(jax.random.key(0), rows, TABLE, MaskingConfig())
        found = loss(trained[1], rows, masked)
        sums = {name: sums[name] + float(found[0][name]) for name in HEADS}
        counts = {name: counts[name] + float(found[1][name]) for name in HEADS}
    for name in HEADS:
        assert figures[name] == pytest.approx(sums[name] / counts[name], rel=1e-5)
    assert figures["examples"] == 3 * 12


def test_rows_of_padding_do_not_count_in_an_evaluation(trained):
    batch = make_batch(4)
    padded = {
        name: np.concatenate([array, np.full_like(array, -1 if "labels" in name else 0)])
        for name, array in batch.items()
    }
    assert make_objective([batch]).evaluate(trained[1]) == pytest.approx(
        make_objective([padded]).evaluate(trained[1]), rel=1e-5
    )


def test_a_head_without_labels_is_none(trained):
    batch = make_batch(0)
    batch["next_sentence_labels"][:] = -1
    figures = make_objective([batch]).evaluate(trained[1])
    assert figures["nsp_loss"] is None
    assert figures["nsp_accuracy"] is None
    assert figures["mlm_loss"] > 0


def test_evaluation_has_only_a_few_batches_under_way(trained, monkeypatch):
    started, under_way = [], []
    fetch = jax.device_get

    def device_get(figures):
        under_way.append(len(started) - len(under_way))
        return fetch(figures)

    def batches():
        for seed in range(9):
            started.append(seed)
            yield make_batch(seed)

    monkeypatch.setattr(jax, "device_get", device_get)
    arguments = trained[0].evaluate.keywords | {"batches": batches()}
    objective.evaluate_pretraining(trained[1], **arguments)
    assert len(under_way) == 9
    assert max(under_way) == 3


def test_no_validation_batches_give_no_figures(trained):
    figures = make_objective([]).evaluate(trained[1])
    assert figures == dict.fromkeys(HEADS) | {"examples": 0}


@pytest.mark.slow
def test_cross_entropy_and_its_gradient_are_optax():
    rng = jax.random.key(3)
    logits = 4 * jax.random.normal(rng, (5, 7, 11))
    labels = jax.random.randint(rng, (5, 7), 0, 11)
    ours = lambda logits: jnp.sum(jnp.sin(objective._cross_entropy(logits, labels)[0]))  # noqa: E731
    plain = optax.softmax_cross_entropy_with_integer_labels
    theirs = lambda logits: jnp.sum(jnp.sin(plain(logits, labels)))  # noqa: E731
    np.testing.assert_allclose(
        objective._cross_entropy(logits, labels)[0], plain(logits, labels), atol=1e-5
    )
    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(theirs)(logits), atol=1e-5)


def test_a_tie_for_the_largest_logit_counts_as_right():
    logits = jnp.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]])
    assert objective._cross_entropy(logits, jnp.array([2, 1]))[1].tolist() == [1.0, 0.0]
