"""scripts/tpu/watch.sh: what it does as a slice, its training and the network come and go."""

import subprocess
from pathlib import Path

import pytest

from tests.scripts.fake_gcloud import SSH, TRAIN, WHERE, printed, run


def test_watch_prints_one_round_of_everything():
    commands = "\n".join(printed("watch.sh", "--topology=v5e:4x4", "--spot", *TRAIN))
    order = ["describe", " create ", "status", "scp", "worker.sh\\ install", "worker.sh\\ start"]
    places = [commands.index(part) for part in [*order, " delete "]]
    assert places == sorted(places)


def test_watch_begins_again_after_a_preemption_and_ends_with_the_training(cloud):
    result, calls = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        "--spot",
        *TRAIN,
        states=("ACTIVE", "ACTIVE", "SUSPENDED", "ERROR: NOT_FOUND", *["ACTIVE"] * 20),
        statuses=("absent", "running", "absent", "running", "stopped", "finished"),
    )
    assert result.returncode == 0, result.stderr
    begin = ["status", "scp", "install", "start"]
    assert [call for call in calls if call != "describe"] == [
        *begin,
        "status",
        "delete",
        *begin[:1],
        "scp",
        "install",
        "start",
        "status",
        *begin,
        "status",
    ]


@pytest.mark.parametrize(("status", "starts"), [("failed", 1), ("crashed", 3)])
def test_watch_ends_with_the_log_of_a_training_that_fails(cloud, status, starts):
    result, calls = cloud(
        "watch.sh", "--topology=v5e:4x4", *TRAIN, states=("ACTIVE",), statuses=(status,)
    )
    assert result.returncode == 1
    assert calls.count("start") == starts
    assert calls[-2:] == ["status", "log"]
    assert "training failed" in result.stderr


@pytest.mark.parametrize("before", ["finished", "failed", "crashed"])
def test_watch_starts_its_command_however_the_one_before_it_ended(cloud, before):
    result, calls = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        *TRAIN,
        states=("ACTIVE",),
        statuses=(before, "running", "finished"),
    )
    assert result.returncode == 0, result.stderr
    assert calls.count("start") == 1


def test_watch_leaves_another_training_alone(cloud):
    result, calls = cloud(
        "watch.sh", "--topology=v5e:4x4", *TRAIN, states=("ACTIVE",), statuses=("other",)
    )
    assert result.returncode == 1
    assert calls == ["describe", "status"]
    assert "a training with another --run is on slice-1" in result.stderr
    command = result.stderr.splitlines()[-1]
    assert command.startswith(SSH)
    assert command.endswith(r"--command=bash\ bertjax/scripts/tpu/worker.sh\ end")


def test_watch_asks_for_its_own_training_and_installs_the_commit_it_began_with():
    asked = ["git", "-C", Path(__file__).parent, "rev-parse", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    commit = found.stdout.strip() or "HEAD"  # in a tree without its history
    commands = printed("watch.sh", "--topology=v5e:4x4", *TRAIN)
    assert any(line.endswith(r"worker.sh\ status\ gs://b/runs/base") for line in commands)
    assert any(line.endswith(f"bertjax.tar.gz {commit}") for line in commands)


def test_watch_asks_for_no_slice_without_a_commit_to_install():
    result = run("watch.sh", "--dry-run", *WHERE, *TRAIN, BERTJAX_COMMIT="none")
    assert result.returncode == 2
    assert "no commit none in git here" in result.stderr
    assert not result.stdout


def test_watch_counts_crashes_of_a_slice_that_is_there_alone(cloud):
    result, _ = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        *TRAIN,
        states=("ACTIVE", "ACTIVE", "SUSPENDED", "ERROR: NOT_FOUND", *["ACTIVE"] * 20),
        statuses=("crashed",) * 4 + ("finished",),
    )
    assert result.returncode == 0, result.stderr


def test_watch_kills_a_training_that_logs_nothing_and_starts_it_again(cloud):
    result, calls = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        *TRAIN,
        states=("ACTIVE",),
        statuses=("running", "stalled", "running", "finished"),
    )
    assert result.returncode == 0, result.stderr
    assert [call for call in calls if call != "describe"] == [
        *("status", "status", "end", "scp", "install", "start"),
        *("status", "status"),
    ]


@pytest.mark.parametrize("node", ["PREEMPTED", "ERROR: NOT_FOUND"])
def test_watch_replaces_a_slice_that_is_gone_while_its_place_in_the_queue_is_active(cloud, node):
    result, calls = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        *TRAIN,
        states=("ACTIVE",),
        statuses=("running", *["ERROR: timed out"] * 4, "finished"),
        node=node,
    )
    assert result.returncode == 0, result.stderr
    assert calls.count("delete") == 1


@pytest.mark.parametrize(
    ("states", "statuses", "node"),
    [
        (("ACTIVE",), ("ERROR: timed out",), "READY"),
        (("ACTIVE",), ("ERROR: timed out",), "REPAIRING"),
        (("ERROR: login required",), (), "ERROR: login required"),
        (("ERROR: timed out",), (), "ERROR: NOT_FOUND"),  # it may wait in the queue
    ],
)
def test_watch_changes_nothing_and_ends_where_nothing_answers_for_half_an_hour(
    cloud, states, statuses, node
):
    result, calls = cloud(
        "watch.sh", "--topology=v5e:4x4", *TRAIN, states=states, statuses=statuses, node=node
    )
    assert result.returncode == 1
    assert "no answer 4 times, state " in result.stderr
    assert not {"create", "delete", "start"} & set(calls)


@pytest.mark.parametrize(("looks", "ends"), [(4, 1), (7, 0)])
def test_watch_forgives_crashes_after_an_hour_and_a_half_of_training(cloud, looks, ends):
    between = [*["running"] * looks, "crashed"]
    result, _ = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        *TRAIN,
        states=("ACTIVE",),
        statuses=(*between * 3, "finished"),
    )
    assert result.returncode == ends


def test_watch_counts_looks_without_an_answer_in_a_row(cloud):
    half = ("ERROR: timed out",) * 3
    result, _ = cloud(
        "watch.sh",
        "--topology=v5e:4x4",
        *TRAIN,
        states=("ACTIVE",),
        statuses=("running", *half, "running", *half, "finished"),
    )
    assert result.returncode == 0, result.stderr


def test_watch_ends_where_no_slice_can_be_asked_for(cloud):
    result, calls = cloud("watch.sh", "--topology=v5e:4x4x4", *TRAIN, states=("ERROR: NOT_FOUND",))
    assert result.returncode == 2
    assert calls == ["describe"]
