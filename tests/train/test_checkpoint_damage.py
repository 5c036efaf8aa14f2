"""Damaged and unfinished checkpoints: named, and the one before is used."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertjax.errors import UserError
from bertjax.train import storage
from bertjax.train.checkpoint import Checkpoints, load_params
from tests.train.states import abstract, assert_same, make_state, restore, saved


def data_files(step_folder):
    """The files that hold a step's weights."""
    return [file for file in (step_folder / "params").rglob("d/*") if file.is_file()]


def flip_byte(file, position):
    content = bytearray(file.read_bytes())
    content[position % len(content)] ^= 0x10
    file.write_bytes(content)


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


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("no answer"),
        OSError(errno.ESTALE, "Stale file handle"),
        ValueError("UNAVAILABLE: the server is busy"),
    ],
)
def test_a_server_that_does_not_answer_makes_no_checkpoint_a_damaged_one(
    tmp_path, monkeypatch, error
):
    saved(tmp_path, 3)

    def fail(*_):
        raise error

    monkeypatch.setattr(storage.ocp, "load_checkpointables", fail)
    with pytest.raises(type(error), match=str(error.args[-1])):
        restore(tmp_path)
    monkeypatch.undo()
    assert restore(tmp_path).step == 3


def test_a_checkpoint_that_may_not_be_read_is_told_and_kept(tmp_path, monkeypatch):
    saved(tmp_path, 3)

    def fail(*_):
        raise ValueError("PERMISSION_DENIED: storage.objects.get")

    monkeypatch.setattr(storage.ocp, "load_checkpointables", fail)
    with pytest.raises(UserError, match=r"3: may not be read \(PERMISSION_DENIED: storage"):
        restore(tmp_path)


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
    with pytest.raises(UserError, match=r"no checkpoint there is sound \(1: an empty folder\)"):
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
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


SAVE_FOREVER = """
import itertools, sys
import jax.numpy as jnp
from bertjax.train import storage
from bertjax.train.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1], 2)
first = max(checkpoints.steps(), default=0) + 1
for step in itertools.count(first):
    state = {"params": {"kernel": jnp.full((256, 1024), float(step))}, "step": jnp.int32(step)}
    checkpoints.save(step, state, {"seen": step}, criterion=1 / step)
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
