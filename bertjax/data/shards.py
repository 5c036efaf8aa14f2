"""The documents of a DATA folder, by number."""

import contextlib
import resource
import threading
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.errors import UserError, is_transient
from bertjax.files import require_local
from bertjax.json_text import parse_json
from bertjax.text.prepare_state import FORMAT_VERSION
from bertjax.text.records import TokenizedDocument, decode_document, read_token_counts


def read_manifest(data_folder: str | Path) -> dict[str, Any]:
    """The manifest of a DATA folder.

    Raises:
        UserError: not a DATA folder, a remote one, one that is not finished, damaged, or of another
            version.
    """
    require_local("--data", data_folder)
    file = Path(data_folder, "manifest.json")
    if not file.is_file():
        raise UserError(f"{data_folder}: no manifest.json; make the folder with bertjax prepare")
    try:
        manifest = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}); run bertjax prepare again") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{file}: format_version {version}, this version reads {FORMAT_VERSION}; "
            "run bertjax prepare again"
        )
    match manifest:
        case {"tokenizer": {"digest": str()}, "splits": dict(), "digest": str()}:
            return manifest
    raise UserError(
        f"{file} is damaged (it lacks tokenizer, splits or digest); run bertjax prepare again"
    )


_FILES, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # often 1,024; below 0: no limit
_MOST_OPEN = max(min(_FILES // 4, 1024), 16) if _FILES >= 0 else 1024  # shards, of either split


class ShardedDocuments:
    """The documents of a split: numbered through its shards in the manifest's order.

    Attributes:
        token_counts: uint32 [documents], tokens of each.
    """

    def __init__(
        self, files: Sequence[Path], counts: Sequence[int], token_counts: np.ndarray
    ) -> None:
        self.token_counts = token_counts
        self._files = list(files)
        self._starts = np.cumsum([0, *counts]).tolist()
        self._readers: OrderedDict[int, Any] = OrderedDict()  # the one used last at the end
        self._lock = threading.Lock()

    def read(self, indices: Sequence[int]) -> list[TokenizedDocument]:
        """The documents of these numbers, in their order; may be called from any thread.

        Raises:
            UserError: a shard cannot be read or does not hold what it should. Its own checksums
                find every changed byte.
        """
        wanted: dict[int, list[int]] = defaultdict(list)
        for place, index in enumerate(indices):
            wanted[bisect_right(self._starts, index) - 1].append(place)
        documents: dict[int, TokenizedDocument] = {}
        with self._lock:
            for shard, places in wanted.items():
                positions = [indices[place] - self._starts[shard] for place in places]
                documents.update(zip(places, self._read_shard(shard, positions), strict=True))
        return [documents[place] for place in range(len(indices))]

    def check_sizes(self) -> None:
        """Opens every shard once: some milliseconds each.

        Raises:
            UserError: one is cut short, or holds more or fewer documents than the manifest says.
        """
        for file, first, end in zip(self._files, self._starts, self._starts[1:], strict=False):
            with _damage_told(file):
                reader = _open(file)
                found = reader.num_records()
                reader.close()
                if found != end - first:
                    raise ValueError(f"{found} documents, not {end - first}")

    def _read_shard(self, shard: int, positions: list[int]) -> list[TokenizedDocument]:
        with _damage_told(self._files[shard]):
            documents = [decode_document(record) for record in self._reader(shard).read(positions)]
            expected = self.token_counts[np.array(positions) + self._starts[shard]]
            if [document.token_ids.size for document in documents] != expected.tolist():
                raise ValueError("other documents than token_counts.npy counts")
            return documents

    def _reader(self, shard: int) -> Any:
        if shard not in self._readers:
            if len(self._readers) >= _MOST_OPEN:
                self._readers.popitem(last=False)[1].close()
            self._readers[shard] = _open(self._files[shard])
        self._readers.move_to_end(shard)
        return self._readers[shard]


def _open(file: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader

    options = "readahead_buffer_size:0,max_parallelism:0"
    return ArrayRecordReader(str(file), options, file_reader_buffer_size=1 << 15)


@contextlib.contextmanager
def _damage_told(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        if is_transient(error):  # such as a mounted bucket that is away for a moment
            raise
        reason = " ".join(str(error).split()) or "its end is missing"
        raise UserError(
            f"{file} is damaged ({reason}); copy it again or run bertjax prepare again"
        ) from error


def open_split(data_folder: str | Path, split: str) -> ShardedDocuments:
    """Opens the documents of `train` or `validation` in a DATA folder.

    Raises:
        UserError: as `read_manifest`, or a file of the split is missing, cut short or does not
            fit. A changed byte is found when the document is read.
    """
    manifest = read_manifest(data_folder)
    folder = Path(data_folder, split)
    try:
        entry = manifest["splits"][split]
        files = [Path(data_folder, shard["file"]) for shard in entry["shards"]]
        counts = [int(shard["documents"]) for shard in entry["shards"]]
        tokens = int(entry["tokens"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{data_folder}: manifest.json says nothing of {error} for the split {split}; "
            "run bertjax prepare again"
        ) from error
    for file in [folder / "token_counts.npy", *files]:
        if not file.is_file():
            raise UserError(f"{file} is missing; copy the folder again or run bertjax prepare")
    try:
        token_counts = read_token_counts(folder / "token_counts.npy", sum(counts), tokens)
    except ValueError as error:
        raise UserError(
            f"{folder}: token_counts.npy {error}; copy the folder again or run bertjax prepare "
            "again"
        ) from error
    documents = ShardedDocuments(files, counts, token_counts)
    documents.check_sizes()
    return documents
