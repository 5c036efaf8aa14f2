"""Files that Apache Beam's file systems reach, such as those of a bucket, read like local ones."""

import glob
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from bertjax.errors import UserError

_AS_IT_LIES = "uncompressed"  # Beam's name for: whatever the file's name says


@dataclass(frozen=True)
class RemoteFile:
    """What the readers of a corpus ask of a `pathlib.Path`, for a file that has a URL.

    Attributes:
        url: such as `gs://bucket/folder/name.txt.gz`.
        size: in bytes; 0 if nobody asked.
        version: changes when the file does; "" if nobody asked.
    """

    url: str
    size: int = 0
    version: str = ""

    def __str__(self) -> str:
        return self.url

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.url).suffix

    def with_suffix(self, suffix: str) -> "RemoteFile":
        return RemoteFile(self.url.removesuffix(self.suffix) + suffix)

    def open(self, _mode: str = "rb", _buffering: int = -1) -> BinaryIO:
        """The bytes as they lie there; the file system buffers as it thinks best."""
        return open_for_reading(self.url)


def find_files(spec: str) -> tuple[tuple[RemoteFile, ...], bool]:
    """The files of a URL (a file, a glob or a folder), sorted, and whether it is a folder.

    Raises:
        UserError: no file is there, or the file system is not installed.
    """
    folder = spec.rstrip("/")
    try:
        inside = [] if glob.has_magic(spec) else _matching(f"{folder}/**")
        files = [file for file in inside if not _is_hidden(file.path.removeprefix(folder))]
        if not inside:
            files = _matching(spec)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--corpus {spec}: Beam cannot reach it ({reason})") from error
    if not files:
        raise UserError(f"--corpus {spec}: no such file or folder")
    files.sort(key=lambda file: file.path)
    return tuple(map(_remote_file, files)), bool(inside)


def _remote_file(found: Any) -> RemoteFile:
    version = f"{found.size_in_bytes} {found.last_updated_in_seconds}"
    return RemoteFile(found.path, found.size_in_bytes, version)


def _is_hidden(name: str) -> bool:
    return name.endswith("/") or any(part.startswith(".") for part in name.split("/"))


def corpus_file(name: str) -> "Path | RemoteFile":
    """The file of a path or URL."""
    return RemoteFile(name) if "://" in name else Path(name)


def open_for_reading(name: str) -> BinaryIO:
    """The bytes of a file, local or remote, as they lie there."""
    return _file_systems().open(name, compression_type=_AS_IT_LIES)


def names_of(pattern: str) -> list[str]:
    """The files of a glob, local or remote, sorted."""
    return sorted(file.path for file in _matching(pattern))


def fetch(name: str, file: Path) -> None:
    """Copies a file, local or remote, to a local one."""
    with open_for_reading(name) as source, file.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def send(file: Path, name: str) -> None:
    """Copies a local file to one that may be remote."""
    target = _file_systems().create(name, compression_type=_AS_IT_LIES)
    with file.open("rb") as source, target:
        shutil.copyfileobj(source, target, 1 << 20)


def _matching(pattern: str) -> list[Any]:
    return list(_file_systems().match([pattern])[0].metadata_list)


def _file_systems() -> Any:
    from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]

    return FileSystems
