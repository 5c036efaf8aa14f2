"""Disk: told before it is too late, or in one line when it is."""

import errno
import gzip
import json
import lzma

import pytest
import zstandard

from bertjax.errors import UserError
from bertjax.text import prepare as prepare_module
from bertjax.text.prepare import prepare
from bertjax.text.prepare_state import discarded_on_user_error
from tests.text.corpora import digests, made_up_documents, silent, small_settings


def leave_free(monkeypatch, free):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))


@pytest.fixture(scope="module")
def long_text():
    """Half a megabyte."""
    documents = ["\n".join(lines) for lines in made_up_documents(1500)]
    return "\n\n".join(documents)


def as_json(text):
    rows = [{"text": document, "more": "x" * 500} for document in text.split("\n\n")]
    return "\n".join(map(json.dumps, rows))


FORMATS = {
    ".txt": str.encode,
    ".txt.gz": lambda text: gzip.compress(text.encode()),
    ".txt.xz": lambda text: lzma.compress(text.encode()),
    ".txt.zst": lambda text: zstandard.compress(text.encode()),
    ".jsonl": lambda text: as_json(text).encode(),
    ".jsonl.gz": lambda text: gzip.compress(as_json(text).encode()),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_text_that_cannot_fit_is_refused_before_it_is_read(
    long_text, tmp_path, monkeypatch, suffix
):
    (tmp_path / f"text{suffix}").write_bytes(FORMATS[suffix](long_text))
    settings = small_settings(tmp_path / f"text{suffix}", tmp_path / "data")
    leave_free(monkeypatch, int(0.6 * len(long_text)))
    calls = []
    with pytest.raises(UserError, match=r"needs at least .* MB of free disk"):
        prepare(settings, lambda *call: calls.append(call))
    assert not calls
    assert not (tmp_path / "data").exists()
    leave_free(monkeypatch, int(0.72 * len(long_text)))
    with pytest.raises(UserError, match=r"needs about .* MB of free disk"):
        prepare(settings, silent)


def test_a_line_nested_too_deeply_is_told_by_its_number(tmp_path):
    row = '{"text": "a b c"}\n'
    (tmp_path / "text.jsonl").write_text(f"{row}{'[' * 200_000}\n{row}")
    with pytest.raises(UserError, match=r"text\.jsonl, line 2: not valid JSON"):
        prepare(small_settings(tmp_path / "text.jsonl", tmp_path / "data"), silent)


def test_a_damaged_file_is_told_as_such(tmp_path, monkeypatch):
    (tmp_path / "text.txt.gz").write_bytes(b"no gzip")
    leave_free(monkeypatch, 0)
    with pytest.raises(UserError, match="damaged or not a gz file"):
        prepare(small_settings(tmp_path / "text.txt.gz", tmp_path / "data"), silent)


def test_what_will_not_fit_by_its_own_tokenizer_is_refused_and_the_work_so_far_stays(
    corpus, data, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        leave_free(patch, corpus.stat().st_size)
        with pytest.raises(UserError, match=r"needs about .* MB of free disk"):
            prepare(small_settings(corpus, tmp_path / "data"), silent)
    assert not (tmp_path / "data" / ".unfinished" / "chunks").exists()
    phases: list[str] = []
    prepare(small_settings(corpus, tmp_path / "data"), lambda phase, *_: phases.append(phase))
    assert "reading" not in phases
    assert digests(tmp_path / "data") == digests(data)


def test_a_disk_that_fills_up_is_told_in_one_line(corpus, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prepare_module, "_tokenize", full)
    with pytest.raises(UserError, match="the disk is full"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)


@pytest.mark.parametrize(("number", "stays"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_the_work_so_far_stays_where_only_the_disk_is_at_fault(tmp_path, number, stays):
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(UserError), discarded_on_user_error(work):
        raise UserError("cannot write the tokenizer") from OSError(number, "")
    assert work.exists() is stays


def test_a_run_that_goes_on_needs_no_disk_for_what_is_written_already(
    corpus, tmp_path, monkeypatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "_finish", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(small_settings(corpus, tmp_path / "data"), silent)
    leave_free(monkeypatch, 10_000)
    prepare(small_settings(corpus, tmp_path / "data"), silent)
