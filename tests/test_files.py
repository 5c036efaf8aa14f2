"""Local files and folders: whole or not at all, and one process at a time."""

import os
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

from bertjax.errors import UserError
from bertjax.files import check_output, held, located, read_json, require_local, write_whole
from tests.train.bucket import Bucket, use_bucket

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


@pytest.mark.parametrize("files", [[""], ["first", "inner/second"]], ids=["file", "folder"])
def test_every_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, files):
    synced, fsync = {}, os.fsync

    def tell(descriptor):
        fsync(descriptor)
        synced[os.fstat(descriptor).st_ino] = (tmp_path / "target").exists()

    def write(path):
        for name in files:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text("whole")

    monkeypatch.setattr(os, "fsync", tell)
    write_whole(tmp_path / "target", write)
    assert synced == {(tmp_path / "target" / name).stat().st_ino: False for name in files}


WRITE_HALF = """
import sys, time
from pathlib import Path
from bertjax.files import write_whole
def write(path):
    file = path / "inside" if sys.argv[2] == "folder" else path
    file.parent.mkdir(exist_ok=True)
    file.write_text("half")
    print("half", flush=True)
    time.sleep(60)
write_whole(Path(sys.argv[1]), write)
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path, kind):
    command = [sys.executable, "-c", WRITE_HALF, str(tmp_path / "name"), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"half\n"
        begun = [f"name.{gethostname()}.{process.pid}.tmp"]
        assert names(tmp_path) == begun
        write_whole(tmp_path / "name", lambda path: path.write_text("whole"))
        assert names(tmp_path) == ["name", *begun]
        process.kill()
    write_whole(tmp_path / "name", lambda path: path.write_text("whole"))
    assert names(tmp_path) == ["name"]


def test_what_a_killed_process_of_the_same_number_left_is_removed(tmp_path):
    (tmp_path / f"name.{gethostname()}.{os.getpid()}.tmp").mkdir()
    write_whole(tmp_path / "name", lambda path: path.write_text("whole"))
    assert names(tmp_path) == ["name"]


def test_the_users_files_of_similar_names_stay(tmp_path):
    theirs = [
        "name.tmp",
        "name.old.tmp",
        "name.1.tmp.gz",
        "other.999999999.tmp",
        "name.elsewhere.999999999.tmp",
    ]
    for name in theirs:
        (tmp_path / name).touch()
    write_whole(tmp_path / "name", lambda path: path.write_text("whole"))
    assert names(tmp_path) == sorted(["name", *theirs])


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


class HttpError(Exception):
    """As gcsfs has it, for a caller without an account."""

    code = 401


@pytest.mark.parametrize(
    "error", [OSError("Forbidden: gs://b/run\nno access"), HttpError("no access, 401")]
)
def test_a_bucket_that_may_not_be_read_is_told_in_one_line(monkeypatch, tmp_path, error):
    def refuse(*_):
        raise error

    use_bucket(monkeypatch, tmp_path)
    monkeypatch.setattr(Bucket, "exists", refuse)
    with pytest.raises(UserError, match=r"^gs://b/run: may not be read \(.*no access.*\).*$"):
        located("gs://b/run", "run folder")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_an_output_whose_name_promises_compression_is_refused(tmp_path, suffix):
    with pytest.raises(UserError, match=r"is written uncompressed; give a\.jsonl$"):
        check_output(tmp_path / "a.tsv", tmp_path / f"a.jsonl{suffix}", "a.jsonl")


@pytest.mark.parametrize("path", ["tfds:/sets/glue/sst2@test", "tfds:glue/sst2", "a.tsv", ""])
def test_what_has_no_bucket_is_local(path):
    require_local("--data", path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"{", "not valid JSON"),
        (b'{"size": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"\xff\xfe", "not UTF-8 text at byte 0"),
        (b"[1]", "expected a JSON object"),
    ],
    ids=["no file", "cut short", "a number too long", "nested too deeply", "no text", "a list"],
)
def test_a_file_that_holds_no_json_object_is_named(tmp_path, content, message):
    file = tmp_path / "config.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"^{file}: {message}.*$"):
        read_json(file)
