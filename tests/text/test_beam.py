"""`--runner beam`: DATA is the same, byte for byte. Runs where apache-beam is installed."""

import dataclasses
import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.text import prepare as prepare_module
from bertjax.text.prepare import prepare
from tests.text.corpora import digests, made_up_documents, silent, small_settings, write_corpus

beam = pytest.importorskip("apache_beam", reason="needs apache-beam: scripts/test_beam.sh")
from apache_beam.io.localfilesystem import LocalFileSystem  # noqa: E402

FOOTER = "This footer stands at the end of many documents."


class Bucket(LocalFileSystem):
    """A file system with a scheme: `stand-in://a/b` is the file `/a/b`."""

    @classmethod
    def scheme(cls):
        return "stand-in"

    def _path_open(self, path, *arguments, **options):
        return super()._path_open(_local(path), *arguments, **options)

    def create(self, path, *arguments, **options):
        return super().create(_local(path), *arguments, **options)

    def split(self, path):
        return os.path.split(path)

    def exists(self, path):
        return super().exists(_local(path))

    def metadata(self, path):
        return _remote(super().metadata(_local(path)))

    def _list(self, dir_or_prefix):
        return map(_remote, super()._list(_local(dir_or_prefix)))

    def rename(self, source_file_names, destination_file_names):
        super().rename([*map(_local, source_file_names)], [*map(_local, destination_file_names)])

    def mkdirs(self, path):
        super().mkdirs(_local(path))

    def delete(self, paths):
        for path in map(_local, paths):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def _local(path):
    return path.removeprefix("stand-in:/")


def _remote(found):
    found.path = f"stand-in:/{found.path}"
    return found


def with_beam(settings, output, *options):
    return dataclasses.replace(
        settings, output=str(output), runner="beam", beam_options=tuple(options)
    )


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> tuple[str, ...]:
    """Every kind of file; documents that are found twice, cut otherwise in two sources."""
    folder = tmp_path_factory.mktemp("corpora")
    plain = [[*lines, FOOTER] for lines in made_up_documents(25)]
    (folder / "many").mkdir()
    write_corpus(folder / "many" / "a.txt", plain)
    more = write_corpus(folder / "b.txt", made_up_documents(25, seed=1) + plain[:4])
    (folder / "many" / "b.txt.gz").write_bytes(gzip.compress(more.read_bytes()))
    running = [" ".join(lines) for lines in made_up_documents(15, seed=2)]
    rows = [{"text": text} for text in [*running, "\n".join(plain[7])]]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "files").mkdir()
    for number, text in enumerate(running[:3]):
        (folder / "files" / f"{number}.txt").write_text(text)
    return str(folder / "many" / "*"), str(folder / "rows.jsonl"), str(folder / "files")


@pytest.fixture
def small_parts(monkeypatch):
    """Several tasks, chunks and shards, as a large corpus has."""
    monkeypatch.setattr("bertjax.text.beam_prepare._TASK_BYTES", 500)
    monkeypatch.setattr("bertjax.text.beam_pipelines._CHUNK_BYTES", 2000)
    monkeypatch.setattr("bertjax.text.beam_pipelines._HELD_ENTRIES", 30)
    monkeypatch.setattr("bertjax.text.chunks._SHARD_TEXT_BYTES", 10_000)


@pytest.fixture
def settings(corpora, tmp_path):
    return dataclasses.replace(small_settings("", tmp_path / "local"), corpora=corpora)


@pytest.mark.usefixtures("small_parts")
def test_beam_writes_the_same_bytes_as_one_machine(settings, tmp_path):
    local = prepare(settings, silent)
    prepare(with_beam(settings, tmp_path / "beam"), silent)
    assert digests(tmp_path / "beam") == digests(tmp_path / "local")
    assert len(local["splits"]["train"]["shards"]) > 3
    assert local["dropped"]["duplicate_documents"] > 4
    assert local["dropped"]["repeated_lines"] > 20
    assert {source["mode"] for source in local["sources"]} == {"lines", "split"}


def test_workers_and_command_meet_below_temp_location_and_nothing_stays_there(
    settings, corpora, tmp_path
):
    assert corpora
    prepare(settings, silent)
    place = f"stand-in:/{tmp_path}/temp"
    prepare(with_beam(settings, tmp_path / "beam", f"--temp_location={place}"), silent)
    assert digests(tmp_path / "beam") == digests(tmp_path / "local")
    assert (tmp_path / "temp").is_dir()
    assert not [file for _, _, files in os.walk(tmp_path / "temp") for file in files]


def test_a_corpus_may_lie_where_only_beam_reaches_it(settings, corpora, tmp_path):
    remote = tuple(f"stand-in:/{spec}" for spec in corpora)
    local = prepare(settings, silent)
    there = dataclasses.replace(settings, corpora=remote)
    manifest = prepare(with_beam(there, tmp_path / "beam"), silent)
    assert manifest["digest"] == local["digest"]
    assert [source["file_bytes"] for source in manifest["sources"]] == [
        source["file_bytes"] for source in local["sources"]
    ]
    assert prepare(with_beam(there, tmp_path / "beam"), silent) == manifest
    Path(corpora[1]).touch()
    with pytest.raises(UserError, match=r"rows\.jsonl has changed since"):
        prepare(with_beam(there, tmp_path / "beam"), silent)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("stand-in://{}/absent*", "no such file or folder"),
        ("unknown://bucket/a.txt", "Beam cannot reach it"),
    ],
)
def test_a_corpus_that_beam_does_not_find_is_told(tmp_path, spec, message):
    settings = small_settings(spec.format(tmp_path), tmp_path / "data")
    with pytest.raises(UserError, match=message):
        prepare(with_beam(settings, tmp_path / "data"), silent)


def test_the_first_bad_file_is_told_in_one_line(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_bytes(b"bad \xff\n")
    settings = small_settings(tmp_path / "*.txt", tmp_path / "data")
    with pytest.raises(UserError, match=r"a\.txt: line 1: not UTF-8 text \(bad byte 0xff at"):
        prepare(with_beam(settings, tmp_path / "data"), silent)
    assert not (tmp_path / "data").exists()


def test_too_little_text_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n")
    settings = small_settings(tmp_path / "a.txt", tmp_path / "data")
    with pytest.raises(UserError, match="holds no text"):
        prepare(with_beam(settings, tmp_path / "data"), silent)


@pytest.mark.parametrize(("first", "then"), [("beam", "local"), ("local", "beam"), ("beam",) * 2])
def test_either_runner_goes_on_where_the_other_was_stopped(
    corpus, data, tmp_path, monkeypatch, first, then
):
    def stop(*_):
        raise KeyboardInterrupt

    settings = small_settings(corpus, tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "_tokenize", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(dataclasses.replace(settings, runner=first), silent)
    phases: list[str] = []
    prepare(dataclasses.replace(settings, runner=then), lambda phase, *_: phases.append(phase))
    assert "reading" not in phases
    assert digests(tmp_path / "data") == digests(data)
