from pathlib import Path

import numpy as np
import pytest

from bertjax.data.examples import Example
from bertjax.errors import UserError
from bertjax.tasks.training_file import check_targets

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
