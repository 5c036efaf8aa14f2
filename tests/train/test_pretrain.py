"""From DATA to a trained RUN, with the real model."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from bertjax.config import (
    Config,
    DataConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    Phase,
    TrainConfig,
    from_json,
)
from bertjax.errors import UserError
from bertjax.text.prepare import prepare
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train.batches import TrainingBatches
from bertjax.train.mesh import batch_sharding, make_mesh, put_batch
from bertjax.train.pretrain import pretrain, step_flops, with_vocab_size
from tests.text.corpora import made_up_documents, silent, small_settings, write_corpus


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    corpus = write_corpus(folder / "text.txt", made_up_documents(80))
    prepare(small_settings(corpus, folder / "data"), silent)
    return folder / "data"


def small_config(**train):
    train = {"steps": 6, "batch_size": 8, "log_every": 1} | train
    return Config(
        model=ModelConfig(
            num_layers=1, hidden_size=16, num_heads=2, intermediate_size=32, max_length=64
        ),
        data=DataConfig(length=32),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2),
        train=TrainConfig(**train),
    )


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
    assert 0 < summary["validation_nsp_accuracy"] < 1
    assert np.isfinite(summary["validation_mlm_loss"])


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
    with pytest.raises(UserError, match=r"model\.vocab_size=200, but .* 300 pieces"):
        with_vocab_size(config, 300)


def test_mistakes_are_refused_before_anything_is_written(data, tmp_path):
    config = dataclasses.replace(small_config(), data=DataConfig(length=128))
    with pytest.raises(UserError, match="max_length=64"):
        pretrain(config, data, tmp_path / "run")
    with pytest.raises(UserError, match="not divisible by 8"):
        pretrain(small_config(batch_size=12), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_phases_change_length_and_batch_and_count_their_own_arithmetic(data):
    phases = tuple(
        Phase(steps=3, length=length, batch_size=rows, learning_rate=1e-3, warmup_steps=0)
        for length, rows in ((32, 8), (64, 4))
    )
    config = with_vocab_size(small_config(steps=None, phases=phases), 200)
    batches = TrainingBatches(data, load_tokenizer(data), config)
    shapes = [batch["token_ids"].shape for batch in batches.stream(1)]
    assert shapes == [(8, 32)] * 2 + [(4, 64)] * 3
    streamed = list(batches.stream(4))
    for step, batch in enumerate(streamed, start=4):
        jax.tree.map(np.testing.assert_array_equal, batch, batches(step))
    flops = step_flops(config)
    assert flops(2) != flops(3) == flops(5)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_batches_are_the_same_on_any_number_of_devices(data, devices):
    config = with_vocab_size(small_config(), 200)
    tokenizer, mesh = load_tokenizer(data), make_mesh(MeshConfig(), jax.devices()[:devices])
    wanted = TrainingBatches(data, tokenizer, config)(3)
    placed = put_batch(TrainingBatches(data, tokenizer, config)(3), batch_sharding(mesh))
    assert len(placed["token_ids"].sharding.device_set) == devices
    jax.tree.map(np.testing.assert_array_equal, placed, wanted)
