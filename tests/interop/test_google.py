"""Against a folder as google-research/bert leaves it, its checkpoint written by TensorFlow."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.interop.google import find_prefix, open_google, variable_name
from bertjax.interop.weights import expected_shapes
from tests.interop.bundles import write_bundle

FOLDER = Path(__file__).parent.parent / "fixtures" / "google" / "pretrained"
PREFIX = "model.ckpt-1000000"
SETTINGS = json.loads((FOLDER / "bert_config.json").read_text())
ARRAYS = dict(np.load(FOLDER / "arrays.npz"))
WEIGHTS = {
    name: array
    for name, array in ARRAYS.items()
    if not name.endswith(("adam_m", "adam_v", "global_step"))
}


@pytest.fixture
def copy(tmp_path):
    """A copy of the folder, to be changed."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def write(tmp_path):
    """Writes a folder with these arrays and settings."""

    def write(arrays, settings=SETTINGS):
        (tmp_path / "bert_config.json").write_text(json.dumps(settings))
        write_bundle(tmp_path / "bert_model.ckpt", arrays)
        return tmp_path

    return write


def leaf(params, place):
    for name in place.split("/"):
        params = params[name]
    return params


def test_every_weight_is_bit_equal_to_what_tensorflow_was_given():
    found = open_google(FOLDER)
    places = expected_shapes(found.config)
    assert {variable_name(place) for place in places} == set(WEIGHTS)
    for place, shape in places.items():
        saved = WEIGHTS[variable_name(place)]
        saved = saved.T if place == "nsp_head/dense/kernel" else saved
        assert leaf(found.params, place)[: shape[0]].tobytes() == saved.tobytes(), place


def test_the_step_is_read_and_the_optimizer_is_skipped_and_counted():
    found = open_google(FOLDER)
    assert found.step == 1_000_000
    assert found.notes == (f"read from {PREFIX}", "skipped 124 arrays of the optimizer")


def test_a_checkpoint_without_slots_and_step_has_nothing_to_say(write):
    found = open_google(write(WEIGHTS))
    assert (found.step, found.notes) == (0, ("read from bert_model.ckpt",))


def test_float16_weights_open(write):
    halves = {name: array.astype(np.float16) for name, array in WEIGHTS.items()}
    kernel = open_google(write(halves)).params["pooler"]["dense"]["kernel"]
    np.testing.assert_array_equal(kernel, halves["bert/pooler/dense/kernel"].astype(np.float32))


@pytest.mark.parametrize(
    ("left_out", "absent"),
    [
        ("cls/seq_relationship", {"nsp_head"}),
        ("cls/", {"mlm_head", "nsp_head"}),
        ("bert/pooler", {"pooler"}),
    ],
)
def test_heads_may_be_absent(write, left_out, absent):
    kept = {name: array for name, array in WEIGHTS.items() if not name.startswith(left_out)}
    found, whole = open_google(write(kept)), open_google(FOLDER)
    assert whole.params.keys() - found.params.keys() == absent
    jax.tree.map(np.testing.assert_array_equal, found.params["layers"], whole.params["layers"])


def test_variables_that_have_no_place_are_named(write):
    arrays = WEIGHTS | {"output_bias": np.zeros(3, np.float32), "loss_scale": np.float32(1)[...]}
    assert open_google(write(arrays)).notes[1:] == ("not used: loss_scale, output_bias",)


QUERY = "bert/encoder/layer_1/attention/self/query/kernel"


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({}, {"intermediate_size": 40}, r"bias has shape \[36\].*must be \[40\]"),
        ({}, {"vocab_size": 70}, r"word_embeddings has shape \[67, 20\].*must be \[70, 20\]"),
        ({}, {"num_hidden_layers": 4}, "layer_3/.* and 15 others are missing"),
        (
            {"cls/seq_relationship/output_weights": np.zeros((20, 2), np.float32)},
            {},
            r"output_weights has shape \[20, 2\].*must be \[2, 20\]",
        ),
        ({QUERY: np.full((20, 20), np.nan, np.float32)}, {}, f"{QUERY} holds NaN"),
        (
            {"bert/encoder/embedding_hidden_mapping_in/kernel": np.zeros((2, 2), np.float32)},
            {},
            "a checkpoint of ALBERT",
        ),
    ],
)
def test_weights_that_the_settings_do_not_describe_are_refused(write, arrays, settings, message):
    folder = write(WEIGHTS | arrays, SETTINGS | settings)
    with pytest.raises(UserError, match=message) as caught:
        open_google(folder)
    assert str(caught.value).startswith(f"{folder}/bert_model.ckpt: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert_config.json", "bert_config.json: cannot be read"),
        (f"{PREFIX}.index", "no TensorFlow checkpoint in it"),
        (f"{PREFIX}.data-00000-of-00001", "data-00000-of-00001: cannot be read"),
    ],
)
def test_a_file_that_is_missing_is_named(copy, name, message):
    (copy / name).unlink()
    with pytest.raises(UserError, match=message):
        open_google(copy)


def add_checkpoints(folder, *names):
    for name in names:
        shutil.copy(folder / f"{PREFIX}.index", folder / f"{name}.index")


def test_of_several_checkpoints_the_file_checkpoint_names_the_one(copy):
    add_checkpoints(copy, "model.ckpt-2000000", "bert_model.ckpt")
    assert find_prefix(copy) == copy / PREFIX
    (copy / "checkpoint").write_text(
        'model_checkpoint_path: "/where/it/was/trained/bert_model.ckpt"\n'
        f'all_model_checkpoint_paths: "/where/it/was/trained/{PREFIX}"\n'
    )
    assert find_prefix(copy) == copy / "bert_model.ckpt"


def test_what_else_has_that_name_names_none(copy):
    (copy / "checkpoint").write_bytes(b"\xff\xfe")
    assert find_prefix(copy) == copy / PREFIX
    (copy / "checkpoint").unlink()
    (copy / "checkpoint").mkdir()
    assert find_prefix(copy) == copy / PREFIX


def test_without_that_file_the_highest_step_of_one_training_is_taken(copy):
    (copy / "checkpoint").unlink()
    add_checkpoints(copy, "model.ckpt-900000", "model.ckpt-2000000")
    assert find_prefix(copy) == copy / "model.ckpt-2000000"


@pytest.mark.parametrize("other", ["bert_model.ckpt", "finetuned.ckpt-10"])
def test_other_checkpoints_are_not_chosen_from_but_may_be_named(copy, other):
    (copy / "checkpoint").unlink()
    add_checkpoints(copy, other)
    with pytest.raises(UserError, match=f"several checkpoints.*{other}.*name one: "):
        find_prefix(copy)
    assert find_prefix(copy / other) == copy / other
    assert open_google(copy / PREFIX).step == 1_000_000
