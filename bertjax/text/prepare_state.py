"""What lies in a DATA folder while it is being made, and whether a run may go on with it.

    DATA/.unfinished/state.json     settings, and fingerprints of corpus and tokenizer
                     scan.json      what the first pass counted
                     repeated.npy   hashes of the lines to drop
                     sample.txt     text to train the tokenizer on
                     tokenizer/
                     chunks/        tokenized text, one set of files per chunk
                     train/ validation/

Everything appears by renaming a finished temporary file, so a killed run continues with what is
missing. `manifest.json` is written last; where it lies, DATA is complete.
"""

import contextlib
import dataclasses
import errno
import importlib.util
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bertjax.errors import UserError
from bertjax.files import require_local, write_whole
from bertjax.json_text import parse_json
from bertjax.text.corpus import Source, fingerprint

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

FORMAT_VERSION = 1
PARTS = ("tokenizer", "train", "validation")
TRAINED = ("wordpiece", "sentencepiece", "sentencepiece:bpe")  # tokenizers made of the text itself


@dataclass(frozen=True)
class PrepareSettings:
    """What `prepare` makes DATA from.

    Attributes:
        corpora: SPECs of the sources, in order (see `bertjax.text.corpus`).
        output: the DATA folder.
        tokenizer: "wordpiece", "sentencepiece" or "sentencepiece:bpe" trains one; anything else is
            a path to load.
        vocab_size: pieces of a trained tokenizer.
        cased: whether upper case and accents are kept.
        sentences: "lines" (one sentence per line), "split" (running text), or "auto".
        validation: share of the documents kept for validation.
        workers: processes; None takes all cores.
        runner: "local", or "beam" for Apache Beam. The result depends neither on it nor on workers.
        beam_options: Beam's own, such as `--runner=DataflowRunner`; none runs on this machine.
    """

    corpora: tuple[str, ...]
    output: str
    tokenizer: str = "wordpiece"
    vocab_size: int = 30_000
    cased: bool = False
    sentences: Literal["auto", "lines", "split"] = "auto"
    validation: float = 0.02
    workers: int | None = None
    runner: Literal["local", "beam"] = "local"
    beam_options: tuple[str, ...] = ()


def recorded(settings: PrepareSettings) -> dict[str, Any]:
    """The settings that the result depends on, as the manifest records them."""
    values = dataclasses.asdict(settings)
    for name in ("output", "workers", "runner", "beam_options"):
        del values[name]
    if settings.tokenizer not in TRAINED:
        del values["vocab_size"]  # the tokenizer's own, whatever is asked for
    return values | {"corpora": list(settings.corpora)}


def check_settings(settings: PrepareSettings) -> None:
    """Refuses settings that cannot work; raises UserError."""
    copy = "write to a local folder and copy that (gcloud storage cp -r FOLDER {})"
    require_local("--output", settings.output, copy)
    if not settings.output:
        raise UserError("--output is empty: name a folder")
    if not settings.corpora:
        raise UserError("no corpus given: name at least one with --corpus")
    if not 0 <= settings.validation < 1:
        raise UserError(f"--validation {settings.validation}: must be at least 0 and below 1")
    if settings.vocab_size < 1:
        raise UserError(f"--vocab-size {settings.vocab_size}: must be greater than 0")
    if settings.workers is not None and settings.workers < 1:
        raise UserError(f"--workers {settings.workers}: must be at least 1")
    if settings.sentences not in ("auto", "lines", "split"):
        raise UserError(f"--sentences {settings.sentences}: choose auto, lines or split")
    _check_runner(settings)


def _check_runner(settings: PrepareSettings) -> None:
    if settings.runner not in ("local", "beam"):
        raise UserError(f"--runner {settings.runner}: choose local or beam")
    for option in settings.beam_options:
        if not option.startswith("--"):
            raise UserError(f"unknown argument {option}; write a glob in quotes")
        if settings.runner == "local":
            raise UserError(f"unknown argument {option}; Beam's options need --runner beam")
    if settings.runner == "beam" and importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            "--runner beam: apache-beam is not installed; in an environment of its own: "
            "pip install -c scripts/constraints/beam.txt -e '.[beam]'"
        )


def check_output(output: str, sources: Sequence[Source]) -> None:
    """Refuses a folder that cannot become DATA; raises UserError."""
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {output}: this is a file; name a folder")
    for source in sources:
        if source.is_folder and folder.resolve().is_relative_to(Path(source.spec).resolve()):
            raise UserError(f"--output {output}: lies inside --corpus {source.spec}")


def open_work(output: str) -> Path:
    """Makes `.unfinished` in a DATA folder, or tidies the one that is there; returns it.

    Raises:
        UserError: DATA holds something else, or cannot be written.
    """
    folder = Path(output)
    work = folder / ".unfinished"
    if not work.exists():
        taken = [name for name in PARTS if (folder / name).exists()]
        if taken:
            raise UserError(
                f"--output {output}: holds {taken[0]}/ that was not made here; "
                "name an empty or new folder"
            )
    try:
        work.mkdir(exist_ok=True)
        _tidy(work)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from error
    return work


def _tidy(work: Path) -> None:
    """Undoes what a killed run had begun: temporary files, and parts moved to their last place."""
    for path in [*work.rglob("*.tmp")]:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    for name in PARTS:
        if (work.parent / name).exists():
            (work.parent / name).replace(work / name)


@contextlib.contextmanager
def discarded_on_user_error(work: Path) -> Iterator[None]:
    """Leaves no trace of an attempt at a corpus or setting that is at fault: it can be mended.

    A full disk is neither: the next attempt goes on.
    """
    try:
        yield
    except UserError as error:
        if getattr(error.__cause__, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            shutil.rmtree(work)
        raise


def open_state(
    work: Path, settings: PrepareSettings, sources: Sequence[Source], given: "Tokenizer | None"
) -> list[str]:
    """Records what is being made, or checks that an interrupted run was making the same.

    Returns:
        The fingerprint of each source.
    """
    found = read_json_if_there(work / "state.json")
    if found is None:
        with discarded_on_user_error(work):
            state = _state(settings, sources, given)
            write_json(work / "state.json", state)
        return state["fingerprints"]
    match found:
        case {"settings": dict(), "fingerprints": list()}:
            pass
        case _:
            raise UserError(f"{work / 'state.json'}: damaged; remove it and run again")
    refuse_other_settings(settings, found["settings"], "holds an interrupted run")
    now = _state(settings, sources, given)
    if any(found.get(name) != now[name] for name in now.keys() - {"settings"}):
        raise UserError(
            f"--output {settings.output}: the corpus or the tokenizer has changed since this run "
            f"was interrupted; remove {work} to start again"
        )
    return found["fingerprints"]


def _state(
    settings: PrepareSettings, sources: Sequence[Source], given: "Tokenizer | None"
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "settings": recorded(settings),
        "fingerprints": [fingerprint(source) for source in sources],
        "tokenizer": given.digest if given else None,
    }


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a `.npy` file, whole or not at all."""

    def save(temporary: Path) -> None:
        buffer = io.BytesIO()  # straight to a file, NumPy does not say that the disk is full
        np.save(buffer, array, allow_pickle=False)
        temporary.write_bytes(buffer.getbuffer())

    write_whole(path, save)


def read_json_if_there(path: Path) -> Any:
    """The value of a JSON file written here, None if there is no such file.

    Raises:
        UserError: it is damaged.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); remove it and run again") from error


def refuse_other_settings(settings: PrepareSettings, made_with: dict[str, Any], what: str) -> None:
    """Refuses a folder that `what` says was made with settings that its result hangs on."""
    for name, value in recorded(settings).items():
        if (before := made_with.get(name)) != value:
            raise UserError(
                f"--output {settings.output} {what} made with {name}={before!r}, not {value!r}; "
                "choose another folder or remove this one"
            )
