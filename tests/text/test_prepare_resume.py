"""A killed `prepare` goes on where it stopped, and the result is the same to the byte."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.files import held
from bertjax.text import prepare as prepare_module
from bertjax.text.prepare import prepare
from tests.text.corpora import digests, silent, small_settings

pytestmark = pytest.mark.process

# Dies when it is about to put the N-th file in its place (N = 0: at the N-th progress call).
SCRIPT = """
import json, multiprocessing, os, signal, sys
from pathlib import Path
from bertjax.text import prepare as prepare_module

corpus, output, renames, calls, workers = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
prepare_module._MIN_CHUNK_BYTES = 3000
replace, done = Path.replace, [0]

def die():
    print(json.dumps([child.pid for child in multiprocessing.active_children()]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def counted(path, target):
    done[0] += 1
    if done[0] == renames:
        die()
    return replace(path, target)

def progress(phase, number, total, unit):
    if phase == "tokenizing" and number >= calls > 0:
        die()

Path.replace = counted
prepare_module.prepare(
    prepare_module.PrepareSettings(
        (corpus,), output, vocab_size=200, validation=0.2, workers=workers
    ),
    progress,
)
"""


def run_until_killed(
    corpus: Path, output: Path, *, renames: int = 0, calls: int = 0, workers: int = 1
) -> subprocess.CompletedProcess[str]:
    arguments = [str(corpus), str(output), *map(str, (renames, calls, workers))]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def uninterrupted(data) -> dict[str, str]:
    return digests(data)


@pytest.mark.slow
def test_killed_at_one_file_after_another_it_still_finishes_the_same(
    corpus, uninterrupted, tmp_path
):
    for renames in range(2, 40):
        run = run_until_killed(corpus, tmp_path / "data", renames=renames)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL, run.stderr
        assert not (tmp_path / "data" / "manifest.json").exists()
    assert renames > 6
    assert run.returncode == 0
    assert digests(tmp_path / "data") == uninterrupted


def test_killed_with_two_workers_it_leaves_no_process_and_goes_on_with_one(
    corpus, uninterrupted, tmp_path, monkeypatch
):
    run = run_until_killed(corpus, tmp_path / "data", calls=10, workers=2)
    assert run.returncode == -signal.SIGKILL, run.stderr
    workers = json.loads(run.stdout)
    assert workers
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in workers)

    monkeypatch.setattr(prepare_module, "_MIN_CHUNK_BYTES", 3000)
    first_calls: dict[str, int] = {}
    prepare(
        small_settings(corpus, tmp_path / "data"),
        lambda phase, done, *_: first_calls.setdefault(phase, done),
    )
    assert "reading" not in first_calls
    assert first_calls["tokenizing"] >= 10
    assert digests(tmp_path / "data") == uninterrupted


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_an_interrupted_run_refuses_other_settings_and_another_text(corpus, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(corpus.read_text())
    run = run_until_killed(text, tmp_path / "data", renames=4)
    assert run.returncode == -signal.SIGKILL, run.stderr
    with pytest.raises(UserError, match="interrupted run made with vocab_size=200, not 150"):
        prepare(small_settings(text, tmp_path / "data", vocab_size=150), silent)
    text.write_text(corpus.read_text() + "\nMore.\n")
    with pytest.raises(UserError, match="the corpus or the tokenizer has changed"):
        prepare(small_settings(text, tmp_path / "data"), silent)


def test_a_folder_at_which_another_process_works_is_refused_and_left_alone(corpus, tmp_path):
    run = run_until_killed(corpus, tmp_path / "data", renames=5)
    assert run.returncode == -signal.SIGKILL, run.stderr
    with held(tmp_path / "data", "the other"):
        before = digests(tmp_path / "data")
        with pytest.raises(UserError, match=r"--output .*/data: another bertjax process"):
            prepare(small_settings(corpus, tmp_path / "data"), silent)
        assert digests(tmp_path / "data") == before
    prepare(small_settings(corpus, tmp_path / "data"), silent)


def test_a_worker_that_dies_is_told_in_one_line(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "_chunk_tokenizer", _dying_tokenizer)
    with pytest.raises(UserError, match=r"a worker process died.*run the command again"):
        prepare(small_settings(corpus, tmp_path / "data", workers=2), silent)


def _dying_tokenizer(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
