"""Checkpoints handed on and taken over: `convert`, `--init`, models without some head."""

import json
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import bertjax
from bertjax import api
from bertjax.cli import main
from bertjax.errors import UserError
from bertjax.interop.weights import BY_VOCABULARY
from bertjax.train.digest import named_leaves
from tests.interop.checkpoints import make_checkpoint, write_folder
from tests.small_run import OPTIONS

pytestmark = pytest.mark.slow


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def assert_same_weights(first, second):
    """Bit for bit, but for the rows that only round the vocabulary up."""
    ours, theirs = named_leaves(first.params), named_leaves(second.params)
    assert ours.keys() == theirs.keys()
    for name, leaf in ours.items():
        rows = first.config.vocab_size if name in BY_VOCABULARY else len(leaf)
        np.testing.assert_array_equal(leaf[:rows], theirs[name][:rows], err_msg=name)


@pytest.fixture(scope="module")
def published(small_run, tmp_path_factory):
    """The run as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("published") / "small"
    assert convert(small_run / "run", folder, "--to", "huggingface") == 0
    return folder


def test_a_run_survives_the_way_to_hugging_face_and_back(small_run, published, tmp_path, capsys):
    assert convert(published, tmp_path / "back", "--to", "bertjax") == 0
    told = capsys.readouterr()
    assert told.out == f"wrote {tmp_path / 'back'}\n"
    assert f"opened {published}: Hugging Face: 2 layers of 16" in told.err
    run, back = bertjax.load(small_run / "run"), bertjax.load(tmp_path / "back")
    assert_same_weights(run, back)
    assert back.tokenizer.encode("baden gor") == run.tokenizer.encode("baden gor")


def test_a_step_converted_to_a_run_keeps_its_step_and_history(small_run, tmp_path):
    assert (
        convert(small_run / "run" / "checkpoints" / "4", tmp_path / "run", "--to", "bertjax") == 0
    )
    before, after = bertjax.load(small_run / "run"), bertjax.load(tmp_path / "run")
    assert_same_weights(before, after)
    assert (after.step, after.history) == (4, before.history)


def test_every_command_takes_the_converted_checkpoint(small_run, published, capsys):
    figures = []
    for path in (small_run / "run", published):
        assert main(["evaluate", str(path), "--data", str(small_run / "data"), "--json"]) == 0
        figures.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    for name in ("mlm_loss", "nsp_loss"):  # in rows of other lengths
        assert figures[1][name] == pytest.approx(figures[0][name], rel=0.05)


def test_the_model_card_tells_data_steps_figures_and_use(small_run, published):
    card = (published / "README.md").read_text()
    summary = json.loads((small_run / "run" / "summary.json").read_text())
    (corpus,) = summary["corpora"]
    assert f"| text.txt | {corpus['documents']} |" in card
    assert "| steps | 4 |" in card
    assert f"| mlm_loss | {summary['validation_mlm_loss']:.4g} |" in card
    assert 'AutoModelForPreTraining.from_pretrained("small")' in card
    assert str(small_run) not in card


def test_training_starts_from_a_hugging_face_folder_without_heads(small_run, tmp_path, capsys):
    bert = bertjax.load(small_run / "run")
    heads = ("mlm_head", "nsp_head", "pooler")
    encoder = {name: part for name, part in bert.params.items() if name not in heads}
    folder = tmp_path / "encoder"
    bertjax.Bert(**vars(bert) | {"params": encoder}).save_huggingface(folder)
    run = ["--data", str(small_run / "data"), "--run", str(tmp_path / "run")]
    assert main(["pretrain", "tiny", *run, "--init", str(folder), *OPTIONS]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "starting" in line]
    source = "encoder (Hugging Face: 2 layers of 16, no heads)"
    assert f"starting from {source}; new, at random: mlm_head, nsp_head, pooler" in line
    assert bertjax.load(tmp_path / "run").step == 2
    again = ["--train.steps=3", "--init", "nowhere"]
    assert main(["pretrain", "tiny", *run, *OPTIONS, *again]) == 0
    assert "goes on from its step 2; --init is not used" in capsys.readouterr().err
    assert convert(tmp_path / "run", tmp_path / "out", "--to", "huggingface") == 0
    assert (
        f"Pretrained with bertjax, started from {source}."
        in (tmp_path / "out" / "README.md").read_text()
    )


@pytest.mark.process
def test_a_run_killed_before_its_first_checkpoint_needs_its_initial_weights_again(
    small_run, published, tmp_path, capsys
):
    run, initial = tmp_path / "run", ["--init", str(published)]
    command = ["pretrain", "tiny", "--data", str(small_run / "data"), "--run", str(run), *OPTIONS]
    long, short = "--train.steps=1000", "--train.steps=3"
    with subprocess.Popen([sys.executable, "-m", "bertjax", *command, long, *initial]) as process:
        while not (run / "initial.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert not list((run / "checkpoints").glob("[0-9]*"))
    assert main([*command, long]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    source = "small (Hugging Face: 2 layers of 16, mlm_head, pooler, nsp_head)"
    assert f"{run} was started with --init, from {source}, and has no checkpoint yet" in line
    assert main([*command, short, *initial]) == 0
    assert f"starting from {source}\n" in capsys.readouterr().err
    assert main([*command, "--train.steps=4"]) == 0
    bert = bertjax.load(run)
    assert (bert.step, bert.history["facts"]["started_from"]) == (4, source)


def test_training_from_another_encoder_names_the_options(small_run, published, tmp_path, capsys):
    run = ["--data", str(small_run / "data"), "--run", str(tmp_path / "run")]
    assert main(["pretrain", "tiny", *run, "--init", str(published)]) == 2
    assert "add --model.hidden_size=16" in capsys.readouterr().err


def test_a_destination_that_holds_something_is_left_alone(small_run, published, capsys):
    before = sorted(file.name for file in published.iterdir())
    assert convert(small_run / "run", published, "--to", "bertjax") == 2
    assert "exists already" in capsys.readouterr().err
    assert sorted(file.name for file in published.iterdir()) == before


def test_the_destination_is_looked_at_before_the_weights(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert convert(tmp_path / "nowhere", tmp_path / "file" / "new", "--to", "bertjax") == 2
    assert f"{tmp_path / 'file'} is a file" in capsys.readouterr().err


def test_whoever_may_read_one_file_of_the_folder_may_read_all(published):
    assert len({file.stat().st_mode for file in published.iterdir()}) == 1


@pytest.mark.parametrize("head", ["mlm_head", "tagging_head", "span_head"])
def test_a_pooler_that_the_class_has_no_place_for_is_kept(tmp_path, head):
    folder = write_folder(tmp_path / "model", ("pooler", head))
    assert {"pooler", head} <= bertjax.load(folder).params.keys()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "the path of the destination is empty"),
        (".", ". is the folder that you are in"),
        ("..", "exists already"),
        ("/", "/ exists already"),
    ],
)
def test_a_destination_without_a_name_is_told(tmp_path, monkeypatch, path, message):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=message):
        api.convert(bertjax.Bert(**vars(make_checkpoint())), path, "bertjax")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_conversion_that_fails_leaves_nothing(tmp_path):
    sound = make_checkpoint()
    params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), sound.params)
    with pytest.raises(UserError, match="not finite"):
        api.convert(bertjax.Bert(**vars(sound) | {"params": params}), tmp_path / "run", "bertjax")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("heads", "present"),
    [
        ((), set()),
        (("pooler",), {"pooled"}),
        (("mlm_head",), {"mlm_logits"}),
        (("pooler", "classification_head"), {"pooled", "classification_logits"}),
        (("tagging_head",), {"tagging_logits"}),
        (("span_head",), {"span_logits"}),
    ],
)
def test_outputs_of_heads_that_are_absent_are_none(tmp_path, heads, present):
    out = bertjax.load(write_folder(tmp_path / "model", heads)).apply([[2, 7, 3]])
    logits = {name: value for name, value in vars(out).items() if name != "hidden_states"}
    assert {name for name, value in logits.items() if value is not None} == present


@pytest.mark.parametrize(
    ("heads", "call", "message"),
    [
        (("pooler",), lambda bert: bert.fill_mask("a [MASK]"), "without mlm_head"),
        (("mlm_head",), lambda bert: bert.next_sentence("a", "b"), "without nsp_head"),
        (("pooler",), lambda bert: bert.evaluate(corpus="x"), "nothing to evaluate"),
        (("mlm_head",), lambda bert: bert.evaluate(), "one of the two: give data or corpus"),
        (("mlm_head",), lambda bert: bert.evaluate("x", "y"), "one of the two: give data or"),
    ],
)
def test_what_a_model_cannot_do_is_refused(tmp_path, heads, call, message):
    bert = bertjax.load(write_folder(tmp_path / "model", heads))
    with pytest.raises(UserError, match=message):
        call(bert)


@pytest.mark.parametrize(
    ("heads", "known"), [(("mlm_head",), "mlm_loss"), (("pooler", "nsp_head"), "nsp_loss")]
)
def test_evaluate_gives_null_for_an_absent_head(tmp_path, capsys, heads, known):
    folder = write_folder(tmp_path / "model", heads)
    corpus = tmp_path / "text.txt"
    corpus.write_text("\n".join(["word1 word2 word3.\nword4 word5 word6.\n"] * 12))
    assert main(["evaluate", str(folder), "--corpus", str(corpus), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    losses = {name for name in ("mlm_loss", "nsp_loss") if figures[name] is not None}
    assert losses == {known}
