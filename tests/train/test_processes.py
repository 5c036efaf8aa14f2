"""Runs that are killed or stopped in the middle, in processes of their own."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train import toy_run

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
STEPS = 120


def toy_command(run):
    return [sys.executable, "-m", "tests.train.toy_run", str(run), str(STEPS)]


def losses(run):
    file = Path(run) / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [(line["step"], line["loss"]) for line in found if "loss" in line]


def start_until(run, step):
    """A process that trains, once it has logged so many steps."""
    process = subprocess.Popen(toy_command(run), cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while len(losses(run)) < step:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_killed_runs_resume_to_bit_identical_losses(tmp_path):
    script = ROOT / "scripts" / "benchmark" / "kill_and_resume.py"
    command = [sys.executable, script, "--work", tmp_path, "--steps", str(STEPS), "--kills", "2"]
    command += ["--", *toy_command("{run}")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-identical" in done.stdout


def test_a_signal_saves_and_exits_143_and_the_run_goes_on(tmp_path):
    run = tmp_path / "stopped"
    for number, step in ((signal.SIGTERM, 25), (signal.SIGINT, 60)):
        process = start_until(run, step)
        process.send_signal(number)
        assert process.wait() == 143
        stopped = losses(run)[-1][0]
        assert step <= stopped < STEPS
        assert (run / "checkpoints" / str(stopped)).is_dir()
        assert "goes on from there" in process.stderr.read().decode()
    for folder in run, tmp_path / "alone":
        toy_run.main(str(folder), STEPS)
    assert losses(run) == losses(tmp_path / "alone")
