"""Writing a folder for others, local or in a bucket."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from etils import epath

from bertjax.errors import UserError
from bertjax.files import write_whole


def write_folder(path: epath.PathLike, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a local folder, which then appears at `path` whole; uploaded if remote.

    Raises:
        UserError: something is there already, or it cannot be written.
    """
    destination = epath.Path(path)
    try:
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise UserError(f"{path} exists already: give the name of a new folder")
        if "://" in str(path):
            with tempfile.TemporaryDirectory() as local:
                write(Path(local))
                _upload(Path(local), destination)
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(path), lambda temporary: _fill(temporary, write))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def _fill(folder: Path, write: Callable[[Path], None]) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of a killed process with the same number
    folder.mkdir()
    write(folder)


def _upload(local: Path, destination: epath.Path) -> None:
    for file in sorted(local.rglob("*")):
        target = destination / file.relative_to(local).as_posix()
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
