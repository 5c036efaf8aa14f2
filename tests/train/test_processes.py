"""Runs that are killed, stopped or spread over processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
STEPS = 120


def toy_command(run):
    return [sys.executable, "-m", "tests.train.toy_run", str(run), str(STEPS)]


def start(run, devices=2, **environment):
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | environment | {"XLA_FLAGS": flags}
    return subprocess.Popen(toy_command(run), cwd=ROOT, env=environment, stderr=subprocess.PIPE)


def losses(run):
    file = Path(run) / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [(line["step"], line["loss"]) for line in found if "loss" in line]


def wait_for_step(processes, run, step):
    deadline = time.monotonic() + 240
    while len(losses(run)) < step:
        for process in processes:
            assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    run = tmp_path_factory.mktemp("alone")
    process = start(run)
    assert process.wait() == 0, process.stderr.read().decode()
    return losses(run)


def test_killed_runs_resume_to_bit_identical_losses(tmp_path):
    script = ROOT / "scripts" / "benchmark" / "kill_and_resume.py"
    command = [sys.executable, script, "--work", tmp_path, "--steps", str(STEPS), "--kills", "3"]
    command += ["--", *toy_command("{run}")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-identical" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_143_and_the_run_goes_on(tmp_path, alone, number):
    process = start(tmp_path)
    wait_for_step([process], tmp_path, 25)
    process.send_signal(number)
    assert process.wait() == 143
    stopped = losses(tmp_path)[-1][0]
    assert stopped < STEPS
    assert (tmp_path / "checkpoints" / str(stopped)).is_dir()
    assert "goes on from there" in process.stderr.read().decode()
    assert start(tmp_path).wait() == 0
    assert losses(tmp_path) == alone


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_train_as_one_and_stop_together(tmp_path, alone):
    coordinator = f"127.0.0.1:{free_port()}"
    shared = {"JAX_COORDINATOR_ADDRESS": coordinator, "JAX_NUM_PROCESSES": "2", "devices": 1}
    processes = [start(tmp_path, JAX_PROCESS_ID=str(rank), **shared) for rank in range(2)]
    wait_for_step(processes, tmp_path, 30)
    processes[1].send_signal(signal.SIGTERM)
    assert [process.wait() for process in processes] == [143, 143]
    found = losses(tmp_path)
    assert (tmp_path / "checkpoints" / str(found[-1][0])).is_dir()
    np.testing.assert_allclose(found, alone[: len(found)], rtol=1e-4)
