"""WNUT-17 and KLUE-NER as published, where they are: nothing is lost between file and score."""

from pathlib import Path

import numpy as np
import pytest

from bertjax.config import Tagging
from bertjax.tasks.tagging import tagging_task
from bertjax.tasks.task import Notes, TextInputs
from bertjax.text.tokenizer import train_sentencepiece
from tests.tasks.small_bert import TOKENIZER

TASKS = Path(__file__).resolve().parents[3] / "shared/data/tasks"
needs = pytest.mark.skipif(not TASKS.exists(), reason=f"{TASKS} is not there")

FILES = {
    "wnut17/train.conll": (2894, 53_347, 1637),
    "wnut17/dev.conll": (1009, 15_733, 836),
    "wnut17/test.conll": (1287, 23_394, 1079),
    "klue_ner/train.tsv": (3220, 184_572, 9222),
    "klue_ner/test.tsv": (783, 45_119, 2270),
}  # sentences, tokens, entities, as the data's own description counts them


def solved(task, file):
    """The records of a file and what a model that knows every piece's label would predict."""
    records, predictions, notes = [], [], Notes()
    for record in task.read(file, True, notes):
        examples = task.examples(record)
        one_hot = np.eye(len(task.labels))
        outputs = [{"tagging_logits": one_hot[each.targets["tag_ids"]]} for each in examples]
        records.append(record)
        predictions.append(task.predict(record, outputs))
    assert not notes.counts
    return records, predictions


@needs
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_files_have_the_published_numbers_of_sentences_tokens_and_entities(name):
    layout = "klue" if name.startswith("klue") else "conll"
    task = tagging_task(Tagging(layout=layout), TextInputs(TOKENIZER, 128, 2), TASKS / name)
    assert len(task.labels) == 13  # six types
    records, predictions = solved(task, TASKS / name)
    rows = task.details(records, predictions)["entities"]
    tokens = sum(len(record.sentence.tokens) for record in records)
    assert (len(records), tokens, sum(row["gold"] for row in rows)) == FILES[name]


@needs
@pytest.mark.slow
@pytest.mark.parametrize("context", [0, 50])
def test_right_labels_of_words_score_one(context):
    file = TASKS / "wnut17/dev.conll"
    task = tagging_task(Tagging(context=context), TextInputs(TOKENIZER, 32, 2), file)
    assert set(task.score(*solved(task, file)).values()) == {1.0}


@needs
@pytest.mark.slow
def test_right_labels_of_pieces_score_as_well_as_pieces_end_with_entities():
    file = TASKS / "klue_ner/train.tsv"
    characters = file.read_text().splitlines()
    lines = [line.partition("\t")[0] for line in characters if not line.startswith("##")]
    text = "".join(line or "\n" for line in lines).split("\n")
    ceilings = []
    for size in (2000, 8000):
        tokenizer = train_sentencepiece(text, size, cased=True)
        task = tagging_task(Tagging(layout="klue"), TextInputs(tokenizer, 128, 2), file)
        ceilings.append(task.score(*solved(task, file))["f1"])
    print(f"entity F1 of right labels, 2,000 and 8,000 pieces: {ceilings}")
    assert 1 > ceilings[0] > ceilings[1] > 0.7
