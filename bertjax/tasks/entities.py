"""Entities in BIO labels, and how well predicted ones match.

As the scorer of CoNLL-2000 and CoNLL-2003, conlleval, counts them: an entity is right if its type,
its first and its last token are.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"


class Entity(NamedTuple):
    """The tokens from `start` up to `end`, not included."""

    start: int
    end: int
    type: str


class EntityCounts(NamedTuple):
    """How many entities, by type."""

    right: Counter[str]
    predicted: Counter[str]
    gold: Counter[str]


def well_formed(labels: Sequence[str]) -> list[str]:
    """The labels, `I-` where no entity of its type goes on as `B-`: the same entities."""
    repaired, previous = [], OUTSIDE
    for label in labels:
        is_stray = label.startswith("I-") and label[2:] != previous[2:]
        previous = f"B-{label[2:]}" if is_stray else label
        repaired.append(previous)
    return repaired


def entities(labels: Sequence[str]) -> list[Entity]:
    """The entities of a sentence in their order."""
    found: list[Entity] = []
    for place, label in enumerate(well_formed(labels)):
        if label.startswith("B-"):
            found.append(Entity(place, place + 1, label[2:]))
        elif label.startswith("I-"):
            found[-1] = found[-1]._replace(end=place + 1)
    return found


def count_entities(
    gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> EntityCounts:
    """Counts over sentences, of each its labels and the predicted ones."""
    counts = EntityCounts(Counter(), Counter(), Counter())
    for true, guessed in zip(gold, predicted, strict=True):
        sets = set(entities(true)), set(entities(guessed))
        for counter, group in zip(counts, (sets[0] & sets[1], sets[1], sets[0]), strict=True):
            counter.update(entity.type for entity in group)
    return counts


def precision_recall_f1(right: int, predicted: int, gold: int) -> dict[str, float]:
    """`precision`, `recall` and `f1` from counts; 0 where there is nothing to divide by."""
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / gold if gold else 0.0,
        "f1": 2 * right / (predicted + gold) if predicted + gold else 0.0,
    }


def entity_scores(counts: EntityCounts) -> dict[str, float]:
    """The three figures over all entities, and `macro_f1`, the mean F1 of the types that occur."""
    by_type = [float(row["f1"]) for row in type_table(counts)]
    total = precision_recall_f1(*(counter.total() for counter in counts))
    return total | {"macro_f1": sum(by_type) / max(len(by_type), 1)}


def type_table(counts: EntityCounts) -> list[dict[str, str | float]]:
    """A row for each `type` that occurs: entities `gold` and `predicted`, and their figures."""
    return [
        {"type": name, "gold": counts.gold[name], "predicted": counts.predicted[name]}
        | precision_recall_f1(counts.right[name], counts.predicted[name], counts.gold[name])
        for name in sorted(counts.gold.keys() | counts.predicted.keys())
    ]
