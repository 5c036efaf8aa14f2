"""Checkpoints: what is kept, what comes back, and what happens to a damaged one."""

import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from bertjax.errors import UserError
from bertjax.train.checkpoint import Checkpoints, load_params

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def make_state(step=0):
    """A state like the training loop's: every dtype it may hold, NamedTuples, empty nodes."""
    key = jax.random.key(step)
    params = {
        "embeddings": {"kernel": jax.random.normal(key, (64, 16))},
        "layers": {str(layer): {"bias": jnp.full(8, layer + step / 8)} for layer in range(2)},
        "half": jnp.arange(8, dtype=jnp.bfloat16) + step,
    }
    return {
        "params": params,
        "optimizer": OPTIMIZER.init(params),
        "step": jnp.int32(step),
        "key": key,
        "nothing": {},
    }


def abstract(state, sharding=None):
    sharding = sharding or SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
    )


def values(tree):
    """Every leaf as a NumPy array, random keys as their data."""

    def value(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    return jax.tree.map(value, tree)


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, values(found), values(expected))


def saved(folder, *steps, keep=5):
    """A checkpoints folder with the given steps."""
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, make_state(step), {"seen": step})
    checkpoints.close()
    return folder


def restore(folder):
    return Checkpoints(folder, 5).restore(abstract(make_state()))


def data_files(step_folder):
    """The files that hold a step's weights."""
    return [file for file in (step_folder / "params").rglob("d/*") if file.is_file()]


def flip_byte(file, position):
    content = bytearray(file.read_bytes())
    content[position % len(content)] ^= 0x10
    file.write_bytes(content)


# What comes back


def test_a_new_folder_has_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 3)
    assert checkpoints.restore(abstract(make_state())) is None
    assert (checkpoints.steps(), checkpoints.latest_step, checkpoints.best_step) == ([], None, None)


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
        checkpoints.save(step, make_state(step), {}, validation_loss=loss)
    checkpoints.close()
    assert (checkpoints.steps(), checkpoints.latest_step, checkpoints.best_step) == (
        [2, 4, 5],
        5,
        2,
    )
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "4", "5"]
    assert Checkpoints(tmp_path, 2).best_step == 2  # known again in another process


def test_the_later_of_two_equally_good_ones_is_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, 3)
    for step in (1, 2):
        checkpoints.save(step, make_state(step), {}, validation_loss=1.5)
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


# Damage


def truncate(step_folder):
    for file in data_files(step_folder):
        os.truncate(file, file.stat().st_size // 2)


def empty(step_folder):
    shutil.rmtree(step_folder)
    step_folder.mkdir()


def flip_a_weight(step_folder):
    weights = np.asarray(make_state(3)["params"]["embeddings"]["kernel"]).tobytes()
    (file,) = [file for file in data_files(step_folder) if weights in file.read_bytes()]
    flip_byte(file, file.read_bytes().index(weights) + 50)


def edit_metadata(step_folder):
    file = step_folder / "_CHECKPOINT_METADATA"
    file.write_text(file.read_text().replace('seen\\": 3', 'seen\\": 4'))


DAMAGES = {
    "truncated data": (truncate, "its data cannot be read"),
    "an empty folder": (empty, "an empty folder"),
    "a flipped byte": (flip_a_weight, "params/embeddings/kernel is not what was saved"),
    "no metadata": (lambda s: (s / "_CHECKPOINT_METADATA").unlink(), "its metadata is missing"),
    "edited metadata": (edit_metadata, "its metadata is not what was saved"),
    "empty metadata": (
        lambda s: (s / "_CHECKPOINT_METADATA").write_text(""),
        "its metadata cannot be read",
    ),
    "no weights": (lambda s: shutil.rmtree(s / "params"), "its data cannot be read"),
    "no manifest": (
        lambda s: (s / "training" / "manifest.ocdbt").unlink(),
        "its data cannot be read",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage):
    saved(tmp_path, 2, 3)
    break_it, reason = DAMAGES[damage]
    break_it(tmp_path / "3")
    restored = restore(tmp_path)
    assert restored.step == 2
    assert_same(restored.state, make_state(2))
    assert len(restored.skipped) == 1
    assert restored.skipped[0].startswith(f"3: {reason}")
    assert "\n" not in restored.skipped[0]


def test_several_damaged_ones_are_all_named_newest_first(tmp_path):
    saved(tmp_path, 2, 3, 4)
    empty(tmp_path / "4")
    flip_a_weight(tmp_path / "3")
    restored = restore(tmp_path)
    assert restored.step == 2
    assert [line.split(":")[0] for line in restored.skipped] == ["4", "3"]


def test_nothing_but_damaged_checkpoints_is_refused(tmp_path):
    saved(tmp_path, 1)
    empty(tmp_path / "1")
    with pytest.raises(UserError, match=r"every checkpoint is damaged \(1: an empty folder\)"):
        restore(tmp_path)


def test_a_damaged_step_is_saved_anew_when_training_comes_to_it_again(tmp_path):
    saved(tmp_path, 2, 3)
    flip_a_weight(tmp_path / "3")
    checkpoints = Checkpoints(tmp_path, 5)
    checkpoints.restore(abstract(make_state()))
    assert checkpoints.steps() == [2]
    checkpoints.save(3, make_state(3), {})
    restored = checkpoints.restore(abstract(make_state()))
    assert (restored.step, restored.skipped) == (3, ())


def test_a_damaged_step_does_not_count_among_those_kept(tmp_path):
    saved(tmp_path, 2, 3)
    empty(tmp_path / "3")
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(5, make_state(5), {})
    checkpoints.close()
    assert checkpoints.steps() == [2, 5]
    assert not (tmp_path / "3").exists()


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("two") / "checkpoints", 2, 3)


@pytest.mark.slow
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_flipped_byte_anywhere_gives_a_wrong_state(two_steps, tmp_path, which, position):
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(two_steps, folder)
    files = sorted(file for file in (folder / "3").rglob("*") if file.is_file())
    files = [file for file in files if file.stat().st_size]
    flip_byte(files[which % len(files)], position)
    restored = restore(folder)
    assert_same(restored.state, make_state(restored.step))
    assert restored.metadata == {"seen": restored.step}
    assert (restored.step == 2) == bool(restored.skipped)


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


def test_damaged_weights_are_reported_and_the_ones_before_are_read(tmp_path, caplog):
    saved(tmp_path, 2, 3)
    flip_a_weight(tmp_path / "3")
    assert load_params(tmp_path)[1] == 2
    assert "3: params/embeddings/kernel is not what was saved" in caplog.text


def test_a_damaged_step_asked_for_by_name_is_refused(tmp_path):
    saved(tmp_path / "checkpoints", 2, 3)
    flip_a_weight(tmp_path / "checkpoints" / "3")
    with pytest.raises(UserError, match="embeddings/kernel is not what was saved"):
        load_params(tmp_path / "checkpoints" / "3")


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_without_a_checkpoint_is_named(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{place}: no checkpoint there"):
        load_params(tmp_path / place)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        Checkpoints(tmp_path / "file" / "checkpoints", 1)


# Kills

SAVE_FOREVER = """
import itertools, sys
import jax.numpy as jnp
from bertjax.train.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1], 2)
first = (checkpoints.latest_step or 0) + 1
for step in itertools.count(first):
    state = {"params": {"kernel": jnp.full((256, 1024), float(step))}, "step": jnp.int32(step)}
    checkpoints.save(step, state, {"seen": step}, validation_loss=1 / step)
    if step == first + 1:
        print("saving", flush=True)
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_kill_at_any_moment_leaves_a_sound_checkpoint(tmp_path):
    moments = random.Random(0)
    reached = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        ) as process:
            assert process.stdout.readline() == "saving\n"
            time.sleep(moments.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
        params, step = load_params(tmp_path)
        np.testing.assert_array_equal(params["kernel"], np.full((256, 1024), float(step)))
        assert step > reached
        reached = step
    state = {"params": {"kernel": jnp.zeros((256, 1024))}, "step": jnp.int32(0)}
    restored = Checkpoints(tmp_path, 2).restore(abstract(state))
    assert (restored.step, restored.skipped) == (reached, ())
    assert all(entry.name.isdecimal() for entry in tmp_path.iterdir())
