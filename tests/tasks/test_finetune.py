import dataclasses
import json
import os
import shutil
import threading

import jax
import numpy as np
import pytest
from etils import epath

import bertjax
from bertjax.config import (
    MeshConfig,
    Regression,
)
from bertjax.errors import UserError
from bertjax.files import held
from bertjax.tasks.finetune import _at_best_step, finetune, write_report
from bertjax.tasks.seeds import finetune_seeds
from bertjax.train.initial import InitialWeights
from bertjax.train.run_folder import open_run
from tests.tasks.labelled import config, pretrained, write_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return write_table(folder / "train.tsv", 96, 0), write_table(folder / "dev.tsv", 40, 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, files):
    run = tmp_path_factory.mktemp("finetune") / "run"
    return run, finetune(config(), pretrained(), *files, run)


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_a_separable_task_is_learnt(finished):
    assert finished[1]["figures"]["accuracy"] > 0.9


def test_the_report_is_written_and_says_what_was_trained_on_what(finished):
    run, report = finished
    assert report == json.loads((run / "report.json").read_text())
    assert (report["task"], report["metric"]) == ("classification", "accuracy")
    assert report["train"] == {"file": "train.tsv", "records": 96, "notes": {}, "first_places": {}}
    assert report["dev"]["records"] == report["figures"]["examples"] == 40
    assert report["started_from"] == "a small model"


def test_the_report_to_be_passed_on_shows_the_figures_and_no_text_of_the_data(finished, files):
    run, report = finished
    text = (run / "report.md").read_text()
    assert f"| accuracy | {report['figures']['accuracy']:.4f} |" in text
    assert "confusion: true labels down, predicted across" in text
    samples = [line.split("\t")[0] for line in files[1].read_text().splitlines()[1:]]
    assert not any(sample in text for sample in samples)


def test_it_evaluates_and_saves_every_epoch(finished):
    run, _ = finished
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "validation_accuracy" in line] == [12, 24]


def test_a_run_is_opened_at_its_best_step_and_evaluates_as_the_report_says(finished, files):
    run, report = finished
    bert = bertjax.load(run)
    assert bert.step == report["best_step"]
    assert bert.config.labels == ("first", "second")
    figures = bert.evaluate(data=files[1])
    assert figures == pytest.approx(report["figures"])


def test_the_summary_has_the_figures_of_the_step_that_the_run_opens_at(finished):
    run, report = finished
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["steps"], summary["best_step"]) == (24, report["best_step"])
    found = {name: summary[f"validation_{name}"] for name in report["figures"]}
    assert found == report["figures"]


def test_a_figure_that_is_not_finite_is_null_in_the_report(finished, tmp_path):
    figures = finished[1]["figures"] | {"classification_loss": float("inf")}
    write_report(epath.Path(tmp_path), finished[1] | {"figures": figures})
    assert "Infinity" not in (tmp_path / "report.json").read_text()


def test_the_best_step_s_figures_take_the_place_of_the_last_s():
    last = {"steps": 24, "validation_accuracy": 0.5, "seconds": 3.0}
    found = _at_best_step(last, {"best_step": 12, "figures": {"accuracy": 0.75}})
    assert found == last | {"best_step": 12, "validation_accuracy": 0.75}


def test_predictions_come_in_the_files_order_whether_it_has_labels_or_not(
    finished, files, tmp_path
):
    bert = bertjax.load(finished[0])
    texts = [line.split("\t")[0] for line in files[1].read_text().splitlines()]
    (tmp_path / "bare.tsv").write_text("\n".join(texts) + "\n")
    for name, file in (("labelled", files[1]), ("bare", tmp_path / "bare.tsv")):
        assert bert.predict(file, tmp_path / f"{name}.jsonl")["records"] == 40
    found, bare = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("labelled", "bare")
    )
    assert found == bare
    gold = [line.split("\t")[1] for line in files[1].read_text().splitlines()[1:]]
    right = np.mean([own["label"] == label for own, label in zip(found, gold, strict=True)])
    assert right == pytest.approx(finished[1]["figures"]["accuracy"])


def test_what_is_wrong_in_the_last_row_is_told_before_the_first_is_predicted(
    finished, tmp_path, monkeypatch
):
    from bertjax.tasks import predict_file

    file = tmp_path / "damaged.tsv"
    file.write_text("sentence\n" + "first\n" * 3 + "second\tone field too many\n")
    monkeypatch.setattr(predict_file.Predictor, "__call__", lambda *_: pytest.fail("predicts"))
    with pytest.raises(UserError, match=r"damaged.tsv: row 5: 2 fields, but the header has 1"):
        bertjax.load(finished[0]).predict(file, tmp_path / "predicted.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.tsv"]


def test_a_pipe_is_predicted_in_one_reading(finished, files, tmp_path):
    rows = files[1].read_text()
    pipe = tmp_path / "rows.tsv"
    os.mkfifo(pipe)

    def write():
        pipe.write_text(rows)
        pipe.write_text("")  # what a second reading finds: it must fail, not wait for ever

    threading.Thread(target=write, daemon=True).start()
    bert = bertjax.load(finished[0])
    assert bert.predict(pipe, tmp_path / "piped.jsonl") == {"records": 40}
    bert.predict(files[1], tmp_path / "read.jsonl")
    assert (tmp_path / "piped.jsonl").read_text() == (tmp_path / "read.jsonl").read_text()


def test_a_stopped_run_goes_on_bit_for_bit(finished, files, tmp_path, monkeypatch):
    from bertjax.train import loop

    class StoppedError(Exception):
        pass

    save = loop._save

    def stop_after_first(*arguments):
        save(*arguments)
        arguments[0].wait()
        raise StoppedError

    monkeypatch.setattr(loop, "_save", stop_after_first)
    with pytest.raises(StoppedError):
        finetune(config(), pretrained(), *files, tmp_path / "run")
    monkeypatch.undo()
    report = finetune(config(), pretrained(), *map(str, files), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(finished[0])
    assert report["figures"] == finished[1]["figures"]


def test_another_mesh_learns_the_same(finished, files, tmp_path):
    mesh = MeshConfig(data=2, fsdp=2, tensor=2)  # the finished run's has data=8
    settings = dataclasses.replace(config(), mesh=mesh)
    finetune(settings, pretrained(), *files, tmp_path / "run")
    found, expected = losses(tmp_path / "run"), losses(finished[0])
    np.testing.assert_allclose(found[:8], expected[:8], rtol=1e-3)


@pytest.fixture
def untrainable(monkeypatch):
    """Whoever takes a training step from now on fails."""

    def refuse(*_):
        raise AssertionError("a step was trained")

    monkeypatch.setattr("bertjax.train.step.guarded_update", refuse)


@pytest.mark.usefixtures("untrainable")
def test_whoever_trains_in_these_tests_fails(files, tmp_path):
    with pytest.raises(AssertionError, match="a step was trained"):
        finetune(config(1), pretrained(), *files, tmp_path)


@pytest.mark.usefixtures("untrainable")
def test_a_finished_run_is_reported_again_without_training(finished, files):
    run, report = finished
    again = finetune(config(), pretrained(), *files, run)
    assert again["figures"] == report["figures"]


def test_scratch_starts_from_random_weights(files, tmp_path):
    report = finetune(config(1), pretrained(), *files, tmp_path, scratch=True)
    assert report["started_from"] == "random weights"
    first = losses(tmp_path)[0]
    assert first == pytest.approx(np.log(2), abs=0.05)  # the head of a fresh model says nothing


def test_frozen_layers_stay_as_they_were_in_the_checkpoint(files, tmp_path):
    settings = config(1)
    settings = dataclasses.replace(
        settings, optimizer=dataclasses.replace(settings.optimizer, frozen_layers=1)
    )
    finetune(settings, pretrained(), *files, tmp_path)
    before, after = pretrained().params, bertjax.load(tmp_path).params
    same = lambda *path: np.array_equal(_at(before, path), _at(after, path))  # noqa: E731
    assert same("embeddings", "token")
    assert same("layers", "0", "intermediate", "kernel")
    assert not same("layers", "1", "intermediate", "kernel")


def _at(tree, path):
    for name in path:
        tree = tree[name]
    return np.asarray(tree)


@pytest.fixture(scope="module")
def with_seeds(tmp_path_factory, files):
    run = tmp_path_factory.mktemp("seeds") / "run"
    return run, finetune_seeds(config(1), pretrained(), *files, run, seeds=3)


def test_several_seeds_are_summed_up_and_the_best_is_kept(with_seeds, files):
    run, report = with_seeds
    values = [own["accuracy"] for own in report["seeds"].values()]
    assert list(report["seeds"]) == ["0", "1", "2"]
    assert report["mean"]["accuracy"] == pytest.approx(np.mean(values))
    assert report["standard_deviation"]["accuracy"] == pytest.approx(np.std(values, ddof=1))
    assert report["figures"]["accuracy"] == max(values)
    figures = bertjax.load(run).evaluate(data=files[1])
    assert figures["accuracy"] == pytest.approx(max(values))


@pytest.mark.parametrize(("first", "seeds"), [(0, 2), (1, 3)])
def test_seeds_that_leave_out_some_that_are_there_are_refused(with_seeds, files, first, seeds):
    run, report = with_seeds
    with pytest.raises(UserError, match=r"seeds: holds seed [02] too, which --seeds"):
        finetune_seeds(config(1, seed=first), pretrained(), *files, run, seeds=seeds)
    assert json.loads((run / "report.json").read_text())["seeds"] == report["seeds"]


@pytest.mark.usefixtures("untrainable")
def test_seeds_do_not_replace_what_no_run_has_written(files, tmp_path):
    weights = tmp_path / "checkpoints" / "other.pt"
    weights.parent.mkdir()
    weights.touch()
    with pytest.raises(UserError, match=r"holds checkpoints/other\.pt and no config\.json"):
        finetune_seeds(config(1), pretrained(), *files, tmp_path, seeds=2)
    assert weights.exists()


@pytest.mark.usefixtures("untrainable")
def test_finished_seeds_are_not_trained_again(with_seeds, files):
    run, report = with_seeds
    again = finetune_seeds(config(1), pretrained(), *files, run, seeds=3)
    assert again["seeds"] == report["seeds"]


def test_a_run_whose_copy_of_the_best_seed_was_cut_short_is_made_whole(with_seeds, files):
    run, report = with_seeds
    kept = bertjax.load(run).params
    (run / "config.json").unlink()  # it comes last
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match="holds runs of single seeds: give one of "):
        bertjax.load(run)
    again = finetune_seeds(config(1), pretrained(), *files, run, seeds=3)
    assert again["seed"] == report["seed"]
    jax.tree.map(np.testing.assert_array_equal, bertjax.load(run).params, kept)


def test_an_unchanged_best_seed_is_not_copied_again(with_seeds, files, monkeypatch):
    run, report = with_seeds
    monkeypatch.setattr("bertjax.tasks.seeds._copy", lambda *_: pytest.fail("copied"))
    assert finetune_seeds(config(1), pretrained(), *files, run, seeds=3)["seed"] == report["seed"]


def test_seeds_that_somebody_else_trains_are_refused(files, tmp_path):
    run = tmp_path / "run"
    with held(run, "the other"), pytest.raises(UserError, match="another bertjax process is at w"):
        finetune_seeds(config(1), pretrained(), *files, run, seeds=2)


def test_seeds_of_other_settings_are_refused(with_seeds, files):
    with pytest.raises(UserError, match="started with other settings"):
        finetune_seeds(config(1, batch_size=16), pretrained(), *files, with_seeds[0], seeds=3)


def test_seeds_are_refused_where_another_run_is(finished, files):
    with pytest.raises(UserError, match="another run"):
        finetune_seeds(config(), pretrained(), *files, finished[0], seeds=2)


def test_one_seed_is_refused_where_several_were_trained(with_seeds, files):
    with pytest.raises(UserError, match="was made with --seeds"):
        finetune(config(1), pretrained(), *files, with_seeds[0])


def test_checkpoints_are_as_near_as_asked_and_fall_on_evaluations(files, tmp_path):
    settings = config(1, checkpoint_every=5)  # of 12 steps
    finetune(settings, pretrained(), *files, tmp_path)
    train = json.loads((tmp_path / "config.json").read_text())["train"]
    assert (train["checkpoint_every"], train["evaluate_every"]) == (4, 12)


def test_other_files_or_weights_are_another_run(finished, files, tmp_path):
    other, (train, dev) = write_table(tmp_path / "other.tsv", 96, 7), files
    with pytest.raises(UserError, match="training file digest"):
        finetune(config(), pretrained(), other, dev, finished[0])
    with pytest.raises(UserError, match="dev file digest"):
        finetune(config(), pretrained(), train, other, finished[0])
    with pytest.raises(UserError, match="initial weights digest"):
        finetune(config(), pretrained(), train, dev, finished[0], scratch=True)


def test_the_head_of_another_task_is_left_out(finished, files, tmp_path, capsys):
    bert = bertjax.load(finished[0])
    initial = InitialWeights(bert.params, bert.config, bert.tokenizer, "a task")
    text = files[0].read_text().replace("\tfirst", "\tother")
    (tmp_path / "train.tsv").write_text(text)
    (tmp_path / "dev.tsv").write_text(text)
    own = (tmp_path / "train.tsv", tmp_path / "dev.tsv", tmp_path / "run")
    finetune(config(0.5), initial, *own)
    assert "new, at random: classification_head" in capsys.readouterr().err


def test_a_run_of_another_kind_is_refused(finished):
    settings = dataclasses.replace(config(None, steps=24), task=Regression(second=None))
    with pytest.raises(UserError, match=r"task\.kind"):
        open_run(finished[0], settings)
