"""Checkpoints: what is kept, and what comes back."""

import logging
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bertjax.errors import UserError
from bertjax.train.checkpoint import Checkpoints, load_params
from tests.train.states import abstract, assert_same, make_state, restore, saved

# What comes back


def test_a_new_folder_has_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 3)
    assert checkpoints.restore(abstract(make_state())) is None
    assert (checkpoints.steps(), checkpoints.best_step) == ([], None)


def test_the_newest_state_comes_back_with_its_metadata(tmp_path):
    restored = restore(saved(tmp_path, 3, 10, 9))
    assert (restored.step, restored.metadata, restored.skipped) == (10, {"seen": 10}, ())
    assert_same(restored.state, make_state(10))


def test_a_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    donate = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0, state), donate_argnums=0)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 4)
    for step in range(4):
        state = {"params": {"kernel": jnp.full((512, 512), step + 1.0)}, "step": jnp.int32(step)}
        checkpoints.save(step, state, {})
        for _ in range(3):
            state = donate(state)
    checkpoints.wait()
    for step in range(4):
        params, _ = load_params(tmp_path / "checkpoints" / str(step))
        np.testing.assert_array_equal(params["kernel"], np.full((512, 512), step + 1.0))


@pytest.mark.parametrize("devices", [(2, 2), (1, 1), (8, 1)])
def test_a_state_comes_back_on_another_mesh(tmp_path, devices):
    def shardings(shape):
        count = shape[0] * shape[1]
        kinds = (AxisType.Auto,) * 2
        mesh = jax.make_mesh(shape, ("x", "y"), axis_types=kinds, devices=jax.devices()[:count])
        return {
            "params": {"kernel": NamedSharding(mesh, PartitionSpec("x", "y"))},
            "step": NamedSharding(mesh, PartitionSpec()),
        }

    state = {"params": {"kernel": jnp.arange(128.0).reshape(8, 16)}, "step": jnp.int32(1)}
    checkpoints = Checkpoints(tmp_path, 1)
    checkpoints.save(1, jax.device_put(state, shardings((4, 2))), {})
    wanted = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings(devices),
    )
    restored = checkpoints.restore(wanted)
    assert_same(restored.state, state)
    assert restored.state["params"]["kernel"].sharding == shardings(devices)["params"]["kernel"]


def test_saving_and_restoring_write_nothing_to_the_console(tmp_path, capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        saved(tmp_path, 1)
        restore(tmp_path)
        load_params(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert [line for line in caplog.records if "orbax" in line.pathname] == []


# What is kept


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    for step, loss in [(1, 3.0), (2, 1.0), (3, None), (4, float("nan")), (5, 2.0)]:
        checkpoints.save(step, make_state(step), {}, criterion=loss)
    checkpoints.close()
    assert (checkpoints.steps(), checkpoints.best_step) == ([2, 4, 5], 2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "4", "5"]
    assert Checkpoints(tmp_path, 2).best_step == 2  # known again in another process


def test_the_later_of_two_equally_good_ones_is_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, 3)
    for step in (1, 2):
        checkpoints.save(step, make_state(step), {}, criterion=1.5)
    checkpoints.wait()
    assert checkpoints.best_step == 2


def test_a_step_that_is_saved_already_is_left_as_it_is(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(1, make_state(1), {"first": True})
    checkpoints.save(1, make_state(2), {"first": False})
    assert checkpoints.restore(abstract(make_state())).metadata == {"first": True}


def test_unfinished_folders_are_removed_at_the_start(tmp_path):
    saved(tmp_path, 1)
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    assert Checkpoints(tmp_path, 2).steps() == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_of_two_that_train_in_one_run_the_slower_ends_and_removes_nothing_of_the_other(tmp_path):
    slower, faster = (Checkpoints(tmp_path, 1) for _ in range(2))
    for step in (10, 20):
        faster.save(step, make_state(step), {})
        faster.wait()
    slower.save(25, make_state(25), {})  # ahead, as far as it can see
    slower.wait()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["20", "25"]
    faster.save(40, make_state(40), {})
    faster.wait()
    for step in (30, 40):
        with pytest.raises(UserError, match=rf"somebody else has saved step 40 .* step {step}"):
            slower.save(step, make_state(step), {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["25", "40"]


def test_a_state_that_is_not_finite_is_refused_and_named(tmp_path):
    state = make_state()
    state["params"]["layers"]["1"]["bias"] = jnp.array([1.0, jnp.nan])
    with pytest.raises(UserError, match="step 7: params/layers/1/bias is not finite"):
        Checkpoints(tmp_path, 1).save(7, state, {})
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_does_not_fit_the_disk_is_reported_by_wait(tmp_path):
    state = {"params": {"kernel": jax.random.normal(jax.random.key(0), (1024, 1024))}}
    checkpoints = Checkpoints(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # no file above 1 MiB
    try:
        checkpoints.save(1, state, {})
        with pytest.raises(UserError, match=r"/1: cannot be written \(File too large"):
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints.steps() == []


# Another model


def without_key(state):
    del state["params"]["layers"]["1"]["bias"]


def with_another_shape(state):
    state["params"]["embeddings"]["kernel"] = jnp.zeros((64, 4))


def with_another_dtype(state):
    state["params"]["half"] = jnp.zeros(8)


def with_one_more(state):
    state["params"]["pooler"] = jnp.zeros(8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_key, "holds params/layers/1/bias, which this config lacks"),
        (with_another_shape, r"embeddings/kernel is float32 \(64, 16\) there, float32 \(64, 4\)"),
        (with_another_dtype, r"params/half is bfloat16 \(8,\) there, float32 \(8,\)"),
        (with_one_more, "holds no params/pooler, which this config has"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path, change, message):
    saved(tmp_path, 1)
    state = make_state()
    change(state)
    with pytest.raises(UserError, match=message) as caught:
        Checkpoints(tmp_path, 1).restore(abstract(state))
    assert "\n" not in str(caught.value)


# The weights alone


@pytest.mark.parametrize("place", [".", "checkpoints", "checkpoints/3"])
def test_the_weights_are_read_from_a_run_or_a_folder_in_it(tmp_path, place):
    saved(tmp_path / "checkpoints", 2, 3)
    params, step = load_params(tmp_path / place)
    assert step == 3
    assert_same(params, make_state(3)["params"])


def test_the_weights_of_an_older_step_are_read_from_its_folder(tmp_path):
    saved(tmp_path / "checkpoints", 2, 3)
    params, step = load_params(str(tmp_path / "checkpoints" / "2"))
    assert step == 2
    assert_same(params, make_state(2)["params"])


def test_the_weights_are_read_without_the_optimizer(tmp_path):
    saved(tmp_path, 3)
    shutil.rmtree(tmp_path / "3" / "training")
    params, _ = load_params(tmp_path)
    assert_same(params, make_state(3)["params"])


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_without_a_checkpoint_is_named(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{place}: no checkpoint there"):
        load_params(tmp_path / place)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        Checkpoints(tmp_path / "file" / "checkpoints", 1)


# What is added to a checkpoint later


def restored_again(folder):
    """Checkpoints whose newest one was read, as a run does that goes on."""
    checkpoints = Checkpoints(folder, 3)
    assert checkpoints.restore(abstract(make_state())) is not None
    return checkpoints


def test_a_restored_checkpoint_is_given_other_metadata_and_its_criterion(tmp_path):
    checkpoints = restored_again(saved(tmp_path, 3, 4, 5))
    checkpoints.amend(5, {"seen": "more"}, 0.5)
    assert checkpoints.best_step == 5
    restored = restore(tmp_path)
    assert (restored.metadata, Checkpoints(tmp_path, 3).best_step) == ({"seen": "more"}, 5)
    assert_same(restored.state, make_state(5))


def test_a_checkpoint_that_is_gone_meanwhile_is_not_added_to(tmp_path):
    checkpoints = restored_again(saved(tmp_path, 3, 4, 5))
    shutil.rmtree(tmp_path / "5")
    with pytest.raises(UserError, match="5: gone while this run goes on from it"):
        checkpoints.amend(5, {}, 0.5)


def test_nothing_is_added_where_another_process_trains_on(tmp_path):
    checkpoints = restored_again(saved(tmp_path, 3, 4, 5))
    saved(tmp_path, 6)
    with pytest.raises(UserError, match="somebody else has saved step 6"):
        checkpoints.amend(5, {}, 0.5)
