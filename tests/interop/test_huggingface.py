"""Folders of transformers opened: every class and oddity gives PyTorch's numbers."""

import dataclasses
import json

import numpy as np
import pytest

import bertjax
from bertjax.train.digest import named_leaves

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from tests.interop.huggingface_models import (  # noqa: E402
    CASES,
    make_model,
    run_model,
    save_model,
)

pytestmark = pytest.mark.slow
AUTO_CLASSES = {  # of transformers' documentation; the config.json of the folder chooses ours
    "BertForPreTraining": "AutoModelForPreTraining",
    "BertForMaskedLM": "AutoModelForMaskedLM",
    "BertForNextSentencePrediction": "AutoModelForNextSentencePrediction",
    "BertForSequenceClassification": "AutoModelForSequenceClassification",
    "BertForTokenClassification": "AutoModelForTokenClassification",
    "BertForQuestionAnswering": "AutoModelForQuestionAnswering",
    "BertModel": "AutoModel",
}
TOLERANCE = 1e-5  # absolute, in float32


@dataclasses.dataclass(frozen=True)
class Opened:
    """Ours, and what both say about a batch."""

    bert: bertjax.Bert
    found: object
    batch: dict
    hidden_states: list
    outputs: dict
    real: np.ndarray


@pytest.fixture(scope="module", params=CASES.values(), ids=list(CASES))
def opened(request, tmp_path_factory):
    folder, case = tmp_path_factory.mktemp("model"), request.param
    model = make_model(case)
    save_model(model, case, folder)
    batch = make_batch(model.config)
    hidden_states, outputs = run_model(model, batch)
    bert = bertjax.load(folder)
    real = batch["attention_mask"] > 0
    return Opened(bert, bert.apply(**batch), batch, hidden_states, outputs, real)


def make_batch(config):
    """Three rows of different lengths, every segment in use."""
    random = np.random.default_rng(0)
    lengths = np.array([[19], [7], [13]])
    index = np.arange(19)[None]
    return {
        "token_ids": random.integers(0, config.vocab_size, (3, 19)),
        "segment_ids": (index * config.type_vocab_size // lengths) % config.type_vocab_size,
        "attention_mask": (index < lengths).astype(int),
    }


def test_hidden_states_of_every_layer(opened):
    for ours, theirs in zip(opened.found.hidden_states, opened.hidden_states, strict=True):
        difference = np.abs(np.asarray(ours) - theirs)[opened.real]
        assert difference.max() < TOLERANCE


def test_every_head_and_no_other(opened):
    found = {
        name: value
        for name, value in vars(opened.found).items()
        if name not in ("hidden_states", "attention") and value is not None
    }
    assert found.keys() == opened.outputs.keys()
    for name, theirs in opened.outputs.items():
        assert found[name].shape == theirs.shape, name
        difference = np.abs(np.asarray(found[name]) - theirs)
        if theirs.ndim == 3:  # one for every position
            difference = difference[opened.real]
        assert difference.max() < TOLERANCE, name


def test_export_and_import_again_are_bit_equal(opened, tmp_path):
    opened.bert.save_huggingface(tmp_path / "out")
    again = bertjax.load(tmp_path / "out")
    assert arrays(again) == arrays(opened.bert)
    for name in ("activation", "layer_norm_epsilon", "labels", "vocab_size", "num_segments"):
        assert getattr(again.config, name) == getattr(opened.bert.config, name), name


def arrays(bert):
    """Name, shape and bytes of every weight."""
    return {
        name: (leaf.shape, np.asarray(leaf).tobytes())
        for name, leaf in named_leaves(bert.params).items()
    }


def test_transformers_loads_the_export_with_nothing_missing_or_unexpected(opened, tmp_path):
    folder = tmp_path / "out"
    opened.bert.save_huggingface(folder)
    (architecture,) = json.loads((folder / "config.json").read_text())["architectures"]
    options = {} if opened.outputs or architecture != "BertModel" else {"add_pooling_layer": False}
    auto_class = getattr(transformers, AUTO_CLASSES[architecture])
    model, report = auto_class.from_pretrained(folder, output_loading_info=True, **options)
    assert type(model).__name__ == architecture
    assert not any(report.values()), report
    _, outputs = run_model(model.eval(), opened.batch)
    for name, expected in opened.outputs.items():
        np.testing.assert_allclose(outputs[name], expected, atol=TOLERANCE, err_msg=name)
