"""Tagging: a BIO label for every word or character (Devlin et al. 2018, section 5.3)."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bertjax.config import ModelConfig, Tagging
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.entities import Entity, count_entities, entities, entity_scores, type_table
from bertjax.tasks.tag_files import check_labels, labels_of, read_sentences
from bertjax.tasks.tag_pieces import character_pieces, first_tokens, spread, word_pieces
from bertjax.tasks.tag_windows import TaggedSentence, Window, windows, with_context
from bertjax.tasks.task import Logits, Notes, Sums, Task, TextInputs, spread_out
from bertjax.text.normalization import composed

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

_SAMPLE_CHARACTERS = 300  # of a sentence with errors


def tagging_task(settings: Tagging, inputs: TextInputs, train: Path | None) -> Task:
    """The task whose records are `TaggedSentence` and whose predictions are BIO labels.

    Args:
        settings: the layout of its files, its labels, and the context around a sentence.
        inputs: its length is a window's; every token is in the first segment.
        train: the file whose labels are learnt where `settings` has none.

    Raises:
        UserError: labels that are no BIO labels, a negative context, or a training file that
            cannot be read.
    """
    if settings.context < 0:
        raise UserError(f"task.context={settings.context}: must not be negative")
    labels = tuple(map(composed, settings.labels))
    if train and not labels:
        labels = labels_of(train, settings)
    check_labels(labels)
    split = character_pieces if settings.layout == "klue" else word_pieces

    def read(path: Path, labelled: bool, notes: Notes) -> Iterator[TaggedSentence]:
        sentences = read_sentences(path, settings, labelled, notes, labels)
        pieced = (TaggedSentence(each, split(inputs.tokenizer, each.tokens)) for each in sentences)
        return with_context(pieced, settings.context)

    room = inputs.length - 2  # without [CLS] and [SEP]
    return Task(
        settings=dataclasses.replace(settings, labels=labels),
        heads=("tagging_head",),
        labels=labels,
        read=read,
        examples=functools.partial(_examples, tokenizer=inputs.tokenizer, labels=labels, room=room),
        logits=_logits,
        loss=tagging_loss,
        predict=functools.partial(_predict, labels=labels, room=room),
        score=_score,
        details=functools.partial(_details, space="" if settings.layout == "klue" else " "),
    )


def _examples(
    record: TaggedSentence, *, tokenizer: "Tokenizer", labels: Sequence[str], room: int
) -> list[Example]:
    """Each window between `[CLS]` and `[SEP]`."""
    stream = [*record.before, *record.pieces.ids, *record.after]
    tag_ids = _piece_tags(record, labels) if record.sentence.labels else None
    examples = []
    for window in windows(record, room):
        seen = stream[window.start : window.end]
        token_ids = np.array([tokenizer.classifier_id, *seen, tokenizer.separator_id], np.int32)
        targets = {} if tag_ids is None else _targets(window, tag_ids, len(token_ids))
        examples.append(Example(token_ids, np.zeros_like(token_ids), targets))
    return examples


def _piece_tags(record: TaggedSentence, labels: Sequence[str]) -> np.ndarray:
    """int32 [pieces with their context]: the label's number, -1 for a piece without one."""
    tag_ids = np.full(len(record.before) + len(record.pieces.ids), -1, np.int32)
    pieces, tokens = first_tokens(record.pieces.owners)
    tags = [labels.index(record.sentence.labels[token]) for token in tokens]
    tag_ids[len(record.before) + pieces] = tags
    return tag_ids


def _targets(window: Window, tag_ids: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """`tag_ids` and `tag_weights`, [length]; 0 where the window labels nothing."""
    own = np.full(length, -1, np.int32)
    own[_labelled(window)] = tag_ids[window.first : window.last]
    return {"tag_ids": np.maximum(own, 0), "tag_weights": (own >= 0).astype(np.float32)}


def _labelled(window: Window) -> slice:
    """The positions that the window labels; its first piece follows `[CLS]`."""
    return slice(window.first - window.start + 1, window.last - window.start + 1)


def _logits(
    params: Any,
    config: ModelConfig,
    hidden: jax.Array,
    dropout: Callable[..., jax.Array],
) -> Logits:
    """`tagging_logits`, float32 [rows, length, labels]."""
    return {"tagging_logits": bert.tagging_logits(params, config, dropout(hidden))}


def tagging_loss(logits: Logits, batch: Mapping[str, jax.Array]) -> tuple[Sums, Sums]:
    """Cross entropy and accuracy over the pieces with a label.

    Args:
        logits: `tagging_logits` [rows, length, labels].
        batch: `tag_ids` int32 and `tag_weights` float32, [rows, length].
    """
    scores, tags, weights = logits["tagging_logits"], batch["tag_ids"], batch["tag_weights"]
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, tags)
    hits = (jnp.argmax(scores, axis=-1) == tags).astype(jnp.float32)
    count = jnp.sum(weights)
    sums = {"tagging_loss": jnp.sum(losses * weights), "accuracy": jnp.sum(hits * weights)}
    return sums, dict.fromkeys(sums, count)


def _predict(
    record: TaggedSentence,
    outputs: Sequence[Mapping[str, Any]],
    *,
    labels: Sequence[str],
    room: int,
) -> dict[str, Any]:
    """Each token with the likeliest label of its piece, made well-formed BIO.

    And the probability that the piece has of it; a token without a piece, such as a space, has
    none.
    """
    best: list[str] = []
    chances: list[float] = []
    for window, output in zip(windows(record, room), outputs, strict=True):
        scores = np.asarray(output["tagging_logits"][_labelled(window)], np.float64)
        best += [labels[int(tag)] for tag in np.argmax(scores, axis=-1)]
        below = scores - scores.max(axis=-1, keepdims=True)
        chances += (1 / np.exp(below).sum(axis=-1)).tolist()
    owners = record.pieces.owners
    return {
        "tokens": list(record.sentence.tokens),
        "labels": spread(best, owners, record.sentence.tokens),
        "probabilities": [chances[owner] if owner >= 0 else None for owner in owners],
    }


def _score(
    records: Sequence[TaggedSentence], predictions: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """Precision, recall and F1 of entities, their mean F1 by type, and accuracy of tokens."""
    gold = [record.sentence.labels for record in records]
    guessed = [prediction["labels"] for prediction in predictions]
    tokens = list(zip(chain(*gold), chain(*guessed), strict=True))
    accuracy = sum(true == label for true, label in tokens) / max(len(tokens), 1)
    return entity_scores(count_entities(gold, guessed)) | {"accuracy": accuracy}


def _details(
    records: Sequence[TaggedSentence], predictions: Sequence[dict[str, Any]], *, space: str
) -> dict[str, Any]:
    """`entities`, a row for each type, and `errors`, sentences from all over the file."""
    gold = [record.sentence.labels for record in records]
    guessed = [prediction["labels"] for prediction in predictions]
    wrong = [n for n in range(len(gold)) if entities(gold[n]) != entities(guessed[n])]
    return {
        "entities": type_table(count_entities(gold, guessed)),
        "errors": [_error(records[n], guessed[n], space) for n in spread_out(wrong)],
    }


def _error(record: TaggedSentence, guessed: Sequence[str], space: str) -> dict[str, Any]:
    """What was `missed` and what was `found` wrongly in a sentence."""
    tokens = record.sentence.tokens
    gold, found = entities(record.sentence.labels), entities(guessed)

    def shown(entity: Entity) -> str:
        return f"{space.join(tokens[entity.start : entity.end])} ({entity.type})"

    return {
        "row": record.row,
        "text": space.join(tokens)[:_SAMPLE_CHARACTERS],
        "missed": [shown(entity) for entity in gold if entity not in found],
        "found": [shown(entity) for entity in found if entity not in gold],
    }
