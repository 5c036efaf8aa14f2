"""Folders written for others: whole or not at all, in a bucket too."""

from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

import bertjax
from bertjax import api
from bertjax.errors import UserError
from bertjax.interop.destination import write_folder
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
