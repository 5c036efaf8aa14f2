"""Files and folders: read whole, written whole or not at all, and used by one process at a time."""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bertjax.errors import UserError, is_forbidden
from bertjax.json_text import is_unicode, parse_json

if TYPE_CHECKING:
    from etils import epath


LOCK = ".lock"
SEEDS_FOLDER = "seeds"  # in a fine-tuning run of several seeds: a run for each
_HOST = socket.gethostname()  # a process is known by its number on its own machine alone


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` fill a temporary file or folder, then renames it to `path`.

    It is on the disk before it has that name, so that not even a crash of the machine leaves half
    of it there. What a killed process left beside `path` is removed.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    path = Path(path)  # one of etils has no rglob
    _remove_leftovers(path)
    temporary = path.with_name(f"{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        write(temporary)
        for place in (temporary, *temporary.rglob("*")):
            if place.is_file():
                _wait_for_disk(place)
        temporary.replace(path)
    finally:
        _remove(temporary)


def write_output(output: Path, write: Callable[[Path], Any]) -> None:
    """`write_whole` of a file that the user named: of a link, what it leads to.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_whole(output.resolve(), write)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error


def _wait_for_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Removes the temporary files of `write_whole` whose process is no more; or was this one's."""
    for leftover in path.parent.glob(f"{glob.escape(f'{path.name}.{_HOST}')}.*.tmp"):
        process = leftover.name.removeprefix(f"{path.name}.{_HOST}.").removesuffix(".tmp")
        if process.isdecimal() and not _is_another(int(process)):
            with contextlib.suppress(OSError):  # it is somebody else's
                _remove(leftover)


def _is_another(process: int) -> bool:
    """Whether it is a process on this machine, and not this one."""
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def located(path: str | os.PathLike[str], told: str) -> "epath.Path":
    """A path that the user gave, absolute if it is local, so that it has a name and parents.

    Args:
        path: local, mounted or remote.
        told: what it is, for messages.

    Raises:
        UserError: it is empty, or in storage that this installation cannot read.
    """
    import fsspec.config
    from etils import epath

    if not str(path):
        raise UserError(f"the path of the {told} is empty")
    scheme = "[a-z][a-z0-9+.-]+" if isinstance(path, PurePath) else "(gs|s3|az)"
    if re.match(f"{scheme}:/[^/]", str(path)):  # as a pathlib.Path leaves it
        raise UserError(f"{path}: a bucket has two slashes after the colon; give it as a text")
    if "://" not in str(path):
        return epath.Path(Path(path).absolute())
    # What others write there must be seen: the listings of gcsfs never expire.
    fsspec.config.conf.setdefault("gs", {}).setdefault("use_listings_cache", False)
    try:
        place = epath.Path(path)
        place.exists()  # loads what the scheme needs
    except KeyError as error:
        raise UserError(f"{path}: there is no such kind of storage") from error
    except ImportError as error:
        needed = "pip install -e '.[gcs]'" if str(path).startswith("gs://") else str(error)
        raise UserError(f"{path}: this kind of storage needs another package: {needed}") from error
    except Exception as error:
        if not is_forbidden(error):
            raise
        raise UserError(
            f"{path}: may not be read ({' '.join(str(error).split())[:300]}); give this account "
            "the right to, or this machine an account (gcloud auth application-default login)"
        ) from error
    return place


def read_text(path: "Path | epath.Path") -> str:
    """A UTF-8 file's text; raises UserError with the byte offset where it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_json(path: "Path | epath.Path") -> dict[str, Any]:
    """A file's JSON object; raises UserError if it holds anything else."""
    text = read_text(path)
    try:
        values = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object")
    return values


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def held(folder: Path, told: str) -> Iterator[None]:
    """While entered, no other process can hold `folder`.

    It is made if missing, and removed if nothing was left in it. The lock is the operating
    system's, on the file `LOCK` in it: it ends with this process, however that ends. A file system
    without locks is used without.

    Args:
        folder: a local or mounted folder.
        told: what the user calls it.

    Raises:
        UserError: another process holds it, or it cannot be written.
    """
    file = folder / LOCK
    descriptor = _lock(file, told)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # before the lock ends: nobody else's file is removed
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
        os.close(descriptor)


def _lock(file: Path, told: str) -> int:
    """The descriptor of the lock file, locked."""
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"{told}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"{told}: another bertjax process is at work in this folder; "
                "wait for its end, or choose another folder"
            ) from None
        except OSError:
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)  # its owner has ended, and removed it, in between


def require_local(
    option: str, path: str | Path, instead: str = "copy it here (gcloud storage cp -r {} .)"
) -> None:
    """Refuses what lies in a bucket, with the commands that bring it here.

    Args:
        option: where the user gave it, such as `--data`.
        path: what the user gave.
        instead: what to do where nothing can be mounted; `{}` stands for the path.

    Raises:
        UserError: the path has a scheme, such as `gs://`; `tfds:/FOLDER` is local.
    """
    # A pathlib.Path has only one of the slashes left.
    if (parts := re.fullmatch(r"(\w+):/+([^/]+)/?(.*)", str(path))) is None:
        return
    scheme, bucket, rest = parts.groups()
    if scheme == "tfds":
        return
    url = f"{scheme}://{bucket}/{rest}"
    raise UserError(
        f"{option} {url}: must be local or mounted; mount the bucket (gcsfuse --implicit-dirs "
        f"--rename-dir-limit=100000 {bucket} FOLDER) and give FOLDER/{rest}, or "
        f"{instead.format(url)}"
    )


def require_unicode(option: str, path: str) -> None:
    """Refuses a name that no report could quote: raises UserError."""
    if not is_unicode(path):
        raise UserError(f"{option} {path!r}: a name that is not UTF-8; give the file another")


def check_output(
    source: Path, output: Path, example: str, names: tuple[str, str] = ("--input", "--output")
) -> None:
    """Refuses files that one cannot be made of the other: before the work, not after it.

    Args:
        source: what is read; it may be missing.
        output: what is written.
        example: a name that would do.
        names: the options that give the two.

    Raises:
        UserError: one lies in a bucket, or the output is no place for a regular file of its own.
    """
    require_local(names[0], source)
    require_local(
        names[1], output, "write to a local file and copy that (gcloud storage cp FILE {})"
    )
    advice = f"give the name of a file, such as {example}"
    if output.is_dir():
        raise UserError(f"{names[1]} {output}: is a folder; {advice}")
    if output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"{names[1]} {output}: is the input too; give another name")
    if output.exists() and not output.is_file():
        raise UserError(
            f"{names[1]} {output}: is no regular file, such as a pipe or a device; {advice}"
        )
    if output.suffix in (".gz", ".xz", ".zst"):
        raise UserError(
            f"{names[1]} {output}: is written uncompressed; give {output.with_suffix('').name}"
        )
    if not os.access(output.resolve().parent, os.W_OK):
        raise UserError(f"{names[1]} {output}: no folder {output.parent} that can be written to")
