"""A Google folder used as any other checkpoint: `bertjax.load` and the commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import bertjax
from bertjax.cli import main
from bertjax.errors import UserError

FOLDER = Path(__file__).parent.parent / "fixtures" / "google" / "pretrained"
PREFIX = "model.ckpt-1000000"
SETTINGS = json.loads((FOLDER / "bert_config.json").read_text())


@pytest.fixture
def copy(tmp_path):
    """A copy of the folder, to be damaged."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    return tmp_path


def torch_name(name):
    """Hugging Face's name of a variable."""
    for theirs, torchs in {
        "/": ".",
        "layer_": "layer.",
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "output_weights": "weight",
        "output_bias": "bias",
    }.items():
        name = name.replace(theirs, torchs)
    return f"{name}.weight" if name.endswith("_embeddings") else name


def reference_model():
    """Hugging Face's model with the arrays that TensorFlow was given."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.BertForPreTraining(transformers.BertConfig(**SETTINGS)).eval()
    unset = {name for name, _ in model.named_parameters()}
    with torch.no_grad():
        for name, array in np.load(FOLDER / "arrays.npz").items():
            if name.endswith(("adam_m", "adam_v", "global_step")):
                continue
            values = torch.from_numpy(array.T.copy() if name.endswith("kernel") else array)
            model.get_parameter(torch_name(name)).copy_(values)
            unset.remove(torch_name(name))
    assert not unset
    return model


@pytest.mark.slow
def test_hidden_states_and_logits_equal_those_of_hugging_face_with_the_same_arrays():
    model = reference_model()
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    ids = random.integers(0, SETTINGS["vocab_size"], (4, 24))
    segments = (np.arange(24) > 10) * np.ones_like(ids)
    with torch.no_grad():
        expected = model(
            torch.from_numpy(ids),
            token_type_ids=torch.from_numpy(segments),
            output_hidden_states=True,
        )
    found = bertjax.load(FOLDER).apply(ids, segments)
    for ours, theirs in (
        *zip(found.hidden_states, expected.hidden_states, strict=True),
        (found.mlm_logits, expected.prediction_logits),
        (found.nsp_logits, expected.seq_relationship_logits),
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5, rtol=0)


def test_it_says_what_was_opened():
    bert = bertjax.load(FOLDER)
    assert bert.step == 1_000_000
    assert bert.source == (
        "Google: 3 layers of 20, mlm_head, pooler, nsp_head; read from model.ckpt-1000000; "
        "skipped 124 arrays of the optimizer"
    )


def test_the_vocabulary_is_read_from_vocab_txt():
    tokenizer = bertjax.load(FOLDER).tokenizer
    ids = tokenizer.encode("The boat sails over the sea.")
    assert tokenizer.decode(ids) == "the boat sails over the sea."
    assert (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.mask_id) == (0, 3, 6)


@pytest.mark.slow
def test_fill_mask_and_next_sentence_answer():
    bert = bertjax.load(FOLDER)
    assert [len(mask) for mask in bert.fill_mask("the [MASK] is [MASK].", top_k=3)] == [3, 3]
    assert 0 < bert.next_sentence("the sea", "the wind") < 1


def flip(file):
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def lengthen_vocabulary(file):
    file.write_text(f"{file.read_text().rstrip()}\nanother\n")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (f"{PREFIX}.index", truncate, "index: truncated, or not the index of a checkpoint"),
        (f"{PREFIX}.index", flip, "index: damaged: the checksum of a block differs"),
        (f"{PREFIX}.index", Path.unlink, "no TensorFlow checkpoint in it"),
        (
            f"{PREFIX}.data-00000-of-00001",
            truncate,
            "00001: truncated; it has 151792 bytes of 151892",
        ),
        (f"{PREFIX}.data-00000-of-00001", flip, "00001: damaged; the checksum of "),
        (f"{PREFIX}.data-00000-of-00001", Path.unlink, "00001: cannot be read"),
        ("bert_config.json", Path.unlink, "bert_config.json: cannot be read"),
        ("bert_config.json", truncate, "bert_config.json: not valid JSON"),
        ("vocab.txt", Path.unlink, "no tokenizer in it (vocab.txt"),
        ("vocab.txt", lengthen_vocabulary, "its tokenizer has 68 pieces, its weights are for 67"),
    ],
)
def test_what_is_missing_or_damaged_is_told_in_one_line(copy, capsys, name, damage, message):
    damage(copy / name)
    assert main(["fill-mask", str(copy), "the [MASK]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert str(copy) in line


def test_several_checkpoints_are_told_in_one_line_with_the_way_out(copy):
    (copy / "checkpoint").unlink()
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(copy / f"{PREFIX}{suffix}", copy / f"bert_model.ckpt{suffix}")
    with pytest.raises(UserError, match=f"name one: {copy / 'bert_model.ckpt'}"):
        bertjax.load(copy)
    assert bertjax.load(copy / "bert_model.ckpt").step == 1_000_000
