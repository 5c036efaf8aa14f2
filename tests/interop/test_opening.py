"""Which format a folder has, and one clear line for whatever cannot be opened."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file

import bertjax
from bertjax.cli import main
from bertjax.errors import UserError
from bertjax.interop.native_export import write_run
from bertjax.interop.opening import open_checkpoint
from tests.interop.bundles import write_bundle
from tests.interop.checkpoints import (
    MODEL,
    change_settings,
    change_tensors,
    make_checkpoint,
    write_folder,
)
from tests.train.bucket import use_bucket

GOOGLE = Path(__file__).parent.parent / "fixtures" / "google" / "pretrained"
TABLE = "bert.embeddings.word_embeddings.weight"
INNER = "bert.encoder.layer.1.intermediate.dense.weight"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "model")


def test_a_hugging_face_folder_is_known_by_its_files(folder):
    found = open_checkpoint(folder)
    assert found.source == "Hugging Face: 2 layers of 12, mlm_head, pooler, nsp_head"
    assert found.history == {"origin": found.source}


def test_a_google_folder_and_a_prefix_in_it_are_known_by_their_files():
    for path in (GOOGLE, GOOGLE / "model.ckpt-1000000"):
        found = open_checkpoint(path)
        assert found.source.startswith("Google: 3 layers of 20, mlm_head, pooler, nsp_head;")
        assert found.step == 1_000_000
        assert found.tokenizer.vocab_size == found.config.vocab_size


def test_safetensors_go_before_tensorflows_files_in_the_same_folder(folder):
    for file in GOOGLE.iterdir():
        if file.name != "vocab.txt":
            shutil.copy(file, folder)
    assert open_checkpoint(folder).source.startswith("Hugging Face")


def test_a_folder_inside_a_run_is_not_the_run(tmp_path):
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", make_checkpoint())
    assert open_checkpoint(write_folder(tmp_path / "run" / "published")).step == 0
    for path in ("run", "run/checkpoints", "run/checkpoints/7"):
        assert open_checkpoint(tmp_path / path).source.startswith("bertjax, step 7")


def test_a_run_is_computed_in_the_way_of_the_machine_that_opens_it(tmp_path):
    write_run(tmp_path, make_checkpoint())
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["model"] |= {"attention": "fused", "epilogues": "plain"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    config = open_checkpoint(tmp_path).config
    assert (config.attention, config.epilogues) == ("auto", "auto")


def test_an_index_of_something_else_makes_no_folder_a_google_checkpoint(tmp_path):
    write_folder(tmp_path / "model")
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", make_checkpoint())
    shutil.copytree(GOOGLE, tmp_path / "google")
    starts = {"run": "bertjax, step 7", "model": "Hugging Face", "google": "Google"}
    for name, start in starts.items():
        (tmp_path / f"{name}.index").touch()
        assert open_checkpoint(tmp_path / name).source.startswith(start)
    (tmp_path / "run" / "vectors.index").touch()
    assert open_checkpoint(tmp_path / "run").source.startswith("bertjax, step 7")


def test_the_bert_of_an_old_sentence_transformers_folder_is_found(tmp_path):
    write_folder(tmp_path / "bert")
    for name in ("config.json", "tokenizer_config.json"):  # of something else
        (tmp_path / name).write_text('{"model_type": "other", "model_max_length": 9}')
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"model_max_length": 11}')
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    types = ("Transformer", "Pooling")
    modules = [
        {"type": f"models.{name}", "path": path}
        for name, path in zip(types, ("bert", "1_Pooling"), strict=True)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    found = open_checkpoint(tmp_path)
    assert found.config.hidden_size == MODEL.hidden_size
    assert (found.embedding.pooling, found.embedding.max_length) == ("cls", 11)


def test_an_encoder_whose_embeddings_bertjax_lacks_is_opened(tmp_path):
    write_folder(tmp_path)
    types = ("Transformer", "Pooling", "Dense")
    modules = [{"type": f"models.{name}", "path": ""} for name in types]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    bert = bertjax.load(tmp_path)
    with pytest.raises(UserError, match=r"Transformer, Pooling, Dense;.*choose a pooling"):
        bert.embed(["a"])
    assert bert.embed(["a"], pooling="mean").shape == (1, MODEL.hidden_size)
    bert.save_huggingface(tmp_path / "copy")
    assert not (tmp_path / "copy" / "modules.json").exists()


@pytest.mark.parametrize("lines", [40, 43, 60])
def test_rows_without_a_piece_are_dropped_and_counted(tmp_path, lines):
    folder = write_folder(tmp_path / "model", vocab_size=64)
    before = open_checkpoint(folder)
    cut_vocabulary(folder, lines)
    found = open_checkpoint(folder)
    assert f"{64 - lines} rows without a piece dropped" in found.source
    assert found.config.vocab_size == lines
    for part, name in (("embeddings", "token"), ("mlm_head", "bias")):
        array = np.asarray(found.params[part][name])
        np.testing.assert_array_equal(array[:lines], before.params[part][name][:lines])
        assert not array[lines:].any()


def cut_vocabulary(folder, lines):
    (folder / "tokenizer.json").unlink()
    file = folder / "vocab.txt"
    file.write_text("".join(f"{line}\n" for line in file.read_text().split("\n")[:lines]))


def truncate(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def garble(folder):
    file = folder / "model.safetensors"
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])


def only_a_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def wrap(folder):
    """Every tensor as of a module around the model."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({f"model.{name}": tensor for name, tensor in tensors.items()}, file)


def a_part_is_missing(folder):
    (folder / "model.safetensors").unlink()
    places = {TABLE: "model-00001-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def tensor(name, value):
    return lambda folder: change_tensors(folder, **{name: value})


def setting(**changes):
    return lambda folder: change_settings(folder, **changes)


def remove(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def lengthen_vocabulary(folder):
    (folder / "tokenizer.json").unlink()
    with open(folder / "vocab.txt", "a") as file:
        file.write("one-more\n")


NAN = np.full((20, 12), np.nan, np.float32)
BAD = {
    "truncated": (truncate, "model.safetensors: truncated, damaged or unreadable"),
    "garbled": (garble, "model.safetensors: truncated, damaged or unreadable"),
    "pickle": (only_a_pickle, "pytorch_model.bin, a pickle"),
    "architectures an object": (setting(architectures={"a": "b"}), "must be a list of names"),
    "architectures a text": (setting(architectures="BertModel"), "must be a list of names"),
    "no weights": (remove("model.safetensors"), "no weights in it"),
    "a pointer": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.g"),
        "a Git LFS pointer; run git lfs pull",
    ),
    "wrapped": (wrap, "none of its tensors, such as 'model."),
    "a part": (a_part_is_missing, "model-00001-of-00002.safetensors: missing"),
    "no tokenizer": (remove("vocab.txt", "tokenizer.json"), "no tokenizer in it"),
    "shape": (tensor(INNER, np.zeros((19, 12), np.float32)), f"{INNER} has shape [19, 12]"),
    "other size": (
        setting(intermediate_size=21),
        "has shape [20]; by the settings",
    ),
    "more layers": (setting(num_hidden_layers=3), "bert.encoder.layer.2.attention"),
    "fewer layers": (setting(num_hidden_layers=1), "holds bert.encoder.layer.1."),
    "two names of one": (
        tensor(TABLE.removeprefix("bert."), np.zeros((50, 12), np.float32)),
        "are one weight; remove one of them",
    ),
    "a missing tensor": (tensor(INNER, None), f"{INNER} is missing"),
    "a missing head": (setting(architectures=["BertForQuestionAnswering"]), "its span_head"),
    "tokenizer of another model": (lambda folder: cut_vocabulary(folder, 24), "24 pieces"),
    "tokenizer too large": (lengthen_vocabulary, "has 51 pieces, its weights are for 50"),
    "nan": (tensor(INNER, NAN), f"{INNER} holds NaN or infinity"),
    "infinity": (tensor(INNER, np.where(NAN, np.inf, 0).astype(np.float16)), "NaN or infinity"),
    "integers": (tensor(INNER, np.zeros((20, 12), np.int8)), "int8, not floating-point"),
    "float8": (tensor(INNER, np.zeros((20, 12), ml_dtypes.float8_e5m2)), "numbers of type F8_E5M2"),
    "another decoder": (
        tensor("cls.predictions.decoder.weight", np.zeros((50, 12), np.float32)),
        f"cls.predictions.decoder.weight differs from {TABLE}",
    ),
    "no decoder": (setting(tie_word_embeddings=False), "cls.predictions.decoder.weight is missing"),
    "relative positions": (
        setting(position_embedding_type="relative_key"),
        "position_embedding_type is 'relative_key'",
    ),
    "decoder": (setting(is_decoder=True), "is_decoder is True"),
    "activation": (setting(hidden_act="mish"), "unknown hidden_act 'mish'"),
    "roberta": (
        setting(model_type="roberta", architectures=["RobertaForMaskedLM"]),
        "a model of type roberta (RobertaForMaskedLM), not a BERT",
    ),
    "distilbert": (setting(model_type="distilbert"), "a model of type distilbert"),
    "gpt2": (setting(model_type="gpt2"), "a model of type gpt2"),
    "untold type": (setting(model_type=None, architectures=["ElectraModel"]), "(ElectraModel)"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{"), "not valid JSON"),
}


@pytest.mark.parametrize(("damage", "message"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_opened_is_told_in_one_line_and_status_2(folder, capsys, damage, message):
    damage(folder)
    assert main(["fill-mask", str(folder), "a [MASK]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(folder) in line
    assert message in line


def with_tokenizer(folder, **files):
    """Replaces BERT's tokenizer by that of another architecture, and its settings."""
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)


def byte_level():
    """A tokenizer.json such as GPT-2's and RoBERTa's, without pieces that mark words."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    ids = {letter: number for number, letter in enumerate(["<s>", "</s>", *letters])}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(ids, []))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    return backend.to_str()


@pytest.mark.parametrize(
    ("model_type", "files"),
    [
        ("roberta", {"vocab_json": '{"<s>": 0, "a": 1}', "merges_txt": "#version: 0.2\n"}),
        ("gpt2", {"tokenizer_json": byte_level()}),
    ],
)
def test_another_architecture_is_named_whatever_its_tokenizer(folder, model_type, files):
    with_tokenizer(folder, **files)
    change_settings(folder, model_type=model_type)
    with pytest.raises(UserError, match=f"a model of type {model_type} .*, not a BERT"):
        open_checkpoint(folder)


def test_a_pickle_is_named_whatever_the_tokenizer(folder):
    with_tokenizer(folder, vocab_json="{}", merges_txt="")
    only_a_pickle(folder)
    with pytest.raises(UserError, match=r"in pytorch_model\.bin, a pickle"):
        open_checkpoint(folder)


def test_the_advice_on_a_pickle_converts_every_tensor(tmp_path):
    torch = pytest.importorskip("torch")
    folder = write_folder(tmp_path / "it's a $HOME model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for number, part in ((1, names[:20]), (2, names[20:])):
        weights = {name: torch.tensor(tensors[name]) for name in part}
        torch.save(weights, folder / f"pytorch_model-0000{number}-of-00002.bin")
    with pytest.raises(UserError) as caught:
        open_checkpoint(folder)
    command = str(caught.value).partition("safetensors: ")[2]
    subprocess.run(["bash", "-c", command.replace("python", sys.executable, 1)], check=True)
    found = load_file(folder / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensor) for name, tensor in tensors.items())
    open_checkpoint(folder)


def test_a_pickle_in_a_bucket_has_the_advice_too(tmp_path, monkeypatch):
    bucket = use_bucket(monkeypatch, tmp_path)
    (tmp_path / "bucket").mkdir()
    only_a_pickle(write_folder(bucket.local("gs://bucket/model")))
    with pytest.raises(UserError, match=r"copy it here and convert it.* python -c .* model$"):
        open_checkpoint("gs://bucket/model")


def test_labels_that_are_a_list_are_refused(tmp_path):
    folder = write_folder(tmp_path / "model", ("pooler", "classification_head"))
    change_settings(folder, id2label=["no", "yes"])
    with pytest.raises(UserError, match="id2label must name a label by number"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("variable", "architecture"),
    [
        ("bert/encoder/embedding_hidden_mapping_in/kernel", "ALBERT"),
        ("electra/embeddings/word_embeddings", "ELECTRA"),
    ],
)
def test_another_architecture_of_google_is_named_without_a_tokenizer(
    tmp_path, variable, architecture
):
    shutil.copy(GOOGLE / "bert_config.json", tmp_path)
    write_bundle(tmp_path / "model.ckpt-best", {variable: np.zeros((2, 2), np.float32)})
    with pytest.raises(UserError, match=f"a checkpoint of {architecture}"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "the path of the checkpoint is empty"),
        (".", ". is not a checkpoint"),
        ("/", "/ is not a checkpoint"),
        ("..", ".. is not a checkpoint"),
    ],
)
def test_a_path_without_a_name_is_told(tmp_path, monkeypatch, path, message):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(message)


def test_the_folder_that_one_is_in_opens(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    assert open_checkpoint(".").source.startswith("Hugging Face")
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", make_checkpoint())
    monkeypatch.chdir(tmp_path / "run" / "checkpoints" / "7")
    assert open_checkpoint(".").step == 7
    shutil.copytree(GOOGLE, tmp_path / "google")
    monkeypatch.chdir(tmp_path / "google")
    for path in (".", "model.ckpt-1000000"):
        assert open_checkpoint(path).step == 1_000_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no such folder"),
        ("model/model.safetensors", "is a file: give the folder"),
        (".", "is not a checkpoint"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_path_that_is_no_checkpoint_is_told(tmp_path, capsys, name, message):
    assert main(["evaluate", str(tmp_path / name), "--corpus", "nothing"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
