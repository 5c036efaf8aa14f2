"""Regression: Hugging Face's numbers in PyTorch, and correlations by their definitions."""

import dataclasses

import jax
import numpy as np
import pytest

from bertjax.config import Regression
from bertjax.data.examples import pack_examples, unpack
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.classification import HEADS
from bertjax.tasks.regression import regression_details, regression_scores, regression_task
from bertjax.tasks.task import Notes, TextInputs
from bertjax.tasks.text_records import TextRecord
from tests.model.conftest import perturbed
from tests.tasks.small_bert import CONFIG, TOKENIZER, sentences

TEXTS = sentences([3, 40, 1, 17, 5, 22, 9, 60])
SCORES = [0.0, 3.8, 2.5, 5.0, 1.25, 4.75, 0.6, 3.2]
SCORED = dataclasses.replace(CONFIG, labels=("score",))
PARAMS = perturbed(bert.init_params(SCORED, jax.random.key(1), HEADS))
TASK = regression_task(Regression(), TextInputs(TOKENIZER, 64, 2))


def table(folder, scores=SCORES):
    rows = zip(["sentence1", *TEXTS], ["sentence2", *TEXTS[::-1]], ["score", *scores], strict=False)
    (folder / "train.tsv").write_text("".join(f"{a}\t{b}\t{score}\n" for a, b, score in rows))
    return folder / "train.tsv"


def read(file):
    return list(TASK.read(file, True, Notes()))


def outputs(params, batch):
    ids = (batch[name] for name in ("token_ids", "segment_ids", "pair_ids"))
    hidden = bert.forward(params, SCORED, *ids, positions=TASK.positions(batch)).hidden
    logits = TASK.logits(params, SCORED, hidden, lambda inputs: inputs)
    sums, counts = TASK.loss(logits, batch)
    return sums["regression_loss"] / counts["regression_loss"], logits["regression"]


@pytest.mark.slow
def test_predictions_loss_and_gradients_are_those_of_hugging_face(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.tasks.labelled_reference import (
        assert_same_gradients,
        labelled_reference,
        run_reference,
    )

    examples = [TASK.examples(record)[0] for record in read(table(tmp_path))]
    batch = pack_examples(examples, 64, TOKENIZER.pad_id, rows_multiple=4)
    model = labelled_reference(SCORED, PARAMS, 1)
    theirs = run_reference(model, examples, np.array(SCORES, np.float32))
    theirs.loss.backward()
    graded = jax.value_and_grad(lambda params: outputs(params, batch), has_aux=True)
    (loss, logits), gradients = graded(PARAMS)
    by_example = unpack(np.asarray(logits), batch, len(examples))
    np.testing.assert_allclose(by_example, theirs.logits[:, 0].detach(), atol=1e-5)
    np.testing.assert_allclose(loss, theirs.loss.item(), rtol=1e-5)
    assert_same_gradients(SCORED, model, gradients)


def test_a_prediction_is_a_number(tmp_path):
    (record, *_) = read(table(tmp_path))
    assert TASK.predict(record, [{"regression": np.float32(2.5)}]) == {"row": 2, "score": 2.5}


def test_a_score_is_learnt_as_it_stands_in_the_file(tmp_path):
    targets = [TASK.examples(record)[0].targets["scores"] for record in read(table(tmp_path))]
    np.testing.assert_array_equal(targets, np.array(SCORES, np.float32))


@pytest.mark.parametrize("score", ["", "good", "nan", "inf"])
def test_what_is_no_score_is_told_with_its_row(tmp_path, score):
    with pytest.raises(UserError, match=rf"train.tsv: row 3: the score '{score}' is not a number"):
        read(table(tmp_path, [1.0, score]))


def test_a_score_whose_square_no_float32_holds_is_told_with_its_row(tmp_path):
    with pytest.raises(UserError, match=r"train.tsv: row 3: the score '-1e30' is beyond 1e\+15"):
        read(table(tmp_path, [1.0, "-1e30"]))


def scored(numbers):
    none = np.zeros(0, np.int32)
    return [TextRecord(row, "a", "b", number, none, none) for row, number in enumerate(numbers, 2)]


def predicted(numbers):
    return [{"score": number} for number in numbers]


def test_correlations_by_their_definitions():
    true, found = [0.0, 1.0, 2.0, 5.0], [0.1, 3.0, 2.0, 2.5]
    pearson = np.corrcoef(true, found)[0, 1]
    spearman = np.corrcoef([0, 1, 2, 3], [0, 3, 1, 2])[0, 1]
    expected = pytest.approx({"pearson": pearson, "spearman": spearman})
    assert regression_scores(scored(true), predicted(found)) == expected


@pytest.mark.parametrize(("true", "found"), [([1, 2], [3, 3]), ([2, 2], [1, 2]), ([1], [2])])
def test_what_does_not_vary_correlates_with_nothing(true, found, recwarn):
    found = regression_scores(scored(true), predicted(found))
    assert found == {"pearson": 0.0, "spearman": 0.0}
    assert not recwarn.list


def test_the_report_tells_the_error_and_the_rows_that_are_most_wrong():
    found = regression_details(scored([0.0, 1.0, 2.0]), predicted([0.0, 5.0, 2.5]))
    error = {"mean_absolute": 4.5 / 3, "root_mean_square": np.sqrt((16 + 0.25) / 3)}
    assert found["error"] == pytest.approx(error)
    assert found["scores"][1] == {"scores": "predicted", "mean": 2.5, "least": 0.0, "most": 5.0}
    worst = {"row": 3, "score": 1.0, "predicted": 5.0, "text": "a", "second": "b"}
    assert found["errors"][0] == worst
    assert [each["row"] for each in found["errors"]] == [3, 4, 2]
