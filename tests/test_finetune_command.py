"""`finetune`, `predict` and `evaluate` on the command line, from a run to other frameworks."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import bertjax
from bertjax.cli import main
from tests.tasks.labelled import write_words
from tests.test_cli import refused

SETTINGS = ("--train.epochs=2", "--train.batch_size=8", "--data.length=32", "--train.log_every=1")
CONFIG = """
from bertjax.config import Classification, Config, OptimizerConfig

def get_config():
    optimizer = OptimizerConfig(learning_rate=5e-3, warmup_share=0.1)
    return Config(task=Classification(), optimizer=optimizer)
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "config.py").write_text(CONFIG)
    words = ["baden gor", "bad"], ["sum ten", "tins"]
    write_words(folder / "train.tsv", words, 64, 0)
    write_words(folder / "dev.tsv", words, 16, 1)
    return folder


def arguments(small_run, labelled, run):
    files = ("--train", labelled / "train.tsv", "--dev", labelled / "dev.tsv", "--run", run)
    command = ("finetune", labelled / "config.py", "--init", small_run / "run", *files, *SETTINGS)
    return tuple(map(str, command))


@pytest.fixture(scope="module")
def finetuned(small_run, labelled, tmp_path_factory):
    run = tmp_path_factory.mktemp("finetuned") / "run"
    assert main(arguments(small_run, labelled, run)) == 0
    return run


def test_evaluate_reports_a_file_as_the_run_reports_its_own(labelled, finetuned, tmp_path, capsys):
    dev, report = str(labelled / "dev.tsv"), tmp_path / "report.json"
    assert main(["evaluate", str(finetuned), "--data", dev, "--report", str(report)]) == 0
    found, own = json.loads(report.read_text()), json.loads((finetuned / "report.json").read_text())
    assert found["figures"] == pytest.approx(own["figures"])
    assert found["details"]["confusion"] == own["details"]["confusion"]
    assert found["data"] == own["dev"]
    shown = capsys.readouterr().out
    assert "data    dev.tsv, 16 records" in shown
    assert "confusion: true labels down, predicted across" in shown


def test_a_report_is_of_a_labelled_file_and_a_fine_tuned_run(small_run, labelled, tmp_path, capsys):
    command = ("evaluate", str(small_run / "run"), "--report", str(tmp_path / "report.json"))
    assert "give --data" in refused(capsys, *command, "--corpus", "python-docs")
    assert "nothing to report: " in refused(capsys, *command, "--data", str(labelled / "dev.tsv"))


def test_finetune_prints_its_report_and_evaluate_repeats_its_figures(
    small_run, labelled, finetuned, capsys
):
    assert main([*arguments(small_run, labelled, finetuned), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["metric"] == "accuracy"
    dev = str(labelled / "dev.tsv")
    assert main(["evaluate", str(finetuned), "--data", dev, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures == pytest.approx(report["figures"])


def test_predict_writes_an_object_per_row(labelled, finetuned, tmp_path):
    output = tmp_path / "found.jsonl"
    source = str(labelled / "dev.tsv")
    assert main(["predict", str(finetuned), "--input", source, "--output", str(output)]) == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(found) == 16
    for own in found:
        assert sum(own["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert own["label"] == max(own["probabilities"], key=own["probabilities"].get)


def test_a_fine_tuned_run_is_handed_on_to_transformers(finetuned, labelled, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = tmp_path / "published"
    assert main(["convert", str(finetuned), str(folder), "--to", "huggingface"]) == 0
    card = (folder / "README.md").read_text()
    assert "| train.tsv | 64 |" in card
    assert "Fine-tuned for classification with bertjax, started from run (bertjax, step 4" in card
    assert "On the dev file, by which the best step is chosen:\n\n| figure | value |" in card
    assert not any(word in card.lower() for word in ("mask", "pretrained with", "pairs", "digest"))
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert list(network.config.id2label.values()) == ["first", "second"]
    texts = [line.split("\t")[0] for line in (labelled / "dev.tsv").read_text().splitlines()[1:]]
    with torch.inference_mode():
        logits = network(
            **tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
        ).logits
    bertjax.load(finetuned).predict(labelled / "dev.tsv", tmp_path / "ours.jsonl")
    ours = [json.loads(line) for line in (tmp_path / "ours.jsonl").read_text().splitlines()]
    expected = torch.softmax(logits, dim=-1).numpy()
    found = np.array([list(own["probabilities"].values()) for own in ours])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.process
def test_a_killed_run_goes_on_to_the_same_weights(small_run, labelled, finetuned, tmp_path):
    command = [sys.executable, "-m", "bertjax", *arguments(small_run, labelled, tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not any((tmp_path / "run").glob("checkpoints/8")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert main(command[3:]) == 0
    weights = [bertjax.load(run).params for run in (tmp_path / "run", finetuned)]
    jax.tree.map(np.testing.assert_array_equal, *weights)
    losses = [_losses(run) for run in (tmp_path / "run", finetuned)]
    assert losses[0] == losses[1]


def _losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def test_what_cannot_be_fine_tuned_or_predicted_is_told_in_one_line(
    small_run, labelled, finetuned, tmp_path, capsys
):
    pretrained = str(small_run / "run")
    other = arguments(small_run, labelled, tmp_path / "run")
    assert "a config for pretraining" in refused(capsys, other[0], "tiny", *other[2:])
    assert "cannot be read" in refused(capsys, *other[:5], "nowhere.tsv", *other[6:])
    output = ("--output", str(tmp_path / "a.jsonl"))
    assert "nothing to predict" in refused(
        capsys, "predict", pretrained, "--input", str(labelled / "dev.tsv"), *output
    )
    assert "is the input too" in refused(
        capsys, "predict", str(finetuned), "--input", str(labelled / "dev.tsv"),
        "--output", str(labelled / "dev.tsv"),
    )  # fmt: skip
    assert "give data" in refused(capsys, "evaluate", str(finetuned), "--corpus", "a.txt")
    assert "bertjax finetune takes it" in refused(
        capsys, "pretrain", str(labelled / "config.py"), "--data", str(small_run / "data"),
        "--run", str(tmp_path / "other"),
    )  # fmt: skip


def test_a_file_without_rows_is_told_in_one_line(finetuned, tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("sentence\n")
    files = ("--input", str(tmp_path / "a.tsv"), "--output", str(tmp_path / "a.jsonl"))
    assert "a.tsv: no rows in it" in refused(capsys, "predict", str(finetuned), *files)
    assert not (tmp_path / "a.jsonl").exists()


def test_evaluate_tells_what_the_file_lacks(finetuned, tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("sentence\tlabel\nbad\tfirst\n\tsecond\n")
    assert main(["evaluate", str(finetuned), "--data", str(tmp_path / "a.tsv")]) == 0
    assert "a.tsv: 1 rows with an empty text" in capsys.readouterr().err


def test_a_loaded_run_tells_what_it_is(finetuned):
    bert = bertjax.load(finetuned)
    assert "classification_head" in bert.source
    assert bert.config.labels == ("first", "second")
