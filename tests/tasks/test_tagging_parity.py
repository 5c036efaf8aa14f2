"""Tagging against Hugging Face's BertForTokenClassification in PyTorch, packed and not."""

import dataclasses
from collections import Counter

import jax
import numpy as np
import pytest

from bertjax.config import Tagging
from bertjax.data.examples import pack_examples, unpack
from bertjax.model import bert
from bertjax.tasks.tagging import tagging_task
from tests.model.conftest import perturbed
from tests.tasks.small_bert import CONFIG, TOKENIZER, WORDS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from tests import reference  # noqa: E402

LABELS = ("O", "B-a", "I-a", "B-b", "I-b")
MODEL = dataclasses.replace(CONFIG, labels=LABELS)
HEAD = {
    "tagging_head/dense/kernel": "classifier.weight",
    "tagging_head/dense/bias": "classifier.bias",
}


@pytest.fixture(scope="module")
def params():
    return perturbed(bert.init_params(MODEL, jax.random.key(1), heads=("tagging_head",)))


def parameter_names():
    """(our path, theirs, whether transposed) of the encoder and the head."""
    ours = ("embeddings/", "layers/")
    encoder = [each for each in reference.parameter_names(MODEL) if each[0].startswith(ours)]
    return encoder + [(path, name, path.endswith("kernel")) for path, name in HEAD.items()]


@pytest.fixture(scope="module")
def model(params):
    config = transformers.BertConfig(
        vocab_size=MODEL.vocab_size,
        hidden_size=MODEL.hidden_size,
        num_hidden_layers=MODEL.num_layers,
        num_attention_heads=MODEL.num_heads,
        intermediate_size=MODEL.intermediate_size,
        max_position_embeddings=MODEL.max_length,
        num_labels=len(LABELS),
        attn_implementation="eager",
    )
    model = transformers.BertForTokenClassification(config).eval()
    with torch.no_grad():
        for path, name, transposed in parameter_names():
            value, target = np.asarray(reference.leaf(params, path)), model.get_parameter(name)
            value = value.T if transposed else value[: len(target)]
            target.copy_(torch.from_numpy(value.copy()))
    return model


@pytest.fixture(scope="module")
def task():
    return tagging_task(Tagging(labels=LABELS, context=4), TOKENIZER, 32, 2, None)


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
    records = task.read(file, True, Counter())
    return [example for record in records for example in task.examples(record)]


@pytest.fixture(scope="module")
def expected(model, examples):
    """Hugging Face's output on one example a row, its gradients left in the model."""
    batch = {
        name: torch.from_numpy(array).long()
        for name, array in in_rows_of_their_own(examples).items()
    }
    labels = torch.where(batch["tag_weights"] > 0, batch["tag_ids"], -100)
    output = model(
        input_ids=batch["token_ids"],
        token_type_ids=batch["segment_ids"],
        attention_mask=batch["pair_ids"],
        labels=labels,
    )
    output.loss.backward()
    return output


def in_rows_of_their_own(examples):
    parts = [pack_examples([example], 32, TOKENIZER.pad_id) for example in examples]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module", params=["padded", "packed"])
def found(request, task, params, examples):
    """(loss, gradients, logits by example) in either layout."""
    batch = in_rows_of_their_own(examples)
    batch["example_ids"][:, 0] = np.arange(len(examples))
    if request.param == "packed":
        batch = pack_examples(examples, 64, TOKENIZER.pad_id)
        assert len(batch["token_ids"]) < len(examples) / 2

    def loss(params):
        ids = [batch[name] for name in ("token_ids", "segment_ids", "pair_ids")]
        hidden = bert.forward(params, MODEL, *ids).hidden
        logits = task.logits(params, hidden, batch, lambda inputs: inputs)
        sums, counts = task.loss(logits, batch)
        return sums["tagging_loss"] / counts["tagging_loss"], logits["tagging_logits"]

    (value, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return value, gradients, unpack(np.asarray(logits), batch, len(examples))


def test_logits_of_every_token(found, expected, examples):
    assert len(examples) > 8  # the long ones are cut
    for ours, theirs in zip(found[2], expected.logits.detach().numpy(), strict=True):
        np.testing.assert_allclose(ours, theirs[: len(ours)], atol=1e-4)


def test_loss(found, expected):
    assert float(found[0]) == pytest.approx(expected.loss.item(), rel=1e-5)


@pytest.mark.usefixtures("expected")
def test_gradient_of_every_parameter(found, model, params):
    names = parameter_names()
    assert len(names) == len(jax.tree.leaves(params))
    for path, name, transposed in names:
        wanted = model.get_parameter(name).grad.numpy()
        wanted = wanted.T if transposed else wanted
        ours = np.asarray(reference.leaf(found[1], path))[: len(wanted)]
        bound = 1e-4 * max(np.abs(wanted).max(), 1e-3)
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=bound, err_msg=path)


def test_dropout_is_on_the_input_of_the_head(task, params):
    hidden = np.ones((1, 4, MODEL.hidden_size), np.float32)
    dropped = task.logits(params, hidden, {}, lambda inputs: inputs * 0)["tagging_logits"]
    bias = params["tagging_head"]["dense"]["bias"]
    np.testing.assert_array_equal(dropped, np.broadcast_to(bias, dropped.shape))
