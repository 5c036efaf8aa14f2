"""Predictions for a file, and how good they are where it has labels."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from bertjax.config import Config, MeshConfig
from bertjax.files import check_output, write_output
from bertjax.json_text import dump_json
from bertjax.progress import Progress
from bertjax.tasks.labelled_task import labelled_task
from bertjax.tasks.predictions import Predicted, Predictor, figures, predict_all
from bertjax.tasks.task import Notes, file_entry, tell_notes
from bertjax.tasks.training_file import check_scorable
from bertjax.train.mesh import make_mesh, replicated

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


class FileModel:
    """A fine-tuned model, ready for files of its task.

    Args:
        params: the weights, with the task's heads.
        config: of the run; its mesh does not count: all devices that are here share the work.
        tokenizer: the model's.
    """

    def __init__(self, params: dict[str, Any], config: Config, tokenizer: "Tokenizer") -> None:
        config = dataclasses.replace(config, mesh=MeshConfig())
        self._config, self._tokenizer = config, tokenizer
        self._task = labelled_task(config, tokenizer, None)
        self._params = jax.device_put(params, replicated(make_mesh(config.mesh)))

    def report(self, file: Path) -> dict[str, Any]:
        """What there is to say about a labelled file; tells what was repaired or left out.

        Returns:
            `task`, `metric`, `data` (the file), `figures` (the metrics and the loss) and `details`,
            each as in a run's `report.json`.

        Raises:
            UserError: it cannot be used.
        """
        task, notes = self._task, Notes()
        records = list(task.read(file, True, notes))
        check_scorable(file, records, task.settings)
        predictor = self._predictor(labelled=True)
        with Progress("evaluating", len(records), "record") as progress:
            found = predict_all(predictor, self._params, records, progress.update)
        tell_notes(file, notes)
        return {
            "task": task.settings.kind,
            "metric": task.settings.metric,
            "data": file_entry(str(file), len(found.records), notes),
            "figures": figures(task, found),
            "details": task.details(found.records, found.predictions),
        }

    def predict(self, file: Path, output: Path) -> dict[str, int]:
        """Writes one JSON object per record, in order; labels in the file are not needed.

        Both files may be of any size (a question file, one JSON object, is held in memory). The
        output appears whole or not at all; a file is read through before the work begins.

        Returns:
            `records`, and how often something was repaired or left out, by what it was.

        Raises:
            UserError: the input cannot be used, or the output cannot be written.
        """
        check_output(file, output, "a.jsonl")
        notes = Notes()
        total = self._count(file)
        counts: list[int] = []

        def write(temporary: Path) -> None:
            records = self._task.read(file, False, notes)
            blocks = self._predictor(labelled=False)(self._params, records)
            counts.append(_write_lines(temporary, blocks, total))

        write_output(output, write)
        return {"records": counts[0], **notes.counts}

    def _count(self, file: Path) -> int | None:
        """Its records; what is wrong in the last of them is told before the first is predicted.

        None where it can be read only once, such as a pipe.
        """
        if os.path.exists(file) and not os.path.isfile(file):
            return None
        count = 0
        with Progress("reading", unit="record") as bar:
            for count, _ in enumerate(self._task.read(file, False, Notes()), start=1):
                bar.update(count)
        return count

    def _predictor(self, labelled: bool) -> Predictor:
        return Predictor(self._task, self._config, self._tokenizer.pad_id, labelled)


def _write_lines(path: Path, blocks: Iterator[Predicted], total: int | None) -> int:
    done, progress = 0, Progress("predicting", total, "record")
    with path.open("w", encoding="utf-8") as file, progress as bar:
        for block in blocks:
            for prediction in block.predictions:
                file.write(dump_json(prediction, ensure_ascii=False) + "\n")
            done += len(block.predictions)
            bar.update(done)
    return done
