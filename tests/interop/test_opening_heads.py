"""Which heads a Hugging Face folder is opened with, and which labels."""

import jax
import ml_dtypes
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.interop.opening import open_checkpoint
from tests.interop.checkpoints import change_settings, change_tensors, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "model")


def test_tensors_of_a_head_that_is_not_known_are_told(folder):
    change_tensors(folder, **{"crf.transitions": np.zeros((2, 2), np.float32)})
    assert open_checkpoint(folder).source.endswith("; not used: crf.transitions")


def test_a_decoder_that_is_stored_as_it_is_tied_changes_nothing(folder):
    before = open_checkpoint(folder).params["mlm_head"]["bias"]
    rows = np.asarray(open_checkpoint(folder).params["embeddings"]["token"])[:50]
    change_tensors(folder, **{"cls.predictions.decoder.weight": rows})
    change_settings(folder, tie_word_embeddings=False)
    np.testing.assert_array_equal(open_checkpoint(folder).params["mlm_head"]["bias"], before)


def test_of_an_untied_model_all_but_the_head_is_opened_and_a_note_says_so(folder):
    """Its encoder is that of a BERT."""
    whole = open_checkpoint(folder)
    change_tensors(folder, **{"cls.predictions.decoder.weight": np.ones((50, 12), np.float32)})
    change_settings(folder, tie_word_embeddings=False)
    found = open_checkpoint(folder)
    assert set(found.params) == set(whole.params) - {"mlm_head"}
    jax.tree.map(np.testing.assert_array_equal, found.params["layers"], whole.params["layers"])
    assert "mlm_head left out, whose decoder is not the token table" in found.source


def test_a_bias_that_is_stored_with_the_decoder_alone_is_found(folder):
    name = "cls.predictions.bias"
    bias = np.arange(50, dtype=ml_dtypes.bfloat16)
    change_tensors(folder, **{name: None, "cls.predictions.decoder.bias": bias})
    found = open_checkpoint(folder).params["mlm_head"]["bias"]
    np.testing.assert_array_equal(found[:50], bias.astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "settings name 3 labels: 0, 1, 2"),
        ({"id2label": {"0": "a"}}, "settings name 1 labels: 0"),
        ({"id2label": {"1": "a", "2": "b"}}, "settings name 2 labels: 1, 2"),
        ({"id2label": None, "num_labels": 3}, "settings name 3 labels"),
    ],
)
@pytest.mark.parametrize("heads", [("pooler", "classification_head"), ("tagging_head",)])
def test_labels_of_another_classifier_are_refused(tmp_path, heads, changes, message):
    folder = write_folder(tmp_path / "model", heads)
    change_settings(folder, **changes)
    with pytest.raises(UserError) as caught:
        open_checkpoint(folder)
    assert f"the classifier has 2 outputs, numbered from 0; its {message}" in str(caught.value)


def test_a_classifier_without_labels_has_numbered_ones(tmp_path):
    folder = write_folder(tmp_path / "model", ("tagging_head",))
    change_settings(folder, id2label=None, label2id=None)
    assert open_checkpoint(folder).config.labels == ("LABEL_0", "LABEL_1")


def test_a_class_without_an_output_for_each_label_opens(tmp_path):
    folder = write_folder(tmp_path / "model", ("pooler", "classification_head"), labels=("one",))
    labels = {"0": "LABEL_0", "1": "LABEL_1"}
    change_settings(folder, architectures=["MyBert"], id2label=labels)
    assert open_checkpoint(folder).config.labels == ("LABEL_0",)


def test_the_head_of_multiple_choice_is_no_classifier_of_ours(tmp_path):
    folder = write_folder(tmp_path / "model", ("pooler", "classification_head"), labels=("one",))
    change_settings(folder, architectures=["BertForMultipleChoice"])
    found = open_checkpoint(folder)
    assert "classification_head" not in found.params
    assert found.config.labels == ()
    assert "not used: classifier." in found.source
