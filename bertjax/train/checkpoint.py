"""Checkpoints of a run: written in the background, checked when read.

`RUN/checkpoints/STEP/` holds the weights (`params/`), the rest of the state (`training/`) and a
record (record.py). It counts only once it is complete, so a kill leaves the ones before it whole. A
checkpoint that cannot be read, or whose arrays do not have the recorded digests, is damaged: it is
named and the one before is used.
"""

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from etils import epath

from bertjax.errors import UserError, is_transient
from bertjax.train import storage
from bertjax.train.digest import digest_arrays
from bertjax.train.record import (
    Record,
    SavedArray,
    abstract_params,
    check_digests,
    check_shapes,
    criterion_of,
    describe,
    list_steps,
    pack,
    read_record,
    step_folders,
)
from bertjax.train.storage import DamagedError, Writing
from bertjax.train.together import all_agree, steps_of_first

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """A state read back.

    Attributes:
        state: arrays with the shardings that were asked for.
        step: the step it was saved at.
        metadata: what the caller stored with it.
        skipped: newer checkpoints that are damaged, each as `STEP: why`.
    """

    state: dict[str, Any]
    step: int
    metadata: dict[str, Any]
    skipped: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run.

    Keeps the last `keep` and the best one. With several processes every one of them calls every
    method, in the same order; the first alone cleans up, and removes nothing that it has not found
    at its start or saved itself: a bucket has no lock that keeps another run out.

    Args:
        folder: `RUN/checkpoints`, local or in a bucket; made if missing. Folders that a killed run
            left unfinished are removed.
        keep: how many of the last checkpoints stay.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path | epath.Path, keep: int) -> None:
        self._folder = epath.Path(folder)
        self._keep = keep
        self._pending: tuple[int, Record, Writing] | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if is_transient(error):
                raise
            raise UserError(f"{folder}: cannot write there ({error.strerror})") from error
        if jax.process_index() == 0:
            for leftover in storage.leftovers(self._folder):
                leftover.rmtree(missing_ok=True)
        self._records: dict[int, Record] = {}
        self._known = set(list_steps(self._folder))
        for step in self._known:
            try:
                self._records[step] = read_record(self._step_folder(step))
            except DamagedError:
                continue

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint that is not known to be damaged, in order."""
        return sorted(self._records)

    @property
    def best_step(self) -> int | None:
        """The step with the lowest criterion, the last of equals; None if none has one."""
        values = {step: record.criterion for step, record in self._records.items()}
        known = [
            (value, -step)
            for step, value in values.items()
            if value is not None and math.isfinite(value)
        ]
        return -min(known)[1] if known else None

    def save(
        self,
        step: int,
        state: dict[str, Any],
        metadata: dict[str, Any],
        criterion: float | None = None,
    ) -> None:
        """Starts writing a checkpoint; the state may be donated as soon as this returns.

        Waits for the save before, and for the copy of the arrays to the host. A step that has a
        sound checkpoint already is left as it is.

        Args:
            step: how many steps the state has seen.
            state: dict of pytrees of arrays; `params`, a nested dict with string keys, is kept
                apart, so that it can be read alone.
            metadata: anything that JSON can hold.
            criterion: what `best_step` compares, such as the validation loss; the lowest wins.

        Raises:
            UserError: an array holds a NaN or an infinity, the save before could not be written, or
                another process trains in this run and is further than this one.
        """
        self.wait()
        if step in self._records:
            return
        self._refuse_to_fall_behind(step)
        digests = digest_arrays(state)
        if digests.not_finite:
            raise UserError(
                f"step {step}: {digests.not_finite[0]} is not finite, so nothing was saved; "
                "lower the learning rate"
            )
        record = Record(metadata, criterion, describe(state, digests.values))
        writing = storage.write(self._step_folder(step), _parts(state), pack(record))
        self._pending = (step, record, writing)
        self._known.add(step)

    def amend(self, step: int, metadata: dict[str, Any], criterion: float | None) -> None:
        """Gives the checkpoint that was restored other metadata and another criterion.

        Raises:
            UserError: they could not be written, or another process trains in this run.
        """
        self._refuse_to_fall_behind(step + 1)
        record = replace(self._records[step], metadata=metadata, criterion=criterion)
        if jax.process_index() == 0:
            storage.write_metadata(self._step_folder(step), pack(record))
        self._records[step] = record

    def wait(self) -> None:
        """Returns when the last save is on disk and the checkpoints it replaces are removed.

        Raises:
            UserError: it could not be written.
        """
        if self._pending is None:
            return
        (step, record, writing), self._pending = self._pending, None
        try:
            writing.result()
        except (OSError, ValueError) as error:  # a full disk is a ValueError of tensorstore's
            foreign = isinstance(error, ValueError) and "os_error_code" not in str(error)
            if foreign or is_transient(error):
                raise
            text = str(error).splitlines()[0].rpartition(": ")[2]
            reason = (isinstance(error, OSError) and error.strerror) or text
            raise UserError(f"{self._step_folder(step)}: cannot be written ({reason})") from error
        self._records[step] = record
        self._remove_old()

    def close(self) -> None:
        """Waits for the last save."""
        self.wait()

    def restore(self, abstract_state: dict[str, Any]) -> Restored | None:
        """Reads the newest sound checkpoint, or returns None if there is no checkpoint at all.

        Args:
            abstract_state: like the state, with a `jax.ShapeDtypeStruct` that has a sharding for
                every array; the devices may differ from those that it was saved on.

        Raises:
            UserError: every checkpoint is damaged, or the arrays are not those of `abstract_state`.
        """
        self.wait()
        skipped = []
        for step in reversed(steps_of_first(list_steps(self._folder))):
            try:
                record, state = _read_together(self._step_folder(step), abstract_state)
                check_digests(_saved(record, abstract_state), state)
            except DamagedError as damage:
                skipped.append(f"{step}: {damage}")
                self._records.pop(step, None)
                continue
            self._records[step] = record
            return Restored(state, step, record.metadata, tuple(skipped))
        if skipped:
            raise _none_sound(self._folder, skipped)
        return None

    def _remove_old(self) -> None:
        """Removes all but the last `keep` and the best; a removal cut short is done again here."""
        kept = {*self.steps()[-self._keep :], self.best_step}
        for step in list_steps(self._folder) if jax.process_index() == 0 else ():
            if step in self._known - kept:
                self._step_folder(step).rmtree(missing_ok=True)
        self._records = {step: record for step, record in self._records.items() if step in kept}

    def _refuse_to_fall_behind(self, step: int) -> None:
        """Of two that train in one bucket, the slower one ends when it sees the other's steps."""
        if jax.process_index() == 0:
            newest = max(set(list_steps(self._folder)) - self._known, default=-1)
            if newest >= step:
                raise UserError(
                    f"{self._folder}: somebody else has saved step {newest} while this process "
                    f"came to step {step}: two train in one run; this one ends"
                )

    def _step_folder(self, step: int) -> epath.Path:
        return self._folder / str(step)


def load_params(path: str | Path | epath.Path, best: bool = False) -> tuple[dict[str, Any], int]:
    """Reads the weights alone, onto this process's first device, and the step they were saved at.

    A damaged checkpoint is logged and another one is read: the one before, or the next best.

    Args:
        path: RUN or RUN/checkpoints for the newest sound checkpoint, RUN/checkpoints/STEP for one.
        best: of several, take the one with the lowest criterion, not the newest.

    Returns:
        `params`, a nested dict as it was saved, and the step.

    Raises:
        UserError: no checkpoint there, or none that is sound.
    """
    folder, skipped = epath.Path(path), []
    candidates = step_folders(folder)
    for candidate in sorted(candidates, key=criterion_of) if best else candidates:
        try:
            record = read_record(candidate)
            abstract = {"params": abstract_params(record)}
            state = _read(candidate, record, abstract)
            check_digests(_saved(record, abstract), state)
        except DamagedError as damage:
            skipped.append(f"{candidate.name}: {damage}")
            continue
        for reason in skipped:
            _log.warning("%s: damaged checkpoint %s; another one is used", path, reason)
        return state["params"], int(candidate.name)
    if skipped:
        raise _none_sound(folder, skipped)
    raise UserError(
        f"{path}: no checkpoint there; give a run, its checkpoints folder, or a step's folder"
    )


def _read_together(
    folder: epath.Path, abstract_state: dict[str, Any]
) -> tuple[Record, dict[str, Any]]:
    """Reads a checkpoint, each process its part of it; what one cannot read, none has read.

    Raises:
        DamagedError, UserError: as `_read`.
    """
    try:
        record = read_record(folder)
        state = _read(folder, record, abstract_state)
    except DamagedError:
        all_agree(False)
        raise
    if not all_agree(True):
        raise DamagedError("another process cannot read it")
    return record, state


def _read(folder: epath.Path, record: Record, abstract_state: dict[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint, or its params alone if `abstract_state` has nothing else.

    Whether its digests are right is still to be checked.

    Raises:
        DamagedError: it cannot be read.
        UserError: it is of other arrays than `abstract_state`.
    """
    check_shapes(folder, _saved(record, abstract_state), abstract_state)
    loaded = storage.read(folder, _parts(abstract_state))
    return {"params": loaded["params"], **loaded.get("training", {})}


def _saved(record: Record, abstract_state: dict[str, Any]) -> dict[str, SavedArray]:
    """What is recorded about the arrays that `_read` reads."""
    weights_only = "training" not in _parts(abstract_state)
    return {
        name: array
        for name, array in record.arrays.items()
        if name.startswith("params/") or not weights_only
    }


def _parts(state: dict[str, Any]) -> dict[str, Any]:
    """The state as the pytrees that are stored apart."""
    training = {key: value for key, value in state.items() if key != "params"}
    return {"params": state["params"]} | ({"training": training} if training else {})


def _none_sound(folder: epath.Path, skipped: list[str]) -> UserError:
    return UserError(
        f"{folder}: no checkpoint there is sound ({'; '.join(skipped)}); restore a copy, or remove "
        "what is damaged"
    )
