from pathlib import Path

import numpy as np
import pytest

from bertjax.config import Regression, Tagging
from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.tasks.tag_files import Sentence
from bertjax.tasks.tag_pieces import Pieces
from bertjax.tasks.tag_windows import TaggedSentence
from bertjax.tasks.text_records import TextRecord
from bertjax.tasks.training_file import check_scorable, check_targets

FILE = Path("train.tsv")
IDS = np.zeros(3, np.int32)
TAGS = ("O", "B-org", "I-org")


def examples(name, *values, dtype=np.int32, **others):
    return [Example(IDS, IDS, {name: np.asarray(value, dtype)} | others) for value in values]


WEIGHTS = {"tag_weights": np.array([0, 1, 1], np.float32)}
CONSTANT = {
    "every row has the label 'spam'": (examples("labels", 1, 1), ("ham", "spam")),
    "every row has the score 2.5": (examples("scores", 2.5, 2.5, dtype=np.float32), ("score",)),
    "every label is O": (examples("tag_ids", [1, 0, 0], [0, 0, 0], **WEIGHTS), TAGS),
    "no question has an answer": (examples("is_start", [0, 0, 0], dtype=bool), ()),
}


@pytest.mark.parametrize("told", CONSTANT)
def test_a_file_of_which_only_a_constant_can_be_learnt_is_refused(told):
    with pytest.raises(UserError, match=f"^train.tsv: {told}"):
        check_targets(FILE, *CONSTANT[told])


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        (examples("labels", 1, 0), ("ham", "spam")),
        (examples("scores", 2.5, 2.0, dtype=np.float32), ("score",)),
        (examples("tag_ids", [0, 0, 1], [0, 0, 0], **WEIGHTS), TAGS),
        (examples("is_start", [0, 0, 0], [0, 1, 0], dtype=bool), ()),
    ],
)
def test_two_different_targets_suffice(found, labels):
    check_targets(FILE, found, labels)


def scored(*scores):
    return [TextRecord(row, "a", "b", score, IDS, IDS) for row, score in enumerate(scores, 2)]


def tagged(*labels):
    tokens = tuple("abc"[: len(labels)])
    return [TaggedSentence(Sentence(1, 0, tokens, labels), Pieces([], []))]


def test_scores_that_are_all_the_same_are_refused_for_nothing_correlates_with_them():
    with pytest.raises(UserError, match=r"^train.tsv: every row has the score -1; there is nothi"):
        check_scorable(FILE, scored(-1.0, -1.0), Regression())


def test_a_tagged_file_without_an_entity_is_told_and_scored(capsys):
    check_scorable(FILE, tagged("O", "O"), Tagging())
    assert capsys.readouterr().err.startswith("bertjax: train.tsv: every label is O; without an ")


@pytest.mark.parametrize(
    ("records", "settings"),
    [(scored(-1.0, 2.0), Regression()), (tagged("O", "B-org"), Tagging())],
)
def test_nothing_is_told_of_a_file_that_can_be_scored(records, settings, capsys):
    check_scorable(FILE, records, settings)
    assert capsys.readouterr().err == ""
