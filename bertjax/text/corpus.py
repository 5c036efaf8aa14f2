"""Corpus sources: what a `--corpus` SPEC names, read as a stream of documents.

SPEC is one of
  - a path or glob of text files (plain, .gz, .xz, .zst): a blank line between documents, as
    `create_pretraining_data.py` of google-research/bert reads; without one, one document a file;
  - a path or glob of .jsonl, .ndjson or .json files (also compressed), one object with a `text`
    field a line; a text that is empty or null is none;
  - a folder, read recursively: one document per file;
  - `tfds:NAME[/CONFIG][:VERSION][@SPLIT][#FIELD]` or `tfds:FOLDER[@SPLIT][#FIELD]`;
  - `python-docs`: English prose that every Python installation carries.
"""

import functools
import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bertjax.errors import UserError
from bertjax.files import require_local, sha256_of
from bertjax.json_text import is_unicode, parse_json, whole_characters
from bertjax.text.remote_files import find_files
from bertjax.text.text_files import COMPRESSED_SUFFIXES, CorpusFile, cut_line, read_lines

if TYPE_CHECKING:
    from bertjax.text.sentences import SentenceMode

MAX_SENTENCES = 10_000  # a longer document is cut into several
_PROBED_DOCUMENTS = 100
_PROBED_LINES = 2000
_MAX_DOCUMENT_BYTES = 8 << 20
_MAX_LINE_BYTES = 1 << 20
_MAX_JSON_BYTES = 64 << 20
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_JSON_LINE = '{"text": "..."} on every line; what is no text must be moved away'


@dataclass(frozen=True)
class Source:
    """One SPEC, resolved.

    Attributes:
        spec: as the user wrote it.
        files: the files it names, in reading order; empty for `tfds:` and `python-docs`. With
            `--runner beam` they may lie in a bucket.
        is_folder: whether each text file is one document.
    """

    spec: str
    files: tuple[CorpusFile, ...] = ()
    is_folder: bool = False


def open_source(spec: str, runner: str = "local") -> Source:
    """Resolves a SPEC.

    Args:
        spec: what `--corpus` gave.
        runner: "beam" reaches files in buckets too.

    Raises:
        UserError: it names nothing, or files that this runner cannot reach.
    """
    if spec == "python-docs" or spec.startswith("tfds:"):
        return Source(spec)
    if runner == "beam" and "://" in spec:
        return Source(spec, *find_files(spec))
    require_local("--corpus", spec)
    if not spec:
        raise UserError("--corpus is empty: name a file, a folder or a set")
    if not is_unicode(spec):
        raise UserError(f"--corpus {spec!r}: a name that is not UTF-8; give its folder, or a glob")
    path = Path(spec)
    if path.is_dir():
        files = tuple(_files_below(path))
        if not files:
            raise UserError(f"--corpus {spec}: the folder holds no files")
        return Source(spec, files, is_folder=True)
    if path.exists():
        if not path.is_file():
            raise UserError(
                f"--corpus {spec}: is no regular file, such as a pipe or a device; a text is read "
                "several times, so write it to a file first"
            )
        return Source(spec, (path,))
    found = [Path(name) for name in sorted(glob.glob(spec, recursive=True))]
    if files := tuple(file for file in found if file.is_file()):
        return Source(spec, files)
    what = "no file matches" if glob.has_magic(spec) else "no such file or folder"
    if any(file.is_dir() for file in found):
        what = f"only folders match; give one of them, or {spec.rstrip('/')}/*"
    raise UserError(f"--corpus {spec}: {what}")


def read_documents(source: Source) -> Iterator[list[str]]:
    """Yields a source's documents: lines without surrounding white space, none of them empty.

    Memory is bounded: a document of more than 10,000 lines or 8 MiB is cut into several, a line of
    more than 1 MiB into pieces.

    Raises:
        UserError: a file cannot be read or is not what its name says.
    """
    if source.files:
        for file in source.files:
            yield from _read_file(file, one_document=source.is_folder)
        return
    for text in _external_texts(source.spec):
        yield from _cut_document(_clean_lines(text))


def sentence_mode(source: Source, setting: str) -> "SentenceMode":
    """Whether a source holds one sentence per line ("lines") or running text ("split").

    Args:
        source: looked at only if the setting leaves the choice open.
        setting: "lines", "split" or "auto".
    """
    if setting in ("lines", "split"):
        return cast("SentenceMode", setting)
    from bertjax.text.sentences import choose_mode

    documents = islice(read_documents(source), _PROBED_DOCUMENTS)
    return choose_mode(list(islice(chain.from_iterable(documents), _PROBED_LINES)))


def fingerprint(source: Source) -> str:
    """A digest of what a source holds: it changes when the text does, not when files are copied.

    Files are read whole, as they lie on disk; one in a bucket counts by its size and its time of
    change. `python-docs` counts by its text, a prepared
    `tfds:` set by its name, version and the sizes of its parts.

    Raises:
        UserError: a file cannot be read, or there is no such set.
    """
    digest = hashlib.sha256(f"{source.spec}\0{_external_version(source.spec)}".encode())
    for file in source.files:
        try:
            content = sha256_of(file) if isinstance(file, Path) else file.version
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from error
        digest.update(f"{file}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def file_bytes(source: Source) -> int:
    """The size of a source's files as they lie on disk, in bytes."""
    return sum(map(file_size, source.files))


def file_size(file: CorpusFile) -> int:
    """The size of a file as it lies there, in bytes."""
    return file.stat().st_size if isinstance(file, Path) else file.size


def _files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder, those behind links too; raises UserError where it may not look."""

    def refuse(error: OSError) -> None:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}); give the others by a glob"
        ) from error

    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        if (place := os.path.realpath(parent)) in seen:  # a link to a folder above itself
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name != "lost+found"
        )
        for name in sorted(names):
            if not name.startswith(".") and (file := Path(parent, name)).is_file():
                yield file


def is_json(file: CorpusFile) -> bool:
    """Whether a file is JSON Lines, compressed or not."""
    name = file.with_suffix("") if file.suffix in COMPRESSED_SUFFIXES else file
    return name.suffix.lower() in _JSON_SUFFIXES


def _read_file(file: CorpusFile, one_document: bool) -> Iterator[list[str]]:
    if is_json(file):
        for text in _json_texts(file):
            yield from _cut_document(_clean_lines(text))
        return
    lines = read_lines(file, _MAX_LINE_BYTES)
    if one_document:
        lines = (line for line in lines if line)
    yield from _cut_document(lines)


def _cut_document(lines: Iterable[str]) -> Iterator[list[str]]:
    """Groups lines into documents: a blank line or a full document ends one."""
    document: list[str] = []
    size = 0
    for line in lines:
        if line:
            document.append(line)
            size += len(line)
        full = len(document) == MAX_SENTENCES or size >= _MAX_DOCUMENT_BYTES
        if document and (full or not line):
            yield document
            document, size = [], 0
    if document:
        yield document


def _clean_lines(text: str) -> list[str]:
    text = text if text.isascii() else whole_characters(text)
    pieces = (piece for line in text.split("\n") for piece in cut_line(line, _MAX_LINE_BYTES))
    return [line for piece in pieces if (line := piece.strip())]


def _json_texts(file: CorpusFile) -> Iterator[str]:
    lines = read_lines(file, _MAX_JSON_BYTES, cut_long=False)
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise UserError(
                f"{file}, line {number}: not valid JSON ({error}); expected {_JSON_LINE}"
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get("text", 0), str | None):
            raise UserError(
                f'{file}, line {number}: no "text" field that holds a string; expected {_JSON_LINE}'
            )
        yield row["text"] or ""


def _external_texts(spec: str) -> Iterable[str]:
    if spec == "python-docs":
        return _python_docs()
    from bertjax.text import tfds_source

    return tfds_source.texts(spec)


def _external_version(spec: str) -> str:
    """What identifies the text of a source that is not files, "" for files."""
    if spec == "python-docs":
        from bertjax.text import python_docs

        return python_docs.version()
    if spec.startswith("tfds:"):
        from bertjax.text import tfds_source

        return tfds_source.version(spec)
    return ""


@functools.cache
def _python_docs() -> tuple[str, ...]:
    """Kept, for gathering them takes longer than tokenizing them."""
    from bertjax.text.python_docs import documents

    return tuple(documents())
