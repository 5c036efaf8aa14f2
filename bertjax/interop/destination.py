"""Writing a folder for others, local or in a bucket."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from etils import epath

from bertjax.errors import UserError
from bertjax.files import located, write_whole
from bertjax.json_text import is_unicode

_CHUNK = 16 << 20  # bytes
_LAST = "config.json"  # by which a folder is known as a checkpoint


def check_destination(path: epath.PathLike) -> None:
    """Refuses a destination that holds something or can be no folder, before any work.

    Raises:
        UserError: it says what to do.
    """
    destination = located(path, "destination")
    if not is_unicode(str(path)):
        raise UserError(f"{str(path)!r}: a name that is not UTF-8; give another")
    if Path(path).resolve() == Path.cwd():  # it would be replaced, and we be in no folder
        raise UserError(f"{path} is the folder that you are in: give the name of a new one")
    try:
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise UserError(f"{path} exists already: give the name of a new folder")
    except OSError as error:
        raise UserError(f"{path}: cannot be looked at ({error.strerror or error})") from error
    if "://" in str(path):
        return
    place = Path(path).resolve()  # of a link, where it leads
    if os.path.ismount(place):
        raise UserError(f"{path} is a mount point: give the name of a folder in it")
    above = next(parent for parent in place.parents if parent.exists())
    if not above.is_dir():
        raise UserError(f"{path}: {above} is a file; give a folder that can be made")
    if not os.access(above, os.W_OK):
        raise UserError(f"{path}: {above} cannot be written to; give another folder")


def write_folder(path: epath.PathLike, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a local folder, which then appears at `path` whole.

    To a bucket, which cannot rename, the files are uploaded, `config.json` last: without it a
    folder is no checkpoint. What was uploaded is removed if the rest cannot be.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    check_destination(path)
    try:
        if "://" in str(path):
            with tempfile.TemporaryDirectory() as local:
                write(Path(local))
                _upload(Path(local), epath.Path(path))
        else:
            place = Path(path).resolve()
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, lambda temporary: _fill(temporary, write))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def _fill(folder: Path, write: Callable[[Path], None]) -> None:
    folder.mkdir()
    write(folder)


def _upload(local: Path, destination: epath.Path) -> None:
    files = [file for file in sorted(local.rglob("*")) if file.is_file()]
    files.sort(key=lambda file: file == local / _LAST)
    begun: list[epath.Path] = []
    try:
        for file in files:
            target = destination / file.relative_to(local).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            begun.append(target)
            with file.open("rb") as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
    except BaseException:
        for target in reversed(begun):
            with contextlib.suppress(OSError):  # the last one may not be there
                target.unlink()
        raise
