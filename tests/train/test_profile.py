from collections import namedtuple

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from bertjax.config import apply_override, validate
from bertjax.errors import UserError
from bertjax.train.profile import Operation, operations, profiled, table
from tests.train.test_loop import losses, train
from tests.train.toy import toy_config

Done = namedtuple("Done", "number figures")

# jaxlib's own types lack it on Python 3.13, and an error in the place of that warning ends Python.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__")


def multiply_forever(asked):
    product = jax.jit(lambda x: x @ x / 300)
    value = product(jnp.ones((300, 300)))
    for number in range(100):
        asked.append(number)
        value = product(value)
        yield Done(number, {"loss": value})


def test_steps_are_passed_on_one_by_one_and_the_wanted_ones_traced(tmp_path):
    asked, said, folder = [], [], epath.Path(tmp_path / "profile")
    steps = profiled(multiply_forever(asked), 2, 3, folder, said.append)
    for number in range(8):
        assert next(steps).number == number
        assert asked == list(range(number + 1))
        assert len(said) == (number >= 4)
    found = operations((folder / "host.xplane.pb").read_bytes())
    assert sum(operation.count for operation in found) >= 3  # a product, whatever its kernel
    assert f"trace of 3 steps: {folder}" in said[0]


def test_a_run_that_ends_within_the_trace_leaves_the_profiler_free(tmp_path):
    steps = profiled(multiply_forever([]), 0, 5, epath.Path(tmp_path / "profile"), print)
    next(steps)
    steps.close()
    with jax.profiler.trace(str(tmp_path / "another")):
        pass
    assert not (tmp_path / "profile").exists()


def test_the_table_gives_shares_and_milliseconds_per_step():
    found = [Operation("dot", 8, 0.03), Operation("fusion", 2, 0.01)]
    assert table(found, steps=2).splitlines()[1:] == [
        " 75.0%     15.00      4  dot",
        " 25.0%      5.00      1  fusion",
    ]


@pytest.mark.parametrize("steps", ["[3]", "[0,2]", "[4,3]", "3"])
def test_anything_but_two_ascending_step_numbers_is_refused(steps):
    with pytest.raises(UserError, match=r"train\.profile_steps"):
        validate(apply_override(toy_config(5), f"--train.profile_steps={steps}"))


@pytest.mark.slow
def test_a_traced_run_learns_the_same_and_keeps_its_trace(tmp_path, capsys):
    train(tmp_path / "plain", toy_config(5))
    train(tmp_path / "traced", toy_config(5, profile_steps=(4, 9)))  # two steps are left
    assert losses(tmp_path / "traced") == losses(tmp_path / "plain")
    assert (tmp_path / "traced" / "plugins" / "profile" / "step_4" / "host.xplane.pb").exists()
    said = capsys.readouterr().err
    assert "trace of 2 steps" in said
    assert "between these steps" not in said


@pytest.mark.slow
@pytest.mark.parametrize("cadence", ["evaluate_every", "checkpoint_every"])
def test_what_is_traced_between_the_steps_is_told(tmp_path, capsys, cadence):
    train(tmp_path, toy_config(4, profile_steps=(2, 4), **{cadence: 3}))
    assert "evaluation or a checkpoint between these steps" in capsys.readouterr().err
