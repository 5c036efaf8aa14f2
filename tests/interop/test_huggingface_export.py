"""What an imported `config.json` said beyond our settings is said again by the export."""

import dataclasses
import json

import pytest

import bertjax
from bertjax import api
from bertjax.task_settings import Regression
from tests.interop.checkpoints import change_settings, make_checkpoint, write_folder

CLASSIFIER = ("pooler", "classification_head")
EXTRAS = {"problem_type": "multi_label_classification", "classifier_dropout": 0.25}


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("ways", [["huggingface"], ["bertjax", "huggingface"]])
def test_what_changes_how_transformers_runs_a_classifier_is_kept(tmp_path, ways):
    folder = write_folder(tmp_path / "model", CLASSIFIER)
    change_settings(folder, **EXTRAS, _num_labels=5)
    for to in ways:
        api.convert(bertjax.load(folder), tmp_path / to, to)
        folder = tmp_path / to
    assert settings_of(folder).items() >= EXTRAS.items()
    assert "_num_labels" not in settings_of(folder)


def test_what_is_not_said_is_not_made_up(tmp_path):
    folder = write_folder(tmp_path / "model", CLASSIFIER)
    change_settings(folder, problem_type="regression")
    bertjax.load(folder).save_huggingface(tmp_path / "again")
    assert settings_of(tmp_path / "again")["problem_type"] == "regression"
    assert "classifier_dropout" not in settings_of(tmp_path / "again")


def test_labels_of_equal_names_stay(tmp_path):
    folder = write_folder(tmp_path / "model", CLASSIFIER)
    labels = {"0": "LABEL", "1": "LABEL"}
    change_settings(folder, id2label=labels)
    bertjax.load(folder).save_huggingface(tmp_path / "again")
    assert settings_of(tmp_path / "again")["id2label"] == labels
    assert bertjax.load(tmp_path / "again").config.labels == ("LABEL", "LABEL")


def test_labels_are_not_written_beside_another_head(tmp_path):
    folder = write_folder(tmp_path / "model", ("span_head",), labels=("one", "two", "three"))
    assert "id2label" not in settings_of(folder)


@pytest.mark.slow
def test_transformers_answers_with_the_score_of_a_fine_tuned_regression(tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    checkpoint = make_checkpoint(CLASSIFIER, labels=("score",))
    experiment = dataclasses.replace(checkpoint.experiment, task=Regression())
    bert = bertjax.Bert(**vars(checkpoint) | {"experiment": experiment})
    bert.save_huggingface(tmp_path / "model")
    (found,) = transformers.pipeline("text-classification", str(tmp_path / "model"))(["word1"])
    tokenizer = bert.tokenizer
    ids = [tokenizer.classifier_id, *tokenizer.encode("word1"), tokenizer.separator_id]
    score = float(bert.apply([ids]).classification_logits[0, 0])
    assert found == {"label": "score", "score": pytest.approx(score, abs=1e-5)}


@pytest.mark.slow
def test_transformers_runs_the_export_as_it_ran_the_import(tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = write_folder(tmp_path / "model", CLASSIFIER)
    change_settings(folder, **EXTRAS, id2label={"0": "LABEL", "1": "LABEL"})
    bertjax.load(folder).save_huggingface(tmp_path / "again")

    def answers(place):
        classify = transformers.pipeline("text-classification", str(place), top_k=None)
        assert classify.model.dropout.p == EXTRAS["classifier_dropout"]
        (found,) = classify(["word1 word2"])
        return found

    found = answers(tmp_path / "again")
    assert found == answers(folder)
    assert [answer["label"] for answer in found] == ["LABEL", "LABEL"]
    assert sum(answer["score"] for answer in found) != pytest.approx(1)  # a probability each
