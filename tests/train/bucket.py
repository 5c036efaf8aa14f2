"""A bucket's stand-in: objects without folders, that can neither be renamed nor appended to."""

import glob
import io
import os
import shutil
from pathlib import Path

from etils.epath import backend, gpath

from bertjax.train import storage


class Bucket(backend.Backend):
    """What epath does with `gs://...`, on the files below `root`.

    As in a real bucket a folder is there as long as an object is in it: making one does nothing,
    and listing one that is not there fails.
    """

    def __init__(self, root):
        self.root = Path(root)

    def local(self, path):
        path = os.fspath(path)
        return self.root / path.removeprefix("gs://") if path.startswith("gs://") else Path(path)

    def open(self, path, mode):
        file = self.local(path)
        if "a" in mode:
            raise io.UnsupportedOperation("an object cannot be appended to")
        if "w" in mode:
            file.parent.mkdir(parents=True, exist_ok=True)
        return file.open(mode, encoding=None if "b" in mode else "utf-8")

    def exists(self, path):
        return self.local(path).is_file() or self.isdir(path)

    def isdir(self, path):
        return any(file.is_file() for file in self.local(path).glob("**/*"))

    def listdir(self, path):
        names = [name for name in os.listdir(self.local(path)) if self.exists(f"{path}/{name}")]
        if not names:
            raise FileNotFoundError(path)
        return names

    def glob(self, path):
        found = glob.glob(str(self.local(path)))
        return [f"gs://{Path(name).relative_to(self.root)}" for name in found]

    def walk(self, top, *, top_down=True, on_error=None):
        raise NotImplementedError

    def makedirs(self, path, *, exist_ok=False, mode=None):
        pass

    def mkdir(self, path, *, exist_ok=False, mode=None):
        pass

    def rmtree(self, path):
        shutil.rmtree(self.local(path))

    def remove(self, path):
        self.local(path).unlink()

    def rename(self, *_):
        raise io.UnsupportedOperation("an object cannot be renamed")

    replace = rename

    def copy(self, path, dst, overwrite):
        if self.exists(dst) and not overwrite:
            raise FileExistsError(dst)
        with self.open(path, "rb") as source, self.open(dst, "wb") as copy:
            copy.write(source.read())

    def stat(self, path):
        if not self.exists(path):
            raise FileNotFoundError(path)
        return backend.os_backend.stat(self.local(path))


def use_bucket(monkeypatch, root):
    """Lets `gs://` mean a folder; Orbax, which opens buckets by itself, is given the folder."""
    bucket = Bucket(root)
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "gs", bucket)
    for name in ("save_checkpointables_async", "load_checkpointables"):
        call = getattr(storage.ocp, name)

        def on_folder(path, *arguments, _call=call, **options):
            return _call(bucket.local(path), *arguments, **options)

        monkeypatch.setattr(storage.ocp, name, on_folder)
    return bucket
