"""What a model card says of where its text came from."""

import dataclasses

import pytest

from bertjax.config import TrainConfig
from bertjax.interop.model_card import model_card
from tests.interop.checkpoints import make_checkpoint


def card_of(spec):
    corpus = {"spec": spec, "documents": 1, "sentences": 2, "tokens": 3}
    history = {"config": {}, "facts": {"corpora": [corpus]}}
    checkpoint = make_checkpoint(history=history)
    experiment = dataclasses.replace(checkpoint.experiment, train=TrainConfig(steps=1))
    checkpoint = dataclasses.replace(checkpoint, experiment=experiment)
    return model_card(checkpoint, "name", "BertForPreTraining")


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("/home/me/text.txt", "text.txt"),
        ("/data/a:b/c.txt", "c.txt"),
        ("gs://mine/inner/c.txt", "c.txt"),
        ("python-docs", "python-docs"),
        ("tfds:/home/me/x/1.0.0@train#text", "tfds:x/1.0.0@train#text"),
        ("tfds:../me/inner/x/1.0.0", "tfds:x/1.0.0"),
        ("tfds:lm1b", "tfds:lm1b"),
        (
            "tfds:wikipedia/20230601.en:1.0.0@train[:10%]#text",
            "tfds:wikipedia/20230601.en:1.0.0@train[:10%]#text",
        ),
        ("a|b.txt", r"a\|b.txt"),
    ],
)
def test_a_source_is_shown_without_the_folders_of_the_machine(spec, shown):
    assert f"| {shown} | 1 | 2 | 3 |" in card_of(spec)
