"""The run folder: its config, what may differ when it is resumed, and its final summary."""

import dataclasses
import os
from typing import Any

from bertjax.config import Config, from_json, to_json
from bertjax.errors import UserError

_MAY_DIFFER = (
    "train.steps",
    "train.log_every",
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "mesh.",
)


def open_run(run: str | os.PathLike[str], config: Config) -> list[str]:
    """Creates the folder, or checks that `config` continues it; then `config.json` is `config`.

    Returns:
        One line per setting that differs from the run's and may: steps, cadences and mesh.

    Raises:
        UserError: another setting differs (it is named), or the folder cannot be written.
    """
    from etils import epath

    file = epath.Path(run) / "config.json"
    changes = []
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            changes = differences(from_json(file.read_text(), str(file)), config)
            if refused := [line for line in changes if not line.startswith(_MAY_DIFFER)]:
                raise UserError(
                    f"{run} was started with other settings: {'; '.join(refused)}; "
                    "take them back, or start another run"
                )
        write_whole(file, to_json(config).encode())
    except OSError as error:
        raise UserError(f"cannot write the run folder {run}: {error.strerror or error}") from error
    return changes


def differences(old: Config, new: Config) -> list[str]:
    """Lines such as `train.steps: 100 -> 200`, one per field that differs."""
    before, after = _flat(dataclasses.asdict(old)), _flat(dataclasses.asdict(new))
    return [
        f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]
    ]


def write_whole(path: Any, data: bytes) -> None:
    """Writes a local or remote path so that the file appears whole or not at all.

    A remote object does by itself; it can neither be renamed nor appended to.
    """
    if "://" in str(path):
        path.write_bytes(data)
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in section.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
