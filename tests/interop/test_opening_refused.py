"""Runs whose parts contradict each other: sizes, tokenizer."""

import json
import shutil

import pytest

from bertjax.cli import main
from bertjax.config import to_json
from bertjax.errors import UserError
from bertjax.interop.native_export import write_run
from bertjax.interop.opening import open_checkpoint
from bertjax.model.bert import PRETRAINING_HEADS
from tests.interop.checkpoints import make_checkpoint


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", make_checkpoint((*PRETRAINING_HEADS, "tagging_head")))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_layers", 3, "holds no params/layers/2/attention/key/bias"),
        ("num_layers", 1, "holds params/layers/1/attention/key/bias"),
        ("hidden_size", 15, "params/embeddings/norm/bias is float32 (12,) there"),
        ("intermediate_size", 21, "intermediate/bias is float32 (20,) there"),
        ("max_length", 23, "params/embeddings/position is float32 (24, 12) there"),
        ("num_segments", 1, "params/embeddings/segment is float32 (2, 12) there"),
        ("labels", ["one"], "params/tagging_head/dense/bias is float32 (2,) there"),
        ("vocab_size", 51, "has 50 pieces, its config.json says model.vocab_size=51"),
        ("vocab_size", None, "has 50 pieces, its config.json says model.vocab_size=None"),
    ],
)
def test_a_run_whose_config_is_of_other_sizes_is_refused(run, capsys, name, value, message):
    file = run / "config.json"
    values = json.loads(file.read_text())
    values["model"][name] = value
    file.write_text(json.dumps(values))
    assert main(["fill-mask", str(run), "a [MASK]"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(run) in line
    assert message in line


def test_a_run_with_the_tokenizer_of_another_is_refused(run):
    shutil.rmtree(run / "tokenizer")
    make_checkpoint(vocab_size=49).tokenizer.save(run / "tokenizer")
    with pytest.raises(UserError, match=r"its tokenizer has 49 pieces, .*model.vocab_size=50"):
        open_checkpoint(run)


def test_a_run_of_another_vocabulary_of_the_same_size_as_its_tokenizer_is_refused(run):
    other = make_checkpoint(vocab_size=200)
    shutil.rmtree(run / "tokenizer")
    other.tokenizer.save(run / "tokenizer")
    (run / "config.json").write_text(to_json(other.experiment))
    with pytest.raises(UserError, match=r"params/embeddings/token is float32 \(128, 12\) there"):
        open_checkpoint(run)
