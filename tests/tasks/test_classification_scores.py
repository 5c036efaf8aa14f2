"""Scores of predicted labels against their definitions, and what the report tells."""

import numpy as np
import pytest

from bertjax.tasks.classification_scores import classification_details, classification_scores
from bertjax.tasks.text_records import TextRecord

SPAM = ("ham", "spam")
NONE = np.zeros(0, np.int32)


def records(targets):
    return [
        TextRecord(row, f"text {row}", None, target, NONE, NONE)
        for row, target in enumerate(targets, start=2)
    ]


def predictions(labels, numbers, chances=None):
    """Predictions of these labels; `chances` are the probabilities of the predicted ones."""
    chances = chances or [0.9] * len(numbers)
    return [
        {
            "label": labels[number],
            "probabilities": {
                label: chance if place == number else (1 - chance) / (len(labels) - 1)
                for place, label in enumerate(labels)
            },
        }
        for number, chance in zip(numbers, chances, strict=True)
    ]


def score(true, found, labels=SPAM):
    return classification_scores(records(true), predictions(labels, found), labels=labels)


def test_two_labels_are_scored_by_their_definitions():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
    found = score([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    correlation = (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6)
    expected = {"accuracy": 0.7, "f1": 6 / 9, "macro_f1": (6 / 9 + 8 / 11) / 2}
    assert found == pytest.approx(expected | {"matthews": correlation})


def test_the_second_label_is_the_positive_one():
    true, found = [0, 0, 0, 1], [0, 0, 1, 1]
    assert score(true, found)["f1"] == pytest.approx(2 / 3)
    flipped = score([1 - each for each in true], [1 - each for each in found])
    assert flipped["f1"] == pytest.approx(4 / 5)


def test_the_report_says_whose_f1_is_among_the_figures():
    true, found = records([0, 1]), predictions(SPAM, [0, 1])
    details = classification_details(true, found, labels=SPAM, training_rows={})
    assert details["f1_is_that_of"] == {"label": "spam"}
    three = ("a", "b", "c")
    found = predictions(three, [0, 1])
    assert "f1_is_that_of" not in classification_details(
        true, found, labels=three, training_rows={}
    )


def test_several_labels_have_no_f1_of_their_own():
    found = score([0, 1, 2, 2], [0, 1, 2, 1], ("a", "b", "c"))
    assert set(found) == {"accuracy", "macro_f1", "matthews"}
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_a_single_answer_correlates_with_nothing(recwarn):
    assert score([0, 0], [0, 0]) == {"accuracy": 1, "f1": 0, "macro_f1": 1, "matthews": 0}
    assert score([0, 1], [0, 0])["matthews"] == 0
    assert not recwarn.list


def details(true, found, chances=None, labels=SPAM, training_rows=None):
    return classification_details(
        records(true),
        predictions(labels, found, chances),
        labels=labels,
        training_rows=training_rows or {},
    )


def test_the_report_tells_how_uneven_the_labels_are():
    found = details([0, 0, 0, 1], [0, 0, 1, 0], training_rows={"ham": 30, "spam": 7})
    assert found["commonest_label"] == {"label": "ham", "accuracy": 0.75}
    rows = [(each["label"], each["training_rows"], each["rows"]) for each in found["classes"]]
    assert rows == [("ham", 30, 3), ("spam", 7, 1)]


def test_the_report_has_a_table_of_the_classes_and_their_confusion():
    found = details([0, 0, 1, 2], [0, 1, 1, 1], labels=("a", "b", "c"))
    counts = [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert found["confusion"] == {"labels": ["a", "b", "c"], "counts": counts}
    assert found["classes"][1] == {
        "label": "b",
        "rows": 1,
        "predicted": 3,
        "precision": pytest.approx(1 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.5),
    }


def test_the_most_confident_mistakes_come_first():
    found = details([0, 0, 1, 1], [1, 0, 0, 0], [0.6, 0.99, 0.7, 0.95])["errors"]
    assert [(each["row"], each["predicted"]) for each in found] == [
        (5, "ham"),
        (4, "ham"),
        (2, "spam"),
    ]
    assert found[0] == {
        "row": 5,
        "label": "spam",
        "predicted": "ham",
        "probability": pytest.approx(0.95),
        "text": "text 5",
    }


def test_a_report_is_of_bounded_size():
    many = [TextRecord(row, "x" * 10_000, "y", 0, NONE, NONE) for row in range(100)]
    found = classification_details(
        many, predictions(SPAM, [1] * 100), labels=SPAM, training_rows={}
    )
    assert len(found["errors"]) == 20
    assert len(found["errors"][0]["text"]) == 300
