"""A run of question answering from a file to predictions."""

import dataclasses
import json
import random

import pytest

import bertjax
from bertjax.config import DataConfig, QuestionAnswering
from bertjax.errors import UserError
from bertjax.tasks.finetune import finetune
from tests.tasks.labelled import config, pretrained
from tests.tasks.small_bert import WORDS
from tests.tasks.squad import answered, unanswered, write_squad

pytestmark = pytest.mark.slow

SETTINGS = QuestionAnswering(
    stride=8, max_question_tokens=4, max_answer_tokens=3, unanswerable=True
)
ANSWERS = WORDS[:4]  # a context answers with one of these words, or holds none of them


def write_questions(file, count, seed):
    draw = random.Random(seed)
    paragraphs = []
    for number in range(count):
        words = draw.choices(WORDS[4:], k=draw.randint(3, 30))
        question = unanswered(str(number), WORDS[20])
        if draw.random() < 0.6:
            place = draw.randrange(len(words))
            words[place] = draw.choice(ANSWERS)
            start = len(" ".join([*words[:place], ""]))
            question = answered(str(number), WORDS[20], (words[place], start))
        paragraphs.append((" ".join(words), [question]))
    return write_squad(file, *paragraphs)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run, its config and files, and its report."""
    folder = tmp_path_factory.mktemp("answers")
    files = write_questions(folder / "a.json", 160, 0), write_questions(folder / "b.json", 60, 1)
    settings = dataclasses.replace(config(epochs=4), task=SETTINGS, data=DataConfig(length=24))
    return folder, settings, files, finetune(settings, pretrained(), *files, folder / "run")


def test_answers_that_can_be_found_are_learnt(finished):
    figures = finished[-1]["figures"]
    assert figures["exact_match"] > 80
    assert figures["exact_match"] == pytest.approx(figures["best_exact_match"], abs=5)
    assert figures["f1"] == pytest.approx(figures["best_f1"])


def test_the_threshold_found_on_dev_is_the_runs(finished):
    folder, _, files, report = finished
    thresholds = {
        row["metric"]: row["null_threshold"] for row in report["details"]["null_thresholds"]
    }
    bert = bertjax.load(folder / "run")
    assert bert.experiment.task.null_threshold == thresholds["f1"]
    assert bert.evaluate(data=files[1]) == pytest.approx(report["figures"])


def test_predictions_give_an_answer_to_every_question(finished):
    folder, _, files, report = finished
    bertjax.load(folder / "run").predict(files[1], folder / "found.jsonl")
    found = [json.loads(line) for line in (folder / "found.jsonl").read_text().splitlines()]
    assert [set(each) for each in found] == [{"id", "answer", "null_score", "nbest"}] * 60
    assert [each["id"] for each in found] == [str(number) for number in range(60)]
    questions = [
        entry["paragraphs"][0]["qas"][0] for entry in json.loads(files[1].read_text())["data"]
    ]
    expected = [each["answers"][0]["text"] if each["answers"] else "" for each in questions]
    right = sum(each["answer"] == text for each, text in zip(found, expected, strict=True))
    assert 100 * right / 60 == pytest.approx(report["figures"]["exact_match"])


def test_a_finished_run_asked_for_again_is_the_same(finished):
    folder, settings, files, report = finished
    again = finetune(settings, pretrained(), *files, folder / "run")
    assert again["figures"] == pytest.approx(report["figures"])
    assert again["details"] == report["details"]


def test_a_training_file_of_which_no_answer_is_in_its_context_is_refused(tmp_path):
    lost = answered("a", WORDS[20], (ANSWERS[0], 0))
    file = write_squad(tmp_path / "a.json", (" ".join(WORDS[4:9]), [lost]))
    settings = dataclasses.replace(config(), task=SETTINGS, data=DataConfig(length=24))
    with pytest.raises(UserError, match=r"a\.json: no question has an answer that is in its"):
        finetune(settings, pretrained(), file, file, tmp_path / "run")
    assert not (tmp_path / "run").exists()
