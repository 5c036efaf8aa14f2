"""A DATA folder that is complete already: whether it is the one that is asked for, and whole."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bertjax.errors import UserError
from bertjax.files import sha256_of
from bertjax.json_text import parse_json
from bertjax.text.corpus import fingerprint, open_source
from bertjax.text.prepare_state import PrepareSettings, refuse_other_settings
from bertjax.text.records import read_token_counts
from bertjax.text.tokenizer import Tokenizer, load_tokenizer


def finished_manifest(settings: PrepareSettings, given: Tokenizer | None) -> dict[str, Any] | None:
    """The manifest of a DATA folder that is complete already.

    Args:
        settings: what is to be made.
        given: the tokenizer that `settings` names, None if one is to be trained.

    Raises:
        UserError: it was made with other settings, another text or another tokenizer, or a file
            is missing or not what was written.
    """
    file = Path(settings.output, "manifest.json")
    if not file.exists():
        return None
    try:
        manifest = parse_json(file.read_text(encoding="utf-8"))
        made_with, splits = dict(manifest["settings"]), manifest["splits"].values()
        shards = {shard["file"]: shard["sha256"] for split in splits for shard in split["shards"]}
        read = {source["spec"]: source["fingerprint"] for source in manifest["sources"]}
        sizes = {
            name: (split["documents"], split["tokens"])
            for name, split in manifest["splits"].items()
        }
        digest = manifest["tokenizer"]["digest"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file}: damaged or of another version; remove the folder or choose another --output"
        ) from error
    refuse_other_settings(settings, made_with, "is complete and was")
    now = {spec: fingerprint(open_source(spec, settings.runner)) for spec in read}
    changed = [spec for spec in read if now[spec] != read[spec]]
    if given is not None and given.digest != digest:
        changed.append(settings.tokenizer)
    if changed:
        raise UserError(
            f"--output {settings.output} is complete, but {changed[0]} has changed since; "
            "choose another folder or remove this one"
        )
    if damaged := next(_damaged(Path(settings.output), shards, sizes, digest), None):
        raise UserError(
            f"--output {settings.output}: {damaged} is missing or not what was written; copy it "
            "again, or remove the folder and run again"
        )
    shutil.rmtree(Path(settings.output, ".unfinished"), ignore_errors=True)
    return manifest


def _damaged(
    folder: Path, shards: Mapping[str, str], sizes: Mapping[str, tuple[int, int]], digest: str
) -> Iterator[str]:
    """What of a finished DATA folder is not what was written, file by file.

    Args:
        folder: DATA.
        shards: the SHA-256 of each.
        sizes: documents and tokens of each split.
        digest: the tokenizer's.
    """
    try:
        found = load_tokenizer(folder / "tokenizer").digest
    except UserError:
        found = None
    if found != digest:
        yield "tokenizer"
    for split, size in sizes.items():
        name = f"{split}/token_counts.npy"
        try:
            read_token_counts(folder / name, *size)
        except (OSError, ValueError):
            yield name
    for name, written in shards.items():
        if not (shard := folder / name).is_file() or sha256_of(shard) != written:
            yield name
