"""scripts/tpu: the commands that they print, and what they do where a slice comes and goes.

No cloud is here. Most tests read what --dry-run prints; the others have a `gcloud` on their path
that writes down what it was asked and answers from a list. watch.sh: test_tpu_watch.py.
"""

import subprocess

import pytest

from tests.scripts.fake_gcloud import SSH, TRAIN, WHERE, printed, run


@pytest.mark.parametrize(
    ("topology", "slice_options"),
    [
        ("v5e:4x4", "--accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite"),
        ("v6e:16x16", "--accelerator-type=v6e-256 --runtime-version=v2-alpha-tpuv6e"),
        ("v4:2x2x2", "--type=v4 --topology=2x2x2 --runtime-version=tpu-ubuntu2204-base"),
        ("v5p:4x4x4", "--type=v5p --topology=4x4x4 --runtime-version=v2-alpha-tpuv5"),
    ],
)
def test_create_asks_for_a_place_in_the_queue(topology, slice_options):
    describe, create = printed("create.sh", "--topology", topology)
    place = "slice-1 --project=p --zone=us-central1-a"
    assert describe == (
        rf"gcloud compute tpus queued-resources describe {place} --format=value\(state.state\)"
    )
    assert create == (
        f"gcloud compute tpus queued-resources create {place} --node-id=slice-1 {slice_options} "
        "--scopes=https://www.googleapis.com/auth/cloud-platform"
    )


def test_create_direct_asks_for_a_tpu_vm():
    options = ("--topology=v5e:2x4", "--direct", "--spot", "--service-account=a@b")
    _, create = printed("create.sh", *options, "--runtime-version=image")
    assert create == (
        "gcloud compute tpus tpu-vm create slice-1 --project=p --zone=us-central1-a "
        "--accelerator-type=v5litepod-8 --version=image "
        "--scopes=https://www.googleapis.com/auth/cloud-platform --spot --service-account=a@b"
    )


def test_a_reservation_and_a_private_network_reach_gcloud():
    reserved = "--reservation=r --provisioning-model=reservation-bound"
    options = ("--track=alpha", "--create-options", reserved)
    _, create = printed("create.sh", "--topology=v5e:4x4", *options)
    assert create.startswith("gcloud alpha compute tpus queued-resources create slice-1 ")
    assert create.endswith(f" {reserved}")
    _, copy, install = printed("install.sh", "--ssh-options=--internal-ip")
    assert all(" --internal-ip --worker=all" in command for command in (copy, install))


def test_settings_may_stand_in_the_environment():
    settings = {"PROJECT": "q", "ZONE": "z", "NAME": "n", "TOPOLOGY": "v6e:2x2", "SPOT": "1"}
    result = run("create.sh", **settings, DRY_RUN="1")
    create = result.stdout.splitlines()[1]
    assert "create n --project=q --zone=z --node-id=n --accelerator-type=v6e-4" in create
    assert create.endswith("--spot")


def test_install_copies_the_commit_to_every_worker():
    archive, copy, install = printed("install.sh")
    assert archive.startswith("git -C ")
    assert archive.endswith("archive --format=tar.gz --output=/tmp/bertjax.tar.gz HEAD")
    assert copy == (
        "gcloud compute tpus tpu-vm scp /tmp/bertjax.tar.gz slice-1:bertjax.tar.gz --project=p "
        r"--zone=us-central1-a --scp-flag=-o\ ServerAliveInterval=30 --worker=all"
    )
    assert install.startswith(f"{SSH} --worker=all --command=")
    assert install.endswith(r"bash\ bertjax/scripts/tpu/worker.sh\ install")


def test_pretrain_starts_the_same_command_on_every_worker():
    (start,) = printed("pretrain.sh", *TRAIN, "--train.seed=1", "--train.phases=[{}, {}]")
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {start}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[-2:] == [
        "--worker=all",
        "--command=bash bertjax/scripts/tpu/worker.sh start gs://b/data/en gs://b/runs/base "
        r"configs/base.py --train.seed=1 --train.phases=\[\{\}\,\ \{\}\]",
    ]


def test_logs_of_one_worker_are_shown_and_of_all_fetched():
    (shown,) = printed("logs.sh", "--worker", "3", "--follow")
    assert shown == f"{SSH} --worker=3 --command=tail\\ -n\\ 100\\ -f\\ bertjax-run/log"
    folder, workers, fetched = printed("logs.sh", "--output", "logs")
    assert folder == "mkdir -p logs"
    assert " describe slice-1 " in workers
    assert fetched == f"{SSH} --worker=0 --command=cat\\ bertjax-run/log"


def test_the_log_of_every_worker_is_fetched_into_a_file_of_its_own(cloud, tmp_path):
    result, calls = cloud("logs.sh", "--output", str(tmp_path / "logs"))
    assert result.returncode == 0, result.stderr
    assert calls == ["describe", "ssh", "ssh"]
    assert {file.name: file.read_text() for file in (tmp_path / "logs").iterdir()} == {
        "0.log": "a log\n",
        "1.log": "a log\n",
    }
    result, _ = cloud("logs.sh", "--output", str(tmp_path / "logs"), silent="0")
    assert result.returncode == 1
    assert "worker 0 has not answered" in result.stderr
    found = {file.name: file.read_text() for file in (tmp_path / "logs").iterdir()}
    assert found == {"0.log": "a log\n", "1.log": "a log\n"}  # the first is of the time before


@pytest.mark.parametrize(
    ("direct", "command"),
    [((), "queued-resources delete"), (("--direct",), "tpu-vm delete")],
)
def test_delete_removes_what_create_made(direct, command):
    (delete,) = printed("delete.sh", *direct)
    assert delete.startswith(f"gcloud compute tpus {command} slice-1 --project=p")
    assert ("--force" in delete) == (not direct)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("create.sh", ("--topology=v5e:4x4", "--name", "Slice"), "--name Slice: small letters"),
        ("create.sh", ("--topology=v5e:4x4", "--name"), "--name needs a value"),
        ("create.sh", ("--topology=v5e:4x4", "now"), "unknown argument now"),
        ("create.sh", (), "--topology is missing"),
        ("create.sh", ("--topology=v5e:2x2x2",), "v5e and v6e two"),
        ("create.sh", ("--topology=v9:2x2",), "v9:2x2: write one such as"),
        ("create.sh", ("--topology=v4-32",), "v4:2x2x4 (v4-32)"),
        ("create.sh", ("--topology=v5e:4x4", "--track=gamma"), "--track gamma: alpha or beta"),
        ("create.sh", ("--topology=tpu7x:2x2x1",), "use GKE"),
        ("install.sh", ("--project=",), "--project is missing"),
        ("pretrain.sh", TRAIN[:3], "name a config"),
        ("pretrain.sh", TRAIN[2:], "--data is missing"),
        ("pretrain.sh", ("--data=data/en", *TRAIN[2:]), "--data data/en: DATA of prepare in a"),
        ("pretrain.sh", (*TRAIN[:2], "--run", "runs/base", TRAIN[3]), "--run runs/base"),
        ("watch.sh", ("--topology=v5e:4x4", *TRAIN[:3]), "name a config"),
        ("logs.sh", ("--worker", "all"), "--worker all: a number"),
        ("logs.sh", ("--tail",), "unknown argument --tail"),
        ("logs.sh", ("--output", "logs", "--follow"), "leave --follow out"),
        ("delete.sh", ("slice-2",), "unknown argument slice-2"),
    ],
)
def test_a_mistake_is_told_in_one_line(script, arguments, message):
    result = run(script, "--dry-run", *WHERE, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "script", ["create.sh", "install.sh", "pretrain.sh", "watch.sh", "logs.sh", "delete.sh"]
)
def test_help_is_answered(script):
    result = run(script, "--help")
    assert result.returncode == 0
    assert f"scripts/tpu/{script} --project ID" in result.stdout
    assert "--runtime-version V" in result.stdout


def test_create_waits_until_the_slice_is_there(cloud):
    states = ("ERROR: NOT_FOUND", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")
    result, calls = cloud("create.sh", "--topology=v5e:4x4", states=states)
    assert result.returncode == 0
    assert calls == ["describe", "create", "describe", "describe", "describe"]


def test_create_finds_a_slice_that_is_there(cloud):
    result, calls = cloud("create.sh", "--topology=v5e:4x4", states=("ACTIVE",))
    assert result.returncode == 0
    assert "create" not in calls


def test_create_asks_for_nothing_where_gcloud_cannot_tell(cloud):
    result, calls = cloud("create.sh", "--topology=v5e:4x4", states=("ERROR: login required",))
    assert result.returncode == 1
    assert "login required" in result.stderr
    assert calls == ["describe"]
