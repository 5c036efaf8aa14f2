"""Tagging against Hugging Face's BertForTokenClassification in PyTorch, packed and not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import Tagging
from bertjax.data.examples import pack_examples, unpack
from bertjax.model import bert
from bertjax.tasks.tagging import tagging_task
from bertjax.tasks.task import Notes, TextInputs
from tests.model.conftest import perturbed
from tests.tasks.small_bert import CONFIG, TOKENIZER, WORDS

pytest.importorskip("torch")
pytest.importorskip("transformers")
from tests.tasks.labelled_reference import (
    assert_same_gradients,
    labelled_reference,
    run_reference,
)

LABELS = ("O", "B-a", "I-a", "B-b", "I-b")
MODEL = dataclasses.replace(CONFIG, labels=LABELS)
PARAMS = perturbed(bert.init_params(MODEL, jax.random.key(1), heads=("tagging_head",)))


@pytest.fixture(scope="module")
def task():
    return tagging_task(Tagging(labels=LABELS, context=4), TextInputs(TOKENIZER, 32, 2), None)


@pytest.fixture(scope="module")
def examples(task, tmp_path_factory):
    """Windows of sentences of many lengths."""
    file = tmp_path_factory.mktemp("tags") / "train.conll"
    random = np.random.default_rng(0)
    with file.open("w") as stream:
        for length in (3, 9, 1, 50, 17, 6, 30, 2):
            for word, tag in random.integers(0, (len(WORDS), len(LABELS)), (length, 2)):
                stream.write(f"{WORDS[word]}\t{LABELS[tag]}\n")
            stream.write("\n")
    records = task.read(file, True, Notes())
    return [example for record in records for example in task.examples(record)]


@pytest.fixture(scope="module")
def model():
    return labelled_reference(MODEL, PARAMS, len(LABELS))


@pytest.fixture(scope="module")
def expected(model, examples):
    """Hugging Face's output on one example a row, its gradients left in the model."""
    labels = np.full((len(examples), max(len(each.token_ids) for each in examples)), -100)
    for row, targets in zip(labels, (example.targets for example in examples), strict=True):
        own = np.flatnonzero(targets["tag_weights"])
        row[own] = targets["tag_ids"][own]
    output = run_reference(model, examples, labels)
    output.loss.backward()
    return output


@pytest.fixture(scope="module", params=[32, 64])
def found(request, task, examples):
    """(loss, gradients, logits by example), several of them in rows of that many positions."""
    packed = pack_examples(examples, request.param, TOKENIZER.pad_id)
    batch = jax.tree.map(jnp.asarray, packed)

    def loss(params):
        ids = [batch[name] for name in ("token_ids", "segment_ids", "pair_ids")]
        hidden = bert.forward(params, MODEL, *ids).hidden
        logits = task.logits(params, MODEL, hidden, lambda inputs: inputs)
        sums, counts = task.loss(logits, batch)
        return sums["tagging_loss"] / counts["tagging_loss"], logits["tagging_logits"]

    (value, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(PARAMS)
    return value, gradients, unpack(np.asarray(logits), packed, len(examples))


def test_logits_of_every_token(found, expected, examples):
    assert len(examples) > 8  # the long ones are cut
    for ours, theirs in zip(found[2], expected.logits.detach().numpy(), strict=True):
        np.testing.assert_allclose(ours, theirs[: len(ours)], atol=1e-4)


def test_loss(found, expected):
    assert float(found[0]) == pytest.approx(expected.loss.item(), rel=1e-5)


@pytest.mark.usefixtures("expected")
def test_gradient_of_every_parameter(found, model):
    assert_same_gradients(MODEL, model, found[1])


def test_dropout_is_on_the_input_of_the_head(task):
    hidden = jnp.ones((1, 4, MODEL.hidden_size))
    dropped = task.logits(PARAMS, MODEL, hidden, lambda inputs: inputs * 0)["tagging_logits"]
    bias = PARAMS["tagging_head"]["dense"]["bias"]
    np.testing.assert_array_equal(dropped, np.broadcast_to(bias, dropped.shape))
