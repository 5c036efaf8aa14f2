"""From DATA to a trained RUN, with the real model."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from etils import epath

import bertjax
from bertjax.cli import main
from bertjax.config import (
    DataConfig,
    Phase,
    from_json,
)
from bertjax.errors import UserError
from bertjax.files import held
from bertjax.text.prepare import prepare
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.batches import TrainingBatches
from bertjax.train.evaluate import evaluate
from bertjax.train.initial import InitialWeights
from bertjax.train.plan import step_flops
from bertjax.train.pretrain import pretrain, with_vocab_size
from bertjax.train.run import save_tokenizer
from tests.text.corpora import made_up_documents, silent, small_settings, write_corpus
from tests.train.toy import small_config


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return run, pretrain(small_config(), data, run)


@pytest.mark.slow
def test_a_run_holds_all_that_using_it_takes(trained, data):
    run, summary = trained
    names = {file.name for file in run.iterdir()}
    assert {"config.json", "tokenizer", "checkpoints", "metrics.jsonl", "summary.json"} < names
    config = from_json((run / "config.json").read_text(), "config.json")
    tokenizer = load_tokenizer(run)
    assert config.model.vocab_size == tokenizer.vocab_size
    assert tokenizer.digest == load_tokenizer(data).digest
    manifest = json.loads((data / "manifest.json").read_text())
    assert summary["data_digest"] == manifest["digest"]
    assert summary["steps"] == 6
    assert summary == json.loads((run / "summary.json").read_text())
    assert 0 < summary["validation_nsp_accuracy"] < 1
    assert np.isfinite(summary["validation_mlm_loss"])


@pytest.mark.slow
def test_a_run_may_be_given_by_a_relative_path(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = small_config()
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=1))
    pretrain(short, data, "runs/short")
    assert (tmp_path / "runs" / "short" / "checkpoints" / "1").is_dir()
    assert pretrain(short, data, "runs/short")["steps"] == 1


@pytest.mark.slow
def test_the_same_run_is_refused_with_other_data(trained, tmp_path):
    corpus = write_corpus(tmp_path / "text.txt", made_up_documents(80, seed=1))
    tokenizer = str(trained[0] / "tokenizer")
    prepare(small_settings(corpus, tmp_path / "data", tokenizer=tokenizer), silent)
    with pytest.raises(UserError, match="another data digest"):
        pretrain(small_config(steps=8), tmp_path / "data", trained[0])


def test_another_vocabulary_size_than_the_datas_is_refused():
    config = with_vocab_size(small_config(), 200)
    assert config.model.vocab_size == 200
    with pytest.raises(UserError, match=r"size=200, but .* 300 pieces: --model\.vocab_size=none"):
        with_vocab_size(config, 300)


def test_mistakes_are_refused_before_anything_is_written(data, tmp_path):
    config = dataclasses.replace(small_config(), data=DataConfig(length=128))
    with pytest.raises(UserError, match="max_length=64"):
        pretrain(config, data, tmp_path / "run")
    with pytest.raises(UserError, match="not divisible by 8"):
        pretrain(small_config(batch_size=12), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_with_another_tokenizer_than_its_own_is_refused(data, other_tokenizer, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    other_tokenizer.save(tmp_path / "data" / "tokenizer")
    with pytest.raises(UserError, match="its tokenizer is not the one that the text was cut with"):
        pretrain(small_config(), tmp_path / "data", tmp_path / "run")


@pytest.mark.slow
def test_a_changed_byte_in_a_shard_ends_training_and_is_told_in_one_line(data, tmp_path, capfd):
    shutil.copytree(data, tmp_path / "data")
    (shard,) = (tmp_path / "data" / "train").glob("*.array_record")
    content = bytearray(shard.read_bytes())
    content[200] ^= 1
    shard.write_bytes(content)
    sizes = ["num_layers=1", "hidden_size=16", "num_heads=2", "intermediate_size=32"]
    command = ["pretrain", "tiny", "--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    command += [*(f"--model.{size}" for size in sizes), "--data.length=32", "--train.steps=3"]
    command += ["--optimizer.warmup_steps=1"]
    assert main(command) == 2
    phases, told = capfd.readouterr().err.splitlines()
    assert phases == (
        "bertjax: tiny: one phase of 16 rows of 32 in place of its 4, which --train.phases changes"
    )
    assert told.startswith(f"bertjax: {shard} is damaged (")


def test_a_run_that_another_process_trains_is_refused_in_one_line(data, tmp_path, capfd):
    with held(tmp_path / "run", "the other"):
        with pytest.raises(UserError, match=r"/run: another bertjax process is at work"):
            pretrain(small_config(), data, tmp_path / "run")
        command = ["pretrain", "tiny", "--data", str(data), "--run", str(tmp_path / "run")]
        assert main([*command, "--train.batch_size=8", "--train.steps=1"]) == 2
        (told,) = capfd.readouterr().err.splitlines()  # and nothing of phases or warmup
        assert "another bertjax process is at work" in told
        assert [file.name for file in (tmp_path / "run").iterdir()] == [".lock"]


def test_phases_change_length_and_batch_and_count_their_own_arithmetic(data):
    phases = tuple(
        Phase(steps=3, length=length, batch_size=rows, learning_rate=1e-3, warmup_steps=0)
        for length, rows in ((32, 16), (64, 8))
    )
    config = with_vocab_size(small_config(steps=None, phases=phases), 200)
    batches = TrainingBatches(data, load_tokenizer(data), config)
    shapes = [batch["token_ids"].shape for batch in batches.stream(1)]
    assert shapes == [(16, 32)] * 2 + [(8, 64)] * 3
    streamed = list(batches.stream(4))
    for step, batch in enumerate(streamed, start=4):
        jax.tree.map(np.testing.assert_array_equal, batch, batches(step))
    flops = step_flops(config)
    assert flops(2) != flops(3) == flops(5)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """A run of two phases, of which every step is kept, and its config."""
    phases = (
        Phase(steps=3, length=32, batch_size=16, learning_rate=1e-3, warmup_steps=1),
        Phase(3, 64, batch_size=16, learning_rate=1e-3, warmup_steps=0, reset_optimizer=True),
    )
    settings = {"accumulation": 2, "checkpoint_every": 1, "keep_checkpoints": 9}
    config = small_config(steps=None, phases=phases, **settings)
    run = tmp_path_factory.mktemp("run")
    pretrain(config, data, run)
    return config, run


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_run_that_goes_on_is_bit_for_bit_the_one_that_did_not_stop(
    uninterrupted, data, tmp_path, step
):
    """Before, at and after the border of two phases; with dropout, accumulation and prefetch."""
    config, whole = uninterrupted
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for later in range(step + 1, 7):
        shutil.rmtree(run / "checkpoints" / str(later))
    pretrain(config, data, run)
    assert losses(run) == losses(whole)
    assert len(losses(run)) == 6
    jax.tree.map(
        np.testing.assert_array_equal, bertjax.load(run).params, bertjax.load(whole).params
    )


@pytest.mark.slow
def test_without_pairs_there_is_no_head_for_them(data, tmp_path):
    config = dataclasses.replace(small_config(steps=1), data=DataConfig(length=32, pairs="none"))
    summary = pretrain(config, data, tmp_path)
    assert summary["validation_nsp_loss"] is None
    bert = bertjax.load(tmp_path)
    assert not {"pooler", "nsp_head"} & bert.params.keys()
    padding = (bert.params["embeddings"]["token"].shape[0] - bert.config.vocab_size) * (16 + 1)
    held = sum(leaf.size for leaf in jax.tree.leaves(bert.params))
    assert summary["parameters"] == held - padding


@pytest.mark.slow
def test_a_run_that_ends_in_its_warmup_says_so(data, tmp_path, capfd):
    config = small_config(steps=1)
    pretrain(config, data, tmp_path)
    assert "ends before its warmup of 2 steps; --optimizer.warmup_share=" in capfd.readouterr().err


@pytest.fixture(scope="module")
def data_without_validation(data, tmp_path_factory):
    """The same tokenizer, and no document for validation."""
    folder = tmp_path_factory.mktemp("little")
    corpus = write_corpus(folder / "text.txt", made_up_documents(30))
    settings = {"tokenizer": str(data / "tokenizer"), "validation": 0.0001}
    prepare(small_settings(corpus, folder / "data", **settings), silent)
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    assert manifest["splits"]["validation"]["documents"] == 0
    return folder / "data"


@pytest.mark.slow
def test_too_few_documents_for_validation_are_told_and_trained_without(
    data_without_validation, tmp_path, capsys
):
    summary = pretrain(small_config(steps=2), data_without_validation, tmp_path / "run")
    told = capsys.readouterr().err
    assert "training without validation" in told
    assert "has 0 document(s)" in told
    assert "bertjax prepare --validation" in told
    assert summary["validation_mlm_loss"] is None
    assert "validation" not in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()


def test_evaluating_on_too_few_documents_is_refused(data_without_validation):
    tokenizer = load_tokenizer(data_without_validation)
    with pytest.raises(UserError, match=r"validation split of .* has 0 document"):
        evaluate({}, small_config(), tokenizer, str(data_without_validation), None)


@pytest.fixture(scope="module")
def other_tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    corpus = write_corpus(folder / "text.txt", made_up_documents(80, seed=5))
    prepare(small_settings(corpus, folder / "data", vocab_size=150), silent)
    return load_tokenizer(folder / "data")


def test_the_tokenizer_of_a_run_without_checkpoint_is_replaced(data, other_tokenizer, tmp_path):
    folder = epath.Path(tmp_path / "run" / "tokenizer")
    save_tokenizer(other_tokenizer, folder, started=False)
    save_tokenizer(load_tokenizer(data), folder, started=False)
    assert load_tokenizer(tmp_path / "run").digest == load_tokenizer(data).digest


def test_the_tokenizer_of_a_run_with_a_checkpoint_must_be_the_datas(
    data, other_tokenizer, tmp_path
):
    folder = epath.Path(tmp_path / "run" / "tokenizer")
    save_tokenizer(other_tokenizer, folder, started=True)
    save_tokenizer(other_tokenizer, folder, started=True)
    with pytest.raises(UserError, match="another tokenizer than the data's"):
        save_tokenizer(load_tokenizer(data), folder, started=True)
    assert load_tokenizer(tmp_path / "run").digest == other_tokenizer.digest


def test_initial_weights_of_another_tokenizer_are_refused(data, other_tokenizer, tmp_path):
    config = small_config()
    initial = InitialWeights({}, config.model, other_tokenizer, "somebody's")
    with pytest.raises(UserError, match="initial weights were trained with another tokenizer"):
        pretrain(config, data, tmp_path / "run", lambda: initial)
    assert not (tmp_path / "run" / "config.json").exists()
