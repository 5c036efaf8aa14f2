"""Local files and folders: whole or not at all, and one process at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.files import held, write_whole

ROOT = Path(__file__).parent.parent


def enter(folder, told="it"):
    """Holds a folder for a moment."""
    with held(folder, told):
        pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_once_it_is_complete(tmp_path):
    def write(path):
        path.write_text("half")
        assert not (tmp_path / "file").exists()
        path.write_text("whole")

    write_whole(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "whole"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    def write(path):
        path.mkdir()
        (path / "inside").write_text("")

    write_whole(tmp_path / "folder", write)
    assert names(tmp_path / "folder") == ["inside"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_half_way_leaves_nothing_and_the_old_file_as_it_was(tmp_path, kind):
    def write(path):
        if kind == "folder":
            path.mkdir()
            path /= "inside"
        path.write_text("half")
        raise OSError("no more")

    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="no more"):
        write_whole(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_held_folder_is_refused_to_others_and_free_again_afterwards(tmp_path):
    folder = tmp_path / "deep" / "run"
    with held(folder, "it"):
        with pytest.raises(UserError, match="--run deep/run: another bertjax process is at work"):
            enter(folder, "--run deep/run")
        (folder / "result").write_text("")
    enter(folder)
    assert names(folder) == ["result"]


def test_a_folder_in_which_nothing_was_left_is_removed(tmp_path):
    enter(tmp_path / "run")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--run x: cannot be written"):
        enter(tmp_path / "file" / "run", "--run x")


HOLD = """
import sys, time
from pathlib import Path
from bertjax.files import held
with held(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_a_killed_process_holds_nothing(tmp_path):
    folder = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another bertjax process"):
            enter(folder)
        process.kill()
    assert names(folder) == [".lock"]
    enter(folder)
    assert not folder.exists()


COMPETE = """
import sys
from pathlib import Path
from bertjax.errors import UserError
from bertjax.files import held
folder, times = Path(sys.argv[1]), 0
while times < 50:
    try:
        with held(folder, "it"):
            (folder / "alone").touch(exist_ok=False)
            (folder / "alone").unlink()
            times += 1
    except UserError:
        continue
"""


@pytest.mark.process
def test_of_many_processes_only_one_at_a_time_holds_a_folder(tmp_path):
    command = [sys.executable, "-c", COMPETE, str(tmp_path / "run")]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
