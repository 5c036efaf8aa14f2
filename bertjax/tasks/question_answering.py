"""The span of a context that answers a question (Devlin et al. 2018, sections 4.2 and 4.3)."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import ModelConfig, QuestionAnswering
from bertjax.data.examples import Example, most_examples
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.answer_report import (
    Predictions,
    answer_details,
    answer_scores,
    best_thresholds,
)
from bertjax.tasks.answers import answer, with_threshold
from bertjax.tasks.context_windows import Windows, token_range, windows_of
from bertjax.tasks.encoder_rows import joined
from bertjax.tasks.squad_files import Question, read_questions
from bertjax.tasks.task import Logits, Notes, Sums, Task, TextInputs

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_NEVER = -1e30  # the logit of a position that is none of the example's


def question_answering_task(settings: QuestionAnswering, inputs: TextInputs) -> Task:
    """Answers cut out of a context.

    Args:
        settings: whose rules, the windows, and how answers are chosen.
        inputs: its length is a window's, with the question and three special tokens.

    Raises:
        UserError: settings that cannot work, or a length that leaves a context no room.
    """
    _check(settings, inputs.length)
    cut = windows_of(inputs.tokenizer, inputs.length, settings.stride, settings.max_question_tokens)

    def predict(question: Question, logits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        spans = [np.asarray(window["span_logits"]) for window in logits]
        return answer(question.id, question.context, cut(question), spans, settings)

    return Task(
        settings=settings,
        heads=("span_head",),
        labels=(),
        read=functools.partial(_read, settings=settings, tokenizer=inputs.tokenizer),
        examples=lambda question: _examples(question, cut(question), inputs),
        logits=_logits,
        loss=span_loss,
        predict=predict,
        score=lambda questions, found: answer_scores(questions, found, settings),
        details=lambda questions, found: answer_details(questions, found, settings),
        calibrate=functools.partial(calibrate, settings=settings)
        if settings.unanswerable
        else None,
    )


def calibrate(
    questions: Sequence[Question], predictions: Predictions, settings: QuestionAnswering
) -> tuple[QuestionAnswering, list[dict[str, Any]]]:
    """The settings with the `null_threshold` that is best for these questions by `metric`.

    And the predictions with it.
    """
    best = best_thresholds(questions, predictions, settings)[settings.metric]
    settings = dataclasses.replace(settings, null_threshold=best.null_threshold)
    return settings, [with_threshold(found, best.null_threshold) for found in predictions]


def span_loss(logits: Logits, batch: Mapping[str, jax.Array]) -> tuple[Sums, Sums]:
    """The cross entropy of the start and of the end, averaged, summed over the examples.

    The softmax of an example goes over those of its positions that `may_answer` marks: the words of
    the paragraph (section 4.2) and `[CLS]` for no answer (section 4.3). google-research/bert and
    Hugging Face's BertForQuestionAnswering let the question take part too.

    Args:
        logits: `span_logits` float32 [rows, length, 2].
        batch: `pair_ids`, and `may_answer`, `is_start`, `is_end` bool [rows, length]. An example
            without a start counts for nothing.
    """
    pair_ids = batch["pair_ids"]
    slots = most_examples(pair_ids.shape[1])
    own = pair_ids[:, None, :] == jnp.arange(1, slots + 1)[None, :, None]  # [rows, slots, length]
    own &= batch["may_answer"][:, None, :]
    slot = jnp.maximum(pair_ids - 1, 0)
    total = jnp.float32(0)
    for place, name in enumerate(("is_start", "is_end")):
        scores = logits["span_logits"][:, :, place]
        normalizers = jax.nn.logsumexp(jnp.where(own, scores[:, None, :], _NEVER), axis=2)
        losses = jnp.take_along_axis(normalizers, slot, axis=1) - scores  # [rows, length]
        total += jnp.where(batch[name], losses, 0.0).sum() / 2
    return {"span_loss": total}, {"span_loss": batch["is_start"].sum().astype(jnp.float32)}


def _logits(
    params: Any,
    config: ModelConfig,
    hidden: jax.Array,
    dropout: Callable[..., jax.Array],
) -> Logits:
    """Neither google-research/bert nor Hugging Face has dropout before this head."""
    del dropout
    return {"span_logits": bert.span_logits(params, config, hidden)}


def _read(
    path: Path,
    labelled: bool,
    notes: Notes,
    *,
    settings: QuestionAnswering,
    tokenizer: "Tokenizer",
) -> Iterator[Question]:
    """`read_questions`; notes also those that are cut."""
    most = settings.max_question_tokens
    for question in read_questions(path, labelled, settings.unanswerable, notes):
        if len(tokenizer.encode(question.text, plain_text=True)) > most:
            notes.add(f"questions cut to {most} tokens", f"question {question.row} ({question.id})")
        yield question


def _examples(question: Question, windows: Windows, inputs: TextInputs) -> list[Example]:
    """`[CLS] question [SEP] context [SEP]` for every window."""
    spans = [answer.span for answer in question.answers or () if answer.span]
    right = token_range(windows.context, spans[0]) if spans else None
    examples = []
    for window in windows.ranges:
        ids = windows.context.token_ids[window.start : window.stop]
        own = joined(inputs.tokenizer, inputs.num_segments, windows.question_ids, ids)
        targets = {} if question.answers is None else _targets(windows, window, right)
        if question.answers and right is None:  # it cannot be pointed to: nothing is right
            targets["is_start"][:] = targets["is_end"][:] = False
        examples.append(Example(*own, targets))
    return examples


def _targets(windows: Windows, window: range, right: range | None) -> dict[str, np.ndarray]:
    """Which positions may be chosen, and which of them are right: bool [tokens] each.

    A window that does not hold the whole answer points to `[CLS]`, as those of SQuAD 1.1 and 2.0
    alike do in google-research/bert run_squad.py.
    """
    may_answer = windows.may_answer(window)
    may_answer[0] = True
    start = end = 0
    if right and window.start <= right.start and right.stop <= window.stop:
        shift = windows.context_start - window.start
        start, end = right.start + shift, right.stop - 1 + shift
    positions = np.arange(len(may_answer))
    return {"may_answer": may_answer, "is_start": positions == start, "is_end": positions == end}


def _check(settings: QuestionAnswering, length: int) -> None:
    for name in ("stride", "max_question_tokens", "max_answer_tokens", "n_best"):
        if getattr(settings, name) < 1:
            raise UserError(f"task.{name}={getattr(settings, name)}: must be at least 1")
    room = length - settings.max_question_tokens - 3
    if room < settings.max_answer_tokens:
        raise UserError(
            f"data.length={length}: beside a question of task.max_question_tokens="
            f"{settings.max_question_tokens} there is no room for an answer of "
            f"task.max_answer_tokens={settings.max_answer_tokens}; change one of the three"
        )
