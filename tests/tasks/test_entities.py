"""Entities are counted as conlleval counts them, whatever labels a model predicts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.tasks.entities import (
    Entity,
    count_entities,
    entities,
    entity_scores,
    precision_recall_f1,
    type_table,
    well_formed,
)
from tests.tasks.conlleval import conlleval

LABELS = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b", "B-c", "I-c"])


@st.composite
def sentence_pairs(draw):
    """Gold and guessed labels of some sentences; half of the guesses are near the gold ones."""
    pairs = []
    for gold in draw(st.lists(st.lists(LABELS, max_size=12), min_size=1, max_size=6)):
        noise = st.none() | LABELS if draw(st.booleans()) else LABELS
        changes = draw(st.lists(noise, min_size=len(gold), max_size=len(gold)))
        pairs.append((gold, [new or old for old, new in zip(gold, changes, strict=True)]))
    return pairs


def counts_of(pairs):
    return count_entities([gold for gold, _ in pairs], [guess for _, guess in pairs])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O O", "O O"),
        ("I-a I-a O I-a", "B-a I-a O B-a"),
        ("B-a I-b I-b", "B-a B-b I-b"),
        ("I-a I-b I-a", "B-a B-b B-a"),
        ("I-a B-a I-a", "B-a B-a I-a"),
        ("", ""),
    ],
)
def test_an_entity_that_begins_with_i_begins_with_b(labels, expected):
    assert well_formed(labels.split()) == expected.split()


@settings(deadline=None)
@given(st.lists(LABELS))
def test_well_formed_labels_stay_and_mark_the_same_entities(labels):
    repaired = well_formed(labels)
    assert well_formed(repaired) == repaired
    assert entities(repaired) == entities(labels)


def test_entities_have_their_bounds_and_type():
    labels = ["B-a", "I-a", "B-a", "O", "I-b", "I-a"]
    assert entities(labels) == [
        Entity(0, 2, "a"),
        Entity(2, 3, "a"),
        Entity(4, 5, "b"),
        Entity(5, 6, "a"),
    ]


@settings(deadline=None)
@given(sentence_pairs())
def test_counts_are_those_of_conlleval(pairs):
    counts = counts_of(pairs)
    assert tuple(+counter for counter in counts) == conlleval(pairs)


@settings(deadline=None)
@given(sentence_pairs())
def test_scores_are_those_of_seqeval(pairs):
    metrics = pytest.importorskip("seqeval.metrics")
    gold, guessed = [gold for gold, _ in pairs], [guess for _, guess in pairs]
    counts = counts_of(pairs)
    if not counts.gold and not counts.predicted:
        return  # seqeval has no table without an entity
    expected = metrics.classification_report(gold, guessed, output_dict=True, zero_division=0)
    found = entity_scores(counts)
    for name, theirs in (("precision",) * 2, ("recall",) * 2, ("f1", "f1-score")):
        assert found[name] == pytest.approx(expected["micro avg"][theirs])
        for row in type_table(counts):
            assert row[name] == pytest.approx(expected[row["type"]][theirs])
    assert found["macro_f1"] == pytest.approx(expected["macro avg"]["f1-score"])


def test_a_table_tells_of_every_type_that_occurs_on_either_side():
    counts = count_entities([["B-a", "O", "B-b"]], [["B-a", "B-c", "I-c"]])
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert type_table(counts) == [
        {"type": "a", "gold": 1, "predicted": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0},
        {"type": "b", "gold": 1, "predicted": 0} | nothing,
        {"type": "c", "gold": 0, "predicted": 1} | nothing,
    ]


def test_figures_by_hand():
    assert precision_recall_f1(right=3, predicted=4, gold=6) == {
        "precision": 0.75,
        "recall": 0.5,
        "f1": 0.6,
    }
    assert precision_recall_f1(0, 0, 0) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert entity_scores(counts_of([(["O"], ["O"])]))["macro_f1"] == 0.0


def test_a_sentence_with_a_label_too_few_is_a_bug():
    with pytest.raises(ValueError, match="zip"):
        count_entities([["O"], ["O"]], [["O"]])
