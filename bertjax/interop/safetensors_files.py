"""The tensors of a folder's `model.safetensors`, one file or several; read one at a time."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from bertjax.errors import UserError
from bertjax.interop.bert_config import read_settings
from bertjax.interop.weights import Tensor

FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
WEIGHT_FILES = (FILE, INDEX_FILE)
# Other formats of weights in such folders: PyTorch's is a pickle, which can run any code.
_OTHERS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "tf_model.h5", "flax_model.msgpack")


@contextlib.contextmanager
def open_tensors(folder: Path, architecture: str) -> Iterator[dict[str, Tensor]]:
    """Every tensor of the folder by its name in the file; readable while entered.

    `architecture`, transformers' class, is for the advice on how to convert another format.

    Raises:
        UserError: no such file, one that is truncated or damaged, or a part of several is missing.
    """
    with contextlib.ExitStack() as stack:
        tensors: dict[str, Tensor] = {}
        for file in _weight_files(folder, architecture):
            try:
                handle = stack.enter_context(safe_open(file, "numpy"))
                names = handle.keys()
                for name in names:
                    read = functools.partial(handle.get_tensor, name)
                    tensors[name] = Tensor(name, tuple(handle.get_slice(name).get_shape()), read)
            except (SafetensorError, OSError) as error:
                raise UserError(f"{file}: truncated, damaged or unreadable ({error})") from error
        yield tensors


def _weight_files(folder: Path, architecture: str) -> list[Path]:
    """The safetensors files of a folder: one, or all that the index names.

    Raises:
        UserError: there is none, or one of several is missing.
    """
    single, index = folder / FILE, folder / INDEX_FILE
    if single.is_file():
        return [single]
    if not index.is_file():
        raise UserError(_nothing_to_read(folder, architecture))
    places = read_settings(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{index}: no weight_map in it that names a file for every tensor")
    files = [folder / Path(name).name for name in sorted(set(places.values()))]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]}: missing; {index.name} names it as one of {len(files)}")
    return files


def _nothing_to_read(folder: Path, architecture: str) -> str:
    others = sorted({file.name for pattern in _OTHERS for file in folder.glob(pattern)})
    if not others:
        return f"{folder}: no weights in it ({FILE}, or {INDEX_FILE} with its parts)"
    if others[0].startswith(("tf_", "flax_")):
        return f"{folder}: its weights are {others[0]} alone; bertjax reads {FILE}"
    return (
        f"{folder}: its weights are {others[0]} alone, a pickle: opening one may run any code, so "
        f'bertjax never does; if you trust it: python -c "from transformers import {architecture} '
        f"as M; M.from_pretrained('{folder}').save_pretrained('{folder}')\""
    )
