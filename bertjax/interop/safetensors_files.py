"""The tensors of a folder's `model.safetensors`, one file or several; read one at a time."""

import contextlib
import functools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open

from bertjax.errors import UserError
from bertjax.files import read_json
from bertjax.interop.weights import Tensor

FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
WEIGHT_FILES = (FILE, INDEX_FILE)
_POINTER = b"version https://git-lfs"  # the beginning of what Git leaves in a large file's place
# Other formats of weights in such folders: PyTorch's is a pickle, which can run any code.
_OTHERS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "tf_model.h5", "flax_model.msgpack")

# Every tensor of all parts, of whatever class the model is: a class would drop the heads it lacks.
_CONVERT = (
    "import sys, glob, torch; from safetensors.torch import save_file; d = sys.argv[1]; "
    "w = {k: v.clone().contiguous() for f in glob.glob(glob.escape(d) + '/pytorch_model*.bin') "
    "for k, v in torch.load(f, 'cpu', weights_only=True).items()}; "
    "save_file(w, d + '/model.safetensors', {'format': 'pt'})"
)


@contextlib.contextmanager
def open_tensors(folder: Path) -> Iterator[dict[str, Tensor]]:
    """Every tensor of the folder by its name in the file; readable while entered.

    Raises:
        UserError: a file is truncated or damaged, or a part of several is missing.
    """
    with contextlib.ExitStack() as stack:
        tensors: dict[str, Tensor] = {}
        for file in _weight_files(folder):
            try:
                handle = stack.enter_context(safe_open(file, "numpy"))
                names = handle.keys()
                for name in names:
                    read = functools.partial(_read, handle, name, file)
                    tensors[name] = Tensor(name, tuple(handle.get_slice(name).get_shape()), read)
            except (SafetensorError, OSError) as error:
                if file.is_file() and file.open("rb").read(len(_POINTER)) == _POINTER:
                    raise UserError(f"{file}: a Git LFS pointer; run git lfs pull there") from error
                raise UserError(f"{file}: truncated, damaged or unreadable ({error})") from error
        yield tensors


def _read(handle: Any, name: str, file: Path) -> np.ndarray:
    try:
        return handle.get_tensor(name)
    except (SafetensorError, AttributeError) as error:  # NumPy has no such type, such as float8
        kind = handle.get_slice(name).get_dtype()
        raise UserError(f"{file}: {name} holds numbers of type {kind}, not read here") from error


def require_weights(folder: epath.Path) -> None:
    """Refuses a folder, which may be remote, without such a file; tells what to do with another.

    Raises:
        UserError: the advice.
    """
    if not any((folder / name).exists() for name in WEIGHT_FILES):
        raise UserError(_nothing_to_read(folder))


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: one, or all that the index names.

    Raises:
        UserError: one of several is missing, or the index cannot be read.
    """
    single, index = folder / FILE, folder / INDEX_FILE
    if single.is_file():
        return [single]
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{index}: no weight_map in it that names a file for every tensor")
    files = [folder / Path(name).name for name in sorted(set(places.values()))]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]}: missing; {index.name} names it as one of {len(files)}")
    return files


def _nothing_to_read(folder: epath.Path) -> str:
    others = sorted({file.name for pattern in _OTHERS for file in folder.glob(pattern)})
    if not others:
        return f"{folder}: no weights in it ({FILE}, or {INDEX_FILE} with its parts)"
    if not (pickles := [name for name in others if name.startswith("pytorch_model")]):
        return f"{folder}: its weights are in {others[0]} alone; bertjax reads {FILE}"
    remote = "://" in str(folder)
    place = shlex.quote(folder.name if remote else str(folder))
    return (
        f"{folder}: its weights are in {pickles[0]}, a pickle, which bertjax never opens; "
        f"{'copy it here and ' if remote else ''}convert it, after pip install torch safetensors: "
        f"python -c {shlex.quote(_CONVERT)} {place}"
    )
