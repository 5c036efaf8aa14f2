"""One run on two hosts: two real processes of four devices each."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bertjax import cli
from bertjax.files import held
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.batches import TrainingBatches
from tests.small_run import OPTIONS
from tests.train import host
from tests.train.toy import small_config

ROOT = Path(__file__).parents[2]
process = pytest.mark.process
slow = pytest.mark.slow


def start_two(*commands, slurm=False, devices=(4, 4)):
    """Starts a command per process; the processes know of each other."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    flags = os.environ["XLA_FLAGS"]
    own = (by_slurm if slurm else by_variables)(port, len(commands))
    for variables, count in zip(own, devices, strict=True):
        variables["XLA_FLAGS"] = flags.replace("device_count=8", f"device_count={count}")
    return [
        subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            cwd=ROOT,
            env=os.environ | variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, variables in zip(commands, own, strict=True)
    ]


def by_variables(port, count):
    """What a user sets."""
    both = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(count)}
    return [both | {"JAX_PROCESS_ID": str(rank)} for rank in range(count)]


def by_slurm(port, count):
    """What srun sets."""
    both = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": str(count)}
    both |= {"JAX_COORDINATOR_PORT": str(port)}  # by default it is made of the job's number
    return [both | dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID"), str(n)) for n in range(count)]


def ends(processes):
    """Exit status and last line of each process."""
    told = [process.communicate(timeout=300)[1].splitlines() for process in processes]
    lines = [[line for line in own if line.startswith("bertjax: ")] for own in told]
    return [(process.returncode, own[-1:]) for process, own in zip(processes, lines, strict=True)]


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def two(data, tmp_path_factory):
    """The folder in which two processes went on with what one had begun, and how they ended."""
    folder = tmp_path_factory.mktemp("two")
    host.train_bert(data, folder / "bert", host.BERT_BEGUN)
    host.train_toy(folder / "toy", host.TOY_BEGUN)
    command = ["tests.train.host", data, folder]
    processes = start_two(command, command)
    while not (folder / "stopped" / "metrics.jsonl").exists():
        assert [process.poll() for process in processes] == [None, None], ends(processes)
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGTERM)
    return folder, ends(processes)


@process
@slow
def test_bert_has_the_losses_of_one_process_whoever_wrote_the_checkpoint(two, data, tmp_path):
    last = host.BERT_JOINT + 2
    run = shutil.copytree(two[0] / "bert", tmp_path / "bert")
    host.train_bert(data, run, last)  # begun by one, gone on by two, ended by one
    host.train_bert(data, tmp_path / "alone", last)
    assert [step for step, _ in losses(run)] == list(range(1, last + 1))
    np.testing.assert_allclose(losses(run), losses(tmp_path / "alone"), rtol=1e-6)


@process
@slow
def test_parameters_split_over_processes_give_the_losses_of_one(two, tmp_path):
    last = host.TOY_TENSOR + 4
    run = shutil.copytree(two[0] / "toy", tmp_path / "toy")
    host.train_toy(run, last)
    host.train_toy(tmp_path / "alone", last)
    assert [step for step, _ in losses(run)] == list(range(1, last + 1))
    np.testing.assert_allclose(losses(run), losses(tmp_path / "alone"), rtol=1e-6)


@process
@slow
def test_each_process_makes_the_rows_of_its_devices_alone(two, data):
    batches = TrainingBatches(data, load_tokenizer(data), small_config())
    whole = batches(0)["token_ids"].tolist()
    made = [json.loads((two[0] / f"{rank}.json").read_text())["rows"] for rank in range(2)]
    halves = [whole[:4], whole[4:]]
    assert [own[0] for own in made] == halves
    assert [own[1] for own in made] == halves
    assert [own[2] for own in made] == [whole, whole]  # a tensor group needs its rows everywhere


@process
@slow
def test_one_process_writes_the_run(two):
    files = {file.name for file in (two[0] / "bert").iterdir()}
    written = {"config.json", "summary.json", "metrics.jsonl", "checkpoints", "tokenizer"}
    assert written < files
    assert len(files - written) == 1  # the events
    assert json.loads((two[0] / "bert" / "summary.json").read_text())["devices"] == 8


@process
@slow
def test_a_signal_to_one_stops_both_after_the_same_step_with_a_checkpoint(two):
    folder, found = two
    assert [status for status, _ in found] == [143, 143]
    stopped = losses(folder / "stopped")[-1][0]
    assert (folder / "stopped" / "checkpoints" / str(stopped)).is_dir()


@process
@slow
@pytest.mark.parametrize(
    ("what", "told"),
    [("own folder", "not every host sees what the first one writes"), ("own seed", "differ in")],
)
def test_processes_that_were_started_differently_are_all_refused(two, what, told):
    for rank in range(2):
        assert told in json.loads((two[0] / f"{rank}.json").read_text())[what]


def commands(data, other_data, run):
    start = ("bertjax", "pretrain", "base", "--run", run, *OPTIONS)
    return (*start, "--data", data), (*start, "--data", other_data)


@process
@slow
def test_a_folder_in_use_ends_all_processes_of_slurm_with_one_line_each(data, tmp_path):
    with held(tmp_path, "elsewhere"):
        processes = start_two(*commands(data, data, tmp_path), slurm=True)
        (first, told), (second, heard) = ends(processes)
    assert (first, second) == (2, 2)
    assert "another bertjax process is at work in this folder" in told[0]
    assert heard == [told[0].replace("bertjax: ", "bertjax: ended by process 0: ")]


@process
@slow
def test_damaged_data_on_one_host_ends_all_processes_with_one_line_each(data, tmp_path):
    damaged = shutil.copytree(data, tmp_path / "data")
    for shard in (damaged / "train").glob("*record*"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    processes = start_two(*commands(data, damaged, tmp_path / "run"))
    (first, heard), (second, told) = ends(processes)
    assert (first, second) == (2, 2)
    assert told[0].startswith(f"bertjax: {damaged}/train/")
    assert "is damaged" in told[0]
    assert heard == [told[0].replace("bertjax: ", "bertjax: ended by process 1: ")]


@process
@slow
def test_processes_with_unequal_numbers_of_devices_are_refused(data, tmp_path):
    processes = start_two(*commands(data, data, tmp_path / "run"), devices=(3, 1))
    for status, told in ends(processes):
        assert status == 2
        assert "every process needs as many devices as the others" in told[0]


@process
def test_a_coordinator_that_does_not_answer_is_told_in_one_line():
    program = "from bertjax.train.processes import join_processes; join_processes(timeout=1)"
    variables = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    variables["JAX_COORDINATOR_ADDRESS"] = "127.0.0.1:9"
    command = [sys.executable, "-c", program]
    found = subprocess.run(
        command, env=os.environ | variables, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert found.stderr == (
        "bertjax: process 1 of 2, coordinator 127.0.0.1:9: the processes did not all come together "
        "within 1 s; start all of them, and let all reach that address\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        "evaluate RUN --data DATA",
        "embed RUN --input INPUT --output OUTPUT",
        "fill-mask RUN [MASK]",
        "finetune sst2 --init RUN --train TRAIN --dev DEV --run NEW",
    ],
)
def test_other_commands_are_refused_under_several_processes(command, monkeypatch, capsys, tmp_path):
    (tmp_path / "INPUT").write_text("a line\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[1-2]")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert cli.main(command.split()) == 2
    name = command.split()[0]
    assert f"bertjax {name} runs in one process, and 2 were started" in capsys.readouterr().err
