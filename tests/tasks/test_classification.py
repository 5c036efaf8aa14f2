"""Classification: labels and weights, and the same numbers as Hugging Face in PyTorch."""

import dataclasses
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import Classification
from bertjax.data.examples import pack_examples, unpack
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.classification import HEADS, balanced_weights, classification_task
from bertjax.tasks.task import Notes, TextInputs
from tests.model.conftest import perturbed
from tests.tasks.small_bert import CONFIG, TOKENIZER, sentences

LABELS = ("no", "maybe", "yes")
LABELLED = dataclasses.replace(CONFIG, labels=LABELS)
PARAMS = perturbed(bert.init_params(LABELLED, jax.random.key(1), HEADS))
TEXTS = sentences([3, 40, 1, 17, 5, 22, 9, 60])
ANSWERS = ["no", "no", "yes", "maybe", "no", "yes", "no", "no"]


def table(folder, labels=ANSWERS, name="train.tsv"):
    rows = zip(["sentence", *TEXTS], ["label", *labels], strict=False)
    (folder / name).write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    return folder / name


def make_task(train=None, **settings):
    return classification_task(Classification(**settings), TextInputs(TOKENIZER, 64, 2), train)


def examples_of(task, file):
    records = list(task.read(file, True, Notes()))
    return records, [task.examples(record)[0] for record in records]


def outputs(task, params, batch, dropout=lambda inputs: inputs):
    """The logits and the sums and counts of a batch."""
    ids = (batch[name] for name in ("token_ids", "segment_ids", "pair_ids"))
    hidden = bert.forward(params, LABELLED, *ids, positions=task.positions(batch)).hidden
    logits = task.logits(params, LABELLED, hidden, dropout)
    return logits, task.loss(logits, batch)


def mean_loss(task, params, batch):
    _, (sums, counts) = outputs(task, params, batch)
    return sums["classification_loss"] / counts["classification_loss"]


def by_example(task, params, batch, count):
    logits, _ = outputs(task, params, batch)
    return np.stack(unpack(np.asarray(logits["classification"]), batch, count))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The task of three labels, its examples, and these in packed rows."""
    file = table(tmp_path_factory.mktemp("table"))
    task = make_task(labels=LABELS)
    _, examples = examples_of(task, file)
    return task, examples, pack_examples(examples, 64, TOKENIZER.pad_id, rows_multiple=4)


@pytest.mark.slow
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_logits_loss_and_gradients_are_those_of_hugging_face(tmp_path, class_weights):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.tasks.labelled_reference import (
        assert_same_gradients,
        labelled_reference,
        run_reference,
    )

    file = table(tmp_path)
    task = make_task(file, labels=LABELS, class_weights=class_weights)
    _, examples = examples_of(task, file)
    batch = pack_examples(examples, 64, TOKENIZER.pad_id, rows_multiple=4)
    targets = [LABELS.index(label) for label in ANSWERS]
    model = labelled_reference(LABELLED, PARAMS, len(LABELS))
    theirs = run_reference(model, examples, targets)
    np.testing.assert_allclose(
        by_example(task, PARAMS, batch, len(TEXTS)), theirs.logits.detach(), atol=1e-5
    )

    loss, gradients = jax.value_and_grad(lambda params: mean_loss(task, params, batch))(PARAMS)
    weight = None
    if class_weights == "balanced":
        weight = torch.tensor([8 / (3 * 5), 8 / (3 * 1), 8 / (3 * 2)])
    expected = torch.nn.CrossEntropyLoss(weight)(theirs.logits, torch.tensor(targets))
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    assert_same_gradients(LABELLED, model, gradients)


@pytest.mark.slow
def test_packed_rows_give_what_each_example_gives_alone(packed):
    task, examples, batch = packed
    assert batch["token_ids"].shape[0] < len(examples)  # some rows hold several
    alone = [
        by_example(task, PARAMS, pack_examples([each], 64, TOKENIZER.pad_id), 1)[0]
        for each in examples
    ]
    np.testing.assert_allclose(by_example(task, PARAMS, batch, len(examples)), alone, atol=1e-5)


def test_the_counts_are_those_of_the_examples_and_accuracy_counts_hits(packed):
    task, examples, batch = packed
    _, (sums, counts) = outputs(task, PARAMS, batch)
    right = by_example(task, PARAMS, batch, len(examples)).argmax(axis=1)
    hits = np.sum(right == [LABELS.index(label) for label in ANSWERS])
    assert (sums["accuracy"], counts["accuracy"]) == (hits, len(examples))
    assert counts["classification_loss"] == len(examples)


def test_dropout_falls_on_the_input_of_the_head(packed):
    task, _, batch = packed
    logits, _ = outputs(task, PARAMS, batch, dropout=jnp.zeros_like)
    bias = PARAMS["classification_head"]["dense"]["bias"]
    np.testing.assert_array_equal(
        logits["classification"], np.broadcast_to(bias, logits["classification"].shape)
    )


def test_labels_are_those_of_the_training_file_in_order(tmp_path):
    assert make_task(table(tmp_path)).labels == ("maybe", "no", "yes")
    assert make_task(table(tmp_path), labels=LABELS).labels == LABELS


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    rows = [0] * 5 + [1] + [2] * 2
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows)
    np.testing.assert_allclose(balanced_weights([5, 1, 2]), expected, rtol=1e-6)
    assert np.isfinite(balanced_weights([5, 0, 2])).all()


def test_the_settings_hold_what_the_training_file_told(tmp_path):
    task = make_task(table(tmp_path), class_weights="balanced")
    assert isinstance(task.settings, Classification)
    assert task.settings.labels == task.labels
    assert task.settings.label_weights == balanced_weights([1, 5, 2])
    again = make_task(**dataclasses.asdict(task.settings))
    assert again.settings == task.settings


def test_the_loss_of_a_task_made_again_is_weighted_as_before(tmp_path):
    file = table(tmp_path)
    task = make_task(file, labels=LABELS, class_weights="balanced")
    again = make_task(**dataclasses.asdict(task.settings))
    _, examples = examples_of(task, file)
    batch = pack_examples(examples, 64, TOKENIZER.pad_id, rows_multiple=4)
    weighted, plain = (mean_loss(each, PARAMS, batch) for each in (task, make_task(labels=LABELS)))
    assert mean_loss(again, PARAMS, batch) == weighted != plain


def test_a_prediction_is_the_likeliest_label_with_the_probability_of_each(tmp_path):
    task = make_task(labels=LABELS)
    (record, *_), _ = examples_of(task, table(tmp_path))
    logits = np.log([0.2, 0.5, 0.3]).astype(np.float32) + 100
    found = task.predict(record, [{"classification": logits}])
    assert (found["row"], found["label"]) == (2, "maybe")
    assert found["probabilities"] == pytest.approx({"no": 0.2, "maybe": 0.5, "yes": 0.3}, abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (["no", "yes", "perhaps"], {"labels": LABELS}, "row 4: unknown label 'perhaps'; the label"),
        (["no", "yes", ""], {}, "row 4: no label; give it one"),
        (["no", "no"], {}, "column 'label': expected two different labels or more, found no$"),
        (["no", "no"], {"labels": ("no", "no")}, "task.labels: expected two different labels"),
        (["no", "yes"], {"labels": LABELS, "metric": "f1"}, r"task.metric=f1 is for two labels"),
        (["no", "yes"], {"label_weights": (1.0,)}, "for each of the labels no, yes"),
        (["no", "yes"], {"label_weights": (1.0, -2.0)}, "a number from 1.2e-38 to 3.4e.38, which"),
        (["no", "yes"], {"label_weights": (1.0, 1e39)}, r"label_weights=\[1.0, 1e\+39\]: expected"),
        (["no", "yes"], {"label_weights": (1.0, 1e-50)}, r"label_weights=\[1.0, 1e-50\]: expected"),
        (
            ["no", "yes"],
            {"label": "class"},
            "no column 'class', which task.label names; there are s",
        ),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(tmp_path, labels, settings, message):
    with pytest.raises(UserError, match=message):
        make_task(table(tmp_path, labels), **settings)


def test_a_label_that_the_training_file_lacks_is_refused_in_another(tmp_path):
    task = make_task(table(tmp_path, ["no", "yes"]))
    dev = table(tmp_path, ["no", "never"], "dev.tsv")
    with pytest.raises(UserError, match=r"dev.tsv: row 3: unknown label 'never'; the labels are n"):
        list(task.read(dev, True, Notes()))


def test_a_label_is_the_same_in_either_normal_form(tmp_path):
    composed, taken_apart = ("긍정", unicodedata.normalize("NFD", "긍정"))
    file = table(tmp_path, [composed, taken_apart, "부정"])
    for task in (make_task(file), make_task(labels=(taken_apart, "부정"))):
        assert task.labels == (composed, "부정")
        assert [record.target for record in examples_of(task, file)[0]] == [0, 0, 1]
