"""Folders written for others: whole or not at all, in a bucket too."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

import bertjax
from bertjax import api
from bertjax.errors import UserError
from bertjax.interop.destination import check_destination, write_folder
from tests.interop.checkpoints import make_checkpoint
from tests.train.bucket import use_bucket

GOOGLE = Path(__file__).parent.parent / "fixtures" / "google" / "pretrained"


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return use_bucket(monkeypatch, tmp_path / "buckets")


def write_two_files(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "first").write_text("1")
    (folder / "second").write_text("2")


def fail_halfway(folder):
    write_two_files(folder)
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_filled(tmp_path, exists):
    folder = tmp_path / "parent" / "new"
    if exists:
        folder.mkdir(parents=True)
    write_folder(folder, write_two_files)
    assert (folder / "inner" / "first").read_text() == "1"
    assert [path.name for path in folder.parent.iterdir()] == ["new"]


def test_a_link_to_an_empty_folder_is_filled_where_it_leads(tmp_path):
    (tmp_path / "space").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "space")
    write_folder(tmp_path / "link", write_two_files)
    assert (tmp_path / "space" / "second").read_text() == "2"
    assert (tmp_path / "link").is_symlink()


def test_a_mount_point_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for name in ("out", "link"):
        with pytest.raises(UserError, match=f"{name} is a mount point: give the name of a folder"):
            check_destination(tmp_path / name)


@pytest.mark.parametrize("path", [Path("gs://b/new"), Path("memory://new"), "gs:/b/new"])
def test_a_bucket_with_one_slash_is_refused(path):
    with pytest.raises(UserError, match="a bucket has two slashes after the colon"):
        check_destination(path)


def test_a_write_that_fails_leaves_nothing_and_is_told(tmp_path):
    with pytest.raises(UserError, match=r"new: cannot be written \(No space left on device\)"):
        write_folder(tmp_path / "new", fail_halfway)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_written_over(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="exists already"):
            write_folder(path, write_two_files)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_destination_below_a_file_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file/a/b: .*/file is a file; give a folder"):
        check_destination(tmp_path / "file" / "a" / "b")


def test_a_destination_whose_name_is_not_utf8_is_told_before_the_work(tmp_path):
    with pytest.raises(UserError, match="a name that is not UTF-8; give another"):
        check_destination(tmp_path / os.fsdecode("한".encode("euc-kr")))


def write_files(folder):
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        (folder / name).write_text(name)


def test_the_file_that_makes_it_a_checkpoint_is_uploaded_last(bucket, monkeypatch):
    written, plain = [], bucket.open

    def tell(path, mode):
        written.append(Path(path).name)
        return plain(path, mode)

    monkeypatch.setattr(bucket, "open", tell)
    write_folder("gs://bucket/new", write_files)
    assert written == ["model.safetensors", "vocab.txt", "config.json"]


@pytest.mark.parametrize("name", ["config.json", "vocab.txt"])
def test_an_upload_that_fails_halfway_leaves_nothing(bucket, monkeypatch, name):
    plain = bucket.open

    def fail(path, mode):
        file = plain(path, mode)
        if Path(path).name == name:
            file.close()
            raise OSError(28, "No space left on device")
        return file

    monkeypatch.setattr(bucket, "open", fail)
    with pytest.raises(UserError, match=r"new: cannot be written \(No space left on device\)"):
        write_folder("gs://bucket/new", write_files)
    assert not epath.Path("gs://bucket/new").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("to", ["huggingface", "bertjax"])
def test_a_checkpoint_goes_to_a_bucket_and_comes_back(to):
    bert = bertjax.Bert(**vars(make_checkpoint()))
    api.convert(bert, f"gs://bucket/published/{to}", to)
    found = bertjax.load(f"gs://bucket/published/{to}")
    assert found.params.keys() == bert.params.keys()
    kernel = lambda params: np.asarray(params["layers"]["1"]["output"]["kernel"])  # noqa: E731
    np.testing.assert_array_equal(kernel(found.params), kernel(bert.params))
    assert found.tokenizer.digest == bert.tokenizer.digest


@pytest.mark.usefixtures("bucket")
def test_a_google_folder_opens_in_a_bucket():
    folder = epath.Path("gs://bucket/google")
    for file in GOOGLE.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    found, local = bertjax.load("gs://bucket/google"), bertjax.load(GOOGLE)
    assert found.source == local.source
    jax.tree.map(np.testing.assert_array_equal, found.params, local.params)
