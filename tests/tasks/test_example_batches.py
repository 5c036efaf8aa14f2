import numpy as np
import pytest

from bertjax.config import Config, DataConfig, TrainConfig
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.tasks.example_batches import ExampleBatches, steps_of

LENGTHS = [5 + 7 * number % 40 for number in range(22)]


def batches(batch_size=8, seed=0, accumulation=1):
    examples = [
        Example(np.full(tokens, number + 1, np.int32), np.zeros(tokens, np.int32), {})
        for number, tokens in enumerate(LENGTHS)
    ]
    train = TrainConfig(batch_size=batch_size, seed=seed, accumulation=accumulation)
    return ExampleBatches(examples, Config(data=DataConfig(length=64), train=train), pad_id=0)


def seen(batch):
    """The numbers of the examples in a batch, from 0."""
    ids = batch["token_ids"]
    starts = (batch["pair_ids"] > 0) & (np.diff(batch["pair_ids"], axis=1, prepend=0) != 0)
    return sorted(ids[starts] - 1)


def test_every_example_comes_once_an_epoch_also_where_a_batch_holds_two_of_them():
    found = [seen(batches()(step)) for step in range(11)]  # 88 examples: four epochs of 22
    assert all(len(own) == 8 for own in found)
    counts = np.bincount([number for own in found for number in own], minlength=len(LENGTHS))
    assert (counts == 4).all()


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    first, again = batches()(5), batches()(5)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert seen(batches(seed=1)(5)) != seen(first)


def test_every_epoch_has_an_order_of_its_own():
    epochs = [batches(batch_size=len(LENGTHS)).indices(step) for step in range(2)]
    assert epochs[0] != epochs[1]


def test_rows_divide_over_the_microbatches():
    rows = {len(batches(accumulation=4)(step)["token_ids"]) for step in range(20)}
    assert all(count % 4 == 0 for count in rows)


@pytest.mark.slow
def test_few_shapes_are_compiled():
    assert len({batches(batch_size=16)(step)["token_ids"].shape for step in range(200)}) <= 4


@pytest.mark.parametrize(("epochs", "expected"), [(1, 3), (2, 6), (0.5, 2), (3, 9)])
def test_an_epoch_has_the_steps_that_show_every_example(epochs, expected):
    assert steps_of(epochs, examples=22, batch_size=8) == expected


@pytest.mark.parametrize("epochs", [1e15, 1e308])
def test_more_steps_than_a_run_has_are_refused(epochs):
    with pytest.raises(UserError, match=r"train.epochs=1e\+\d+: .* at most 2,147,483,647"):
        steps_of(epochs, examples=22, batch_size=8)
