"""Documents out of a prepared TensorFlow Datasets set, read without TensorFlow.

Only sets stored as array_record can be read at random and without TensorFlow; for any other the
user is told the command that makes one.
"""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.files import located

_RECORDS_PER_READ = 256


@dataclass(frozen=True)
class TfdsSpec:
    """What `tfds:NAME[/CONFIG][:VERSION][@SPLIT][#FIELD]` or `tfds:FOLDER[@SPLIT][#FIELD]` says."""

    name: str  # of a set, or the folder of one
    split: str = "train"
    field: str = "text"

    @property
    def is_folder(self) -> bool:
        looks_like_path = self.name.startswith(("/", ".", "~")) or "://" in self.name
        return looks_like_path or (Path(self.name) / "dataset_info.json").is_file()


def in_order(source: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The examples of a data source, a few hundred of them read at once."""
    for start in range(0, len(source), _RECORDS_PER_READ):
        indices = range(start, min(start + _RECORDS_PER_READ, len(source)))
        yield from source.__getitems__(list(indices))  # pyright: ignore


def parse_spec(spec: str) -> TfdsSpec:
    """Takes a `tfds:` name apart; raises UserError if no set is named.

    A `pathlib.Path` of one has only one of the slashes of `gs://` left: the other is put back.
    """
    folder, slash, last = spec.removeprefix("tfds:").rpartition("/")
    last, has_field, field = last.partition("#")
    last, has_split, split = last.partition("@")
    name = re.sub(r"^(\w+):/(?!/)", r"\1://", folder + slash + last)
    if not name or (has_field and not field) or (has_split and not split):
        raise UserError(f"{spec}: write tfds:NAME[/CONFIG][:VERSION][@SPLIT][#FIELD]")
    return TfdsSpec(name, split or "train", field or "text")


def texts(spec: str) -> Iterator[str]:
    """The documents that a `tfds:` corpus name stands for, in order; `TFDS_DATA_DIR` is honoured.

    Raises:
        UserError: as `split`, or there is no such text field (those that exist are listed); while
            it is read, a text is not UTF-8.
    """
    wanted = parse_spec(spec)
    features, source = split(spec)
    fields = _text_fields(features)
    if wanted.field not in fields:
        raise UserError(
            f"{spec}: no text field {wanted.field!r}; there are {', '.join(fields) or 'none'}"
        )
    examples = enumerate(in_order(source))
    return (_text(example[wanted.field], wanted, number) for number, example in examples)


def split(spec: str) -> tuple[Any, Sequence[Any]]:
    """The features of the set that a `tfds:` name stands for, and the examples of its split.

    Raises:
        UserError: no such set or split (those that exist are listed), or a set that is not
            prepared as array_record (with the command that prepares it).
    """
    wanted = parse_spec(spec)
    builder = _builder(wanted)
    splits = sorted(builder.info.splits)
    if not splits:
        raise UserError(f"{spec}: not prepared in {builder.data_dir}; {_how_to_build(wanted)}")
    if wanted.split.partition("[")[0] not in {*splits, "all"}:
        raise UserError(f"{spec}: no split {wanted.split!r}; there are {', '.join(splits)}")
    try:
        return builder.info.features, builder.as_data_source(wanted.split)
    except NotImplementedError as error:
        raise UserError(
            f"{spec}: stored as {builder.info.file_format.value}, which cannot be read without "
            f"TensorFlow; {_how_to_convert(builder.data_dir)}"
        ) from error
    except ValueError as error:
        raise UserError(f"{spec}: cannot read split {wanted.split!r} ({error})") from error


def version(spec: str) -> str:
    """What identifies the content of a prepared set: its full name and the sizes of its parts."""
    info = _builder(parse_spec(spec)).info
    sizes = [f"{name} {part.shard_lengths} {part.num_bytes}" for name, part in info.splits.items()]
    return "\n".join([info.full_name, *sorted(sizes)])


def _builder(wanted: TfdsSpec) -> Any:
    import tensorflow_datasets as tfds
    import tensorflow_datasets.text  # registers wikipedia, glue and the like

    logging.getLogger("absl").setLevel(logging.ERROR)  # a missing set is our one line to report
    if wanted.is_folder:
        remote = "://" in wanted.name
        folder = located(wanted.name if remote else Path(wanted.name).expanduser(), "prepared set")
        try:
            return tfds.builder_from_directory(folder)
        except (OSError, ValueError) as error:
            raise UserError(
                f"tfds:{wanted.name}: not a prepared set (a folder that holds dataset_info.json)"
            ) from error
    try:
        return tfds.builder(wanted.name, data_dir=os.environ.get("TFDS_DATA_DIR"))
    except (ValueError, AssertionError) as error:  # the library's words for a wrong config, version
        reason = str(error).partition("\n")[0]
        raise UserError(f"tfds:{wanted.name}: {reason}") from error


def _text(value: str | bytes, wanted: TfdsSpec, number: int) -> str:
    try:
        return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"tfds:{wanted.name}: {wanted.field!r} of example {number} is not UTF-8 "
            f"text at byte {error.start}"
        ) from error


def _text_fields(features: Any) -> list[str]:
    """Names of the scalar string features."""
    return sorted(
        name
        for name, feature in features.items()
        if feature.shape == () and feature.np_dtype in (str, bytes, np.object_, np.str_)
    )


def _how_to_build(wanted: TfdsSpec) -> str:
    return (
        "prepare it where tensorflow (and apache-beam, for Wikipedia and other large sets) is "
        f"installed: tfds build {wanted.name} --file_format=array_record"
    )


def _how_to_convert(folder: str | os.PathLike[str]) -> str:
    return (
        "convert it where tensorflow is installed: tfds convert_format "
        f"--dataset_version_dir={folder} --out_file_format=array_record --out_dir={folder}"
    )
