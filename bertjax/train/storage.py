"""All that this package knows of Orbax: a folder of pytrees and some JSON, written whole or not.

Orbax gives a local folder its final name only once it is complete; in a bucket, which cannot
rename, a folder is complete once `commit_success.txt` is in it. It reads a truncated or missing
file with an exception of any type, and a changed byte in the arrays silently.
"""

import contextlib
import gc
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from bertjax.errors import UserError, is_forbidden, is_transient
from bertjax.json_text import parse_json
from bertjax.train.run_folder import write_file

_UNFINISHED = "*.orbax-checkpoint-tmp*"  # what local folders are called while they are written
_FINISHED_FILE = "commit_success.txt"

# Orbax's file for custom metadata. Its API also reads an entry for every array: 0.2 s, not 1 ms.
_METADATA_FILE = "_CHECKPOINT_METADATA"
_log = logging.getLogger(__name__)

# What goes wrong in Orbax reaches us as an exception; its own lines would break the progress bar.
logging.getLogger("absl").addFilter(lambda line: "orbax" not in line.pathname)


class DamagedError(Exception):
    """A checkpoint that is not what was written; the message is one phrase that says why."""


class Writing(Protocol):
    """A write under way."""

    def result(self) -> None:
        """Waits for its end; raises what went wrong."""


def write(folder: epath.Path, trees: dict[str, Any], metadata: dict[str, Any]) -> Writing:
    """Starts writing pytrees of arrays and JSON values, over whatever is there.

    Returns when the arrays are copied to the host, or held there, so they may be donated.
    """
    with _context():
        return ocp.save_checkpointables_async(
            folder, trees, overwrite=True, custom_metadata=metadata
        )


def is_finished(folder: epath.Path) -> bool:
    """Whether a folder under its final name, damaged or not, has been written to the end."""
    return "://" not in str(folder) or (folder / _FINISHED_FILE).exists()


def leftovers(folder: epath.Path) -> list[epath.Path]:
    """What writes that were cut short have left in a folder of steps' folders."""
    entries = folder.iterdir() if "://" in str(folder) and folder.is_dir() else ()
    steps = [entry for entry in entries if entry.name.isdecimal()]
    return [*folder.glob(_UNFINISHED), *(step for step in steps if not is_finished(step))]


def read(folder: epath.Path, abstract: dict[str, Any]) -> dict[str, Any]:
    """Reads the named pytrees into the shapes, dtypes and shardings of `abstract`.

    Each process reads for itself what its devices hold, and waits for no other.

    Raises:
        DamagedError: it cannot be read, and could not at another time.
        UserError: it may not be read.
    """
    with _silent_coroutines():
        try:
            context = _context()
            context.multiprocessing.primary_host = jax.process_index()
            context.multiprocessing.active_processes = {jax.process_index()}
            with context:
                return ocp.load_checkpointables(folder, abstract)
        except Exception as error:
            _raise_unless_damaged(folder, error)
            _log.debug("%s cannot be read", folder, exc_info=True)
        gc.collect()
    raise DamagedError("its data cannot be read")


def read_metadata(folder: epath.Path) -> dict[str, Any]:
    """Reads the JSON values of `write`; raises as `read` does."""
    try:
        if not any(folder.iterdir()):
            raise DamagedError("an empty folder")
        if not (folder / _METADATA_FILE).exists():
            raise DamagedError("its metadata is missing")
        return dict(parse_json((folder / _METADATA_FILE).read_text())["custom_metadata"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        _raise_unless_damaged(folder, error)
        raise DamagedError("its metadata cannot be read") from error


def write_metadata(folder: epath.Path, metadata: dict[str, Any]) -> None:
    """Puts others in the place of a written folder's JSON values, whole or not at all.

    Raises:
        UserError: they could not be written.
    """
    file = folder / _METADATA_FILE
    try:
        kept = parse_json(file.read_text())
    except OSError as error:
        if is_transient(error):
            raise
        raise UserError(f"{folder}: gone while this run goes on from it ({error})") from error
    write_file(file, json.dumps(kept | {"custom_metadata": metadata}).encode())


def _raise_unless_damaged(folder: epath.Path, error: Exception) -> None:
    """A server that does not answer, or a right that is missing, says nothing about the data."""
    if is_transient(error):
        raise error
    if is_forbidden(error):
        reason = str(error).splitlines()[0][:200]
        told = f"{folder}: may not be read ({reason}); give this account the right to"
        raise UserError(told) from error


def _context() -> ocp.Context:
    """Weights do not compress: without trying, a write and a read take a third of the time."""
    context = ocp.Context()
    context.array.saving.use_compression = False
    return context


@contextlib.contextmanager
def _silent_coroutines() -> Iterator[None]:
    """A read that fails leaves coroutines behind, each with a page to say when it is dropped."""
    hook, log = sys.unraisablehook, logging.getLogger("asyncio")
    sys.unraisablehook, log.disabled = lambda _: None, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
    finally:
        sys.unraisablehook, log.disabled = hook, False
