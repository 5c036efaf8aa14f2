"""A run in a bucket: nothing is renamed, nothing appended to, no folder made."""

import contextlib
import dataclasses
import json

import pytest
from etils import epath

import bertjax
from bertjax.errors import UserError
from bertjax.text.tokenizer import load_tokenizer
from bertjax.train import storage
from bertjax.train.checkpoint import Checkpoints, load_params
from bertjax.train.loop import fit
from bertjax.train.metrics import MetricsLog
from bertjax.train.pretrain import pretrain
from bertjax.train.run import save_tokenizer
from bertjax.train.run_folder import open_run, write_file
from tests.train.bucket import use_bucket
from tests.train.states import assert_same
from tests.train.toy import small_config, toy_config, toy_objective

RUN = "gs://bucket/runs/toy"


@pytest.fixture(autouse=True)
def bucket(monkeypatch, tmp_path):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return use_bucket(monkeypatch, tmp_path / "buckets")


def train(run, steps, killed_at=None):
    config, _ = open_run(run, toy_config(steps))
    checkpoints, objective = Checkpoints(f"{run}/checkpoints", keep=2), toy_objective()

    def batch(step):
        if step == killed_at:
            raise KeyboardInterrupt
        return objective.batch(step)

    with contextlib.closing(checkpoints):
        dying = dataclasses.replace(objective, batch=batch)
        fit(dying, config, run, checkpoints=checkpoints)


def losses(run):
    lines = map(json.loads, (epath.Path(run) / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


@pytest.mark.slow
def test_a_run_in_a_bucket_resumes_and_is_that_of_a_local_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(RUN, 20, killed_at=16)
    train(RUN, 20)
    local = tmp_path / "local"
    train(local, 20)
    assert losses(RUN) == losses(local)
    assert_same(load_params(RUN)[0], load_params(local)[0])
    names = {file.name for file in epath.Path(RUN).iterdir()}
    assert names == {file.name for file in local.iterdir()}
    steps = {folder.name for folder in (epath.Path(RUN) / "checkpoints").iterdir()}
    assert steps == {"10", "20"}


def test_the_log_goes_to_the_bucket_whole_at_each_upload_and_resumes_from_there():
    run = epath.Path(RUN)
    log = MetricsLog(run, 0)
    log.write(1, {"loss": 3.0})
    assert not run.exists()
    log.upload()
    log.write(2, {"loss": 2.0})
    assert losses(RUN) == [(1, 3.0)]
    log = MetricsLog(run, 1)
    log.write(2, {"loss": 2.5})
    log.close()
    assert losses(RUN) == [(1, 3.0), (2, 2.5)]


@pytest.mark.slow
def test_the_log_is_in_the_bucket_before_the_checkpoint_is(monkeypatch):
    known, write = {}, storage.write

    def noting(folder, *arguments):
        known[folder.name] = [step for step, _ in losses(RUN)]
        return write(folder, *arguments)

    monkeypatch.setattr(storage, "write", noting)
    train(RUN, 20)
    assert known == {"10": list(range(1, 11)), "20": list(range(1, 21))}


def test_metrics_that_cannot_be_uploaded_end_no_run_and_come_with_the_next_checkpoint(
    bucket, monkeypatch, caplog
):
    def refusing(path, mode, open_=bucket.open):
        if str(path).endswith("metrics.jsonl") and "w" in mode and len(refused) < 2:
            refused.append(path)
            raise ConnectionError("503 try again")
        return open_(path, mode)

    refused = []
    log = MetricsLog(epath.Path(RUN), 0)
    monkeypatch.setattr(bucket, "open", refusing)
    log.write(1, {"loss": 3.0})
    assert not log.upload()
    assert not log.upload()
    assert caplog.text.count("tried again at the next checkpoint") == 1
    log.write(2, {"loss": 2.0})
    log.close()
    assert losses(RUN) == [(1, 3.0), (2, 2.0)]


def test_metrics_that_never_reached_the_bucket_stay_here(bucket, caplog, tmp_path):
    log = MetricsLog(epath.Path(RUN), 0)
    log.write(1, {"loss": 3.0})
    bucket.root.write_text("in the way")
    log.close()
    (left,) = (tmp_path / "temporary").iterdir()
    assert f"the metrics since then are in {left}" in caplog.text
    assert '"loss": 3.0' in (left / "metrics.jsonl").read_text()


def test_nothing_local_is_left(tmp_path):
    train(RUN, 10)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_a_damaged_checkpoint_in_a_bucket_is_named_and_the_one_before_is_used(bucket, caplog):
    train(RUN, 20)
    for file in bucket.local(f"{RUN}/checkpoints/20/params").rglob("d/*"):
        file.write_bytes(b"")
    assert load_params(RUN)[1] == 10
    assert "20: its data cannot be read" in caplog.text


def cut_short(bucket, step):
    """What a write that did not come to its end leaves in a bucket."""
    file = bucket.local(f"{RUN}/checkpoints/{step}/params/array")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half")


def test_a_first_checkpoint_that_was_cut_short_is_removed_and_the_run_begins_anew(bucket):
    cut_short(bucket, 10)
    cut_short(bucket, "later")  # the user's own
    with pytest.raises(UserError, match="no checkpoint there"):
        load_params(RUN)
    with contextlib.closing(Checkpoints(f"{RUN}/checkpoints", keep=2)) as checkpoints:
        assert checkpoints.restore(toy_objective()) is None
    assert [file.name for file in bucket.local(f"{RUN}/checkpoints").iterdir()] == ["later"]


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_short_is_written_again(bucket, caplog):
    train(RUN, 10)
    before = losses(RUN)
    cut_short(bucket, 20)
    train(RUN, 20)
    assert losses(RUN)[: len(before)] == before
    assert load_params(RUN)[1] == 20
    assert "damaged" not in caplog.text


def test_other_settings_are_refused_in_a_bucket_too():
    train(RUN, 10)
    with pytest.raises(UserError, match=r"train\.batch_size: 16 -> 8"):
        open_run(RUN, toy_config(10, batch_size=8))


def test_an_object_that_cannot_be_written_is_named(bucket):
    bucket.root.write_text("in the way")
    with pytest.raises(UserError, match=rf"cannot write {RUN}/config\.json: "):
        write_file(epath.Path(RUN) / "config.json", b"{}")


def test_a_tokenizer_goes_to_a_bucket_and_is_replaced_there(data, tmp_path):
    folder, tokenizer = epath.Path(RUN) / "tokenizer", load_tokenizer(data)
    write_file(folder / "old", b"of another run")
    save_tokenizer(tokenizer, folder, started=False)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert load_tokenizer(tmp_path).digest == tokenizer.digest
    assert not (folder / "old").exists()


@pytest.mark.slow
def test_bert_is_pretrained_into_a_bucket_and_loaded_from_it(data):
    run = "gs://bucket/bert"
    summary = pretrain(small_config(steps=2), data, run)
    bert = bertjax.load(run)
    assert bert.step == 2
    figures = bert.evaluate(data=str(data))
    assert figures["mlm_loss"] == pytest.approx(summary["validation_mlm_loss"], rel=1e-5)
