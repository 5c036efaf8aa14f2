"""Runs scripts/tpu: a dry run, or with a `gcloud` that notes what it is asked, and answers."""

import os
import subprocess
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts" / "tpu"
WHERE = ("--project", "p", "--zone=us-central1-a", "--name", "slice-1")
TRAIN = ("--data", "gs://b/data/en", "--run=gs://b/runs/base", "configs/base.py")
SETTINGS = (
    *("PROJECT", "ZONE", "NAME", "TOPOLOGY", "SPOT", "DIRECT", "DRY_RUN", "SERVICE_ACCOUNT"),
    *("CREATE_OPTIONS", "SSH_OPTIONS", "TRACK"),
)
SSH = (
    "gcloud compute tpus tpu-vm ssh slice-1 --project=p --zone=us-central1-a "
    r"--ssh-flag=-o\ ServerAliveInterval=30"
)
GCLOUD = """\
#!/usr/bin/env bash
cd "$GCLOUD_FOLDER"
echo "$*" >>calls
case "$*" in
    *"worker.sh status"*) answers=status ;;
    *networkEndpoints*) printf '10.0.0.%s\\n' 1 2 && exit 0 ;;
    *worker=$SILENT*"cat bertjax-run/log"*) exit 255 ;;
    *"cat bertjax-run/log"*) echo "a log" && exit 0 ;;
    *"tpu-vm describe"*) answers=node ;;
    *" describe "*) answers=state ;;
    *) exit 0 ;;
esac
mapfile -t lines <$answers
[[ ${#lines[@]} -eq 1 ]] || printf '%s\\n' "${lines[@]:1}" >$answers
[[ ${lines[0]} != ERROR* ]] || { echo "${lines[0]}" >&2; exit 1; }
echo "${lines[0]}"
"""
GIT = """\
#!/usr/bin/env bash
for word; do
    case $word in
        --output=*) : >"${word#*=}" ;;
        rev-parse) echo 0123456789abcdef ;;
    esac
done
"""


def run(script, *arguments, path="", **variables):
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment["PATH"] = f"{path}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments],
        capture_output=True,
        text=True,
        env={**environment, **variables},
        timeout=300,  # of a busy machine
    )


def printed(script, *arguments, **variables):
    """What a dry run prints, one command a line."""
    result = run(script, "--dry-run", *WHERE, *arguments, **variables)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def verb(call):
    for verb in ("install", "start", "status", "end", "log"):
        if f"worker.sh {verb}" in call:
            return verb
    return next(
        word for word in ("describe", "create", "delete", "scp", "ssh") if word in call.split()
    )
