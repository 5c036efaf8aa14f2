import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.data import shards as shards_module
from bertjax.data.shards import open_split, read_manifest
from bertjax.errors import UserError
from tests.data.corpora import random_corpus, write_data_folder

DOCUMENTS = random_corpus(30, seed=1)


@pytest.fixture
def data_folder(tmp_path):
    write_data_folder(tmp_path, DOCUMENTS, shards=4)
    return tmp_path


def test_documents_are_read_by_number_in_the_order_asked_for(data_folder):
    opened = open_split(data_folder, "train")
    np.testing.assert_array_equal(opened.token_counts, DOCUMENTS.token_counts)
    numbers = [29, 0, 7, 8, 15, 7]
    for document, number in zip(opened.read(numbers), numbers, strict=True):
        expected = DOCUMENTS.documents[number]
        np.testing.assert_array_equal(document.token_ids, expected.token_ids)
        np.testing.assert_array_equal(document.sentence_lengths, expected.sentence_lengths)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing tells of open files here")
def test_few_of_many_shards_are_open_at_a_time(data_folder, monkeypatch):
    monkeypatch.setattr(shards_module, "_MOST_OPEN", 2)
    opened = open_split(data_folder, "train")
    firsts = [document.token_ids[0] for document in DOCUMENTS.documents]
    for _ in range(2):
        assert [document.token_ids[0] for document in opened.read(range(len(firsts)))] == firsts
    links = [os.readlink(f"/proc/self/fd/{number}") for number in open_files()]
    assert sum(link.startswith(str(data_folder)) for link in links) == 2


def open_files():
    """Numbers of this process's files; the one that the listing itself had is gone."""
    return [name for name in os.listdir("/proc/self/fd") if Path("/proc/self/fd", name).exists()]


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match="make the folder with bertjax prepare"):
        read_manifest(tmp_path)


def test_a_folder_in_a_bucket_is_refused_as_a_path_too():
    with pytest.raises(UserError, match=r"--data gs://bucket/data: must be local or mounted"):
        read_manifest(Path("gs://bucket/data"))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"format_version": 99}', "\x00\x01", "[" * 200_000],
    ids=lambda text: text[:9],
)
def test_a_damaged_or_foreign_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json.*run bertjax prepare again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["token_counts.npy", "00002-of-00004.array_record"])
def test_a_missing_file_is_named(data_folder, name):
    (data_folder / "train" / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        open_split(data_folder, "train")


def test_token_counts_that_do_not_fit_the_manifest_are_refused(data_folder):
    np.save(data_folder / "train" / "token_counts.npy", DOCUMENTS.token_counts[1:])
    with pytest.raises(UserError, match=r"does not fit manifest\.json"):
        open_split(data_folder, "train")


def test_token_counts_with_a_changed_value_are_refused(data_folder):
    np.save(
        data_folder / "train" / "token_counts.npy", DOCUMENTS.token_counts + (np.arange(30) == 7)
    )
    with pytest.raises(UserError, match=r"does not fit manifest\.json"):
        open_split(data_folder, "train")


@pytest.mark.parametrize("size", [0, 50, 160])
def test_token_counts_cut_short_are_refused(data_folder, size):
    file = data_folder / "train" / "token_counts.npy"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(UserError, match=r"token_counts\.npy is damaged"):
        open_split(data_folder, "train")


@pytest.mark.parametrize("key", ["tokenizer", "splits", "digest"])
def test_a_manifest_without_what_every_reader_needs_is_refused(data_folder, key):
    file = data_folder / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {key: None}))
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        read_manifest(data_folder)
    del manifest[key]
    file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        read_manifest(data_folder)


@pytest.mark.parametrize("splits", [{}, {"validation": {}}, {"validation": {"shards": [{}]}}])
def test_a_manifest_that_does_not_describe_the_split_is_refused(data_folder, splits):
    file = data_folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"splits": splits}))
    with pytest.raises(UserError, match="for the split validation; run bertjax prepare again"):
        open_split(data_folder, "validation")


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_shard_cut_short_is_named_before_anything_is_read(data_folder, share):
    file = data_folder / "train" / "00001-of-00004.array_record"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"00001-of-00004\.array_record is damaged") as caught:
        open_split(data_folder, "train")
    assert "\n" not in str(caught.value)


def test_a_shard_of_another_number_of_documents_is_named(data_folder):
    shards = data_folder / "train"
    shutil.copy(shards / "00000-of-00004.array_record", shards / "00003-of-00004.array_record")
    with pytest.raises(UserError, match=r"00003-of-00004\.array_record .*8 documents, not 7"):
        open_split(data_folder, "train")


def test_a_shard_of_other_documents_is_named_when_it_is_read(data_folder):
    shards = data_folder / "train"
    shutil.copy(shards / "00000-of-00004.array_record", shards / "00001-of-00004.array_record")
    documents = open_split(data_folder, "train")
    with pytest.raises(UserError, match=r"00001-of-00004\..*damaged \(other documents than"):
        documents.read([9])


def test_a_shard_that_cannot_be_read_for_the_moment_is_not_called_damaged(data_folder, monkeypatch):
    """As of a mounted bucket that is away: the next try may succeed."""

    def away(_):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    documents = open_split(data_folder, "train")
    monkeypatch.setattr(shards_module, "_open", away)
    with pytest.raises(OSError, match="not connected"):
        documents.read([0])


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    write_data_folder(folder, DOCUMENTS, shards=1)
    return folder


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_anywhere_gives_a_wrong_document(one_shard, position, change):
    file = one_shard / "train" / "00000-of-00001.array_record"
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[position % len(damaged)] ^= change
    file.write_bytes(damaged)
    found = []
    with contextlib.suppress(UserError):
        found = open_split(one_shard, "train").read(range(30))
    file.write_bytes(whole)
    assert len(found) in (0, 30)
    for document, expected in zip(found, DOCUMENTS.documents, strict=False):
        np.testing.assert_array_equal(document.token_ids, expected.token_ids)
        np.testing.assert_array_equal(document.sentence_lengths, expected.sentence_lengths)


def test_a_flipped_byte_in_a_document_is_found(data_folder):
    file = data_folder / "train" / "00000-of-00004.array_record"
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"00000-of-00004\.array_record is damaged"):
        open_split(data_folder, "train").read(range(8))
