"""scripts/tpu/worker.sh, which runs on each worker: really run, over stand-ins for its programs."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

WORKER = Path(__file__).parents[2] / "scripts" / "tpu" / "worker.sh"


@pytest.fixture
def worker(tmp_path):
    """A home with a checkout whose bertjax waits for the file `go`, then exits as it says."""
    script = tmp_path / "bertjax" / "scripts" / "tpu" / "worker.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(WORKER, script)
    programs = {
        "bertjax/.venv/bin/bertjax": 'echo "$@"; until [[ -f ~/go ]]; do sleep 0.05; done\n'
        "code=$(<~/go); rm ~/go; exit $code",
        "bin/gcloud": 'echo gcloud "$@"',
    }
    for name, text in programs.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/usr/bin/env bash\n{text}\n")
        file.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    def call(*arguments):
        return subprocess.run(
            ["bash", str(script), *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HOME": str(tmp_path), "PATH": path, "HOSTNAME": "w0"},
            timeout=30,
        ).stdout

    yield call
    call("end")  # what a test that failed has left running


def wait_for(worker, status):
    for _ in range(200):
        if worker("status") == f"{status}\n":
            return
        time.sleep(0.05)
    raise AssertionError(f"{worker('status')} instead of {status}")


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "status"), [(0, "finished"), (143, "stopped"), (2, "failed"), (1, "crashed")]
)
def test_training_runs_detached_once_and_leaves_its_exit_status(worker, tmp_path, code, status):
    assert worker("status") == "absent\n"
    start = ("start", "gs://b/data", "gs://b/run", "configs/base.py", "--train.phases=[{}, {}]")
    assert "started" in worker(*start)
    wait_for(worker, "running")
    assert "runs already" in worker(*start)
    (tmp_path / "go").write_text(str(code))
    wait_for(worker, status)
    data = tmp_path / "bertjax-run" / "data" / "b" / "data"
    assert worker("log").splitlines()[1:] == [
        f"gcloud storage rsync --recursive gs://b/data {data}",
        f"pretrain configs/base.py --train.phases=[{{}}, {{}}] --data {data} --run gs://b/run",
    ]


@pytest.mark.process
def test_another_training_is_told_and_left_alone(worker, tmp_path):
    own, other = (["gs://b/data", f"gs://b/{run}", "configs/base.py"] for run in ("run", "other"))
    worker("start", *own)
    wait_for(worker, "running")
    for _ in range(200):
        if worker("log", "1").startswith("pretrain "):  # it has begun
            break
        time.sleep(0.05)
    assert worker("status", "gs://b/run/") == "running\n"
    assert worker("status", "gs://b/other") == "other\n"
    assert "runs already" in worker("start", *own, "--train.log_every=10")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        worker("start", *other)
    assert "gs://b/run is trained here; worker.sh end" in refused.value.stderr
    (tmp_path / "go").write_text("0")
    wait_for(worker, "finished")


@pytest.mark.process
def test_a_training_that_logs_nothing_is_stalled_and_can_be_killed(worker, tmp_path):
    start = ("start", "gs://b/data", "gs://b/run", "configs/base.py")
    worker(*start)
    wait_for(worker, "running")
    for _ in range(200):
        if worker("log", "1").startswith("pretrain "):  # the last that it logs
            break
        time.sleep(0.05)
    an_hour_ago = time.time() - 3600
    os.utime(tmp_path / "bertjax-run" / "log", (an_hour_ago, an_hour_ago))
    wait_for(worker, "stalled")
    assert "runs already" in worker(*start)
    worker("end")
    assert worker("status") == "crashed\n"
    assert "started" in worker(*start)
    wait_for(worker, "running")


@pytest.mark.process
def test_a_training_that_has_ended_keeps_its_status(worker, tmp_path):
    worker("end")
    assert worker("status") == "absent\n"
    worker("start", "gs://b/data", "gs://b/run", "configs/base.py")
    wait_for(worker, "running")
    (tmp_path / "go").write_text("0")
    wait_for(worker, "finished")
    worker("end")
    assert worker("status") == "finished\n"


@pytest.mark.process
def test_the_copy_of_other_data_makes_room(worker, tmp_path):
    for name in ("old", "new"):
        worker("start", f"gs://b/{name}", "gs://b/run", "configs/base.py")
        wait_for(worker, "running")
        (tmp_path / "go").write_text("0")
        wait_for(worker, "finished")
    assert [folder.name for folder in (tmp_path / "bertjax-run/data/b").iterdir()] == ["new"]


@pytest.mark.process
def test_the_same_command_starts_it_again(worker, tmp_path):
    start = ("start", "gs://b/data", "gs://b/run", "configs/base.py")
    for code, status in ((143, "stopped"), (0, "finished")):
        worker(*start)
        wait_for(worker, "running")
        (tmp_path / "go").write_text(str(code))
        wait_for(worker, status)
    assert worker("log", "2").count("pretrain") == 1
