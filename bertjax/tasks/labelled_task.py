"""The task that a config describes."""

from pathlib import Path
from typing import TYPE_CHECKING

from bertjax.config import Classification, Config, QuestionAnswering, Regression, Tagging
from bertjax.tasks.task import Task, TextInputs

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer


def labelled_task(config: Config, tokenizer: "Tokenizer", train: Path | None) -> Task:
    """The functions of `config.task`.

    Args:
        config: its model's `num_segments` is set; `data.length` is the most tokens of a window.
        tokenizer: the model's.
        train: where labels come from that the config does not list; None where it lists them.

    Raises:
        UserError: the training file cannot be read, or the settings cannot work.
    """
    inputs = TextInputs(tokenizer, config.data.length, config.model.num_segments)
    match config.task:
        case Classification():
            from bertjax.tasks.classification import classification_task

            return classification_task(config.task, inputs, train)
        case Regression():
            from bertjax.tasks.regression import regression_task

            return regression_task(config.task, inputs)
        case Tagging():
            from bertjax.tasks.tagging import tagging_task

            return tagging_task(config.task, inputs, train)
        case QuestionAnswering():
            from bertjax.tasks.question_answering import question_answering_task

            return question_answering_task(config.task, inputs)
        case None:
            raise ValueError("a config without a task")
