"""A trained run opened for use: `bertjax.load`, its methods, and the commands on top of it."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import bertjax
import bertjax.api
from bertjax.cli import main
from bertjax.errors import UserError
from bertjax.text.prepare import prepare
from tests.text.corpora import made_up_documents, silent, small_settings, write_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bert(small_run):
    return bertjax.load(small_run / "run")


def text_of(bert, count):
    """A text of ordinary pieces."""
    special_ids = bert.tokenizer.special_ids
    words = [index for index in range(bert.tokenizer.vocab_size) if index not in special_ids]
    return bert.tokenizer.decode(words[:count])


def test_outputs_have_the_shapes_of_the_interface(bert):
    out = bert.apply(np.full((3, 7), bert.tokenizer.mask_id), attention=True)
    assert [state.shape for state in out.hidden_states] == 3 * [(3, 7, 16)]
    assert out.pooled.shape == (3, 16)
    assert out.mlm_logits.shape == (3, 7, bert.tokenizer.vocab_size)
    assert out.nsp_logits.shape == (3, 2)
    assert [matrix.shape for matrix in out.attention] == 2 * [(3, 2, 7, 7)]


def test_what_stands_behind_the_mask_changes_nothing(bert):
    ids = np.arange(20).reshape(2, 10)
    longer = np.concatenate([ids, np.full((2, 5), 9)], axis=1)
    mask = np.concatenate([np.ones((2, 10)), np.zeros((2, 5))], axis=1)
    found = bert.apply(longer, attention_mask=mask).mlm_logits[:, :10]
    np.testing.assert_allclose(found, bert.apply(ids).mlm_logits, atol=1e-5)


def test_packed_pairs_do_not_see_each_other(bert):
    first, second = np.arange(5, 11), np.arange(11, 15)
    packed = np.concatenate([first, second])[None]
    out = bert.apply(packed, pair_ids=[[1] * 6 + [2] * 4])
    alone = bert.apply(second[None])
    np.testing.assert_allclose(out.hidden_states[-1][:, 6:], alone.hidden_states[-1], atol=1e-5)


def test_embed_takes_texts_that_are_made_one_by_one(bert):
    texts = [text_of(bert, 3), text_of(bert, 5)]
    np.testing.assert_array_equal(bert.embed(text for text in texts), bert.embed(texts))


def test_fill_mask_gives_probabilities_in_order_for_every_mask(bert):
    masks = bert.fill_mask(f"{text_of(bert, 3)} [MASK] and [MASK]", top_k=4)
    assert len(masks) == 2
    for mask in masks:
        shares = [probability for _, probability in mask]
        assert len(mask) == 4
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
        assert all(bert.tokenizer.token_to_id(token) is not None for token, _ in mask)


def test_fill_mask_agrees_with_apply(bert):
    text = text_of(bert, 3)
    ids = [
        bert.tokenizer.classifier_id,
        *bert.tokenizer.encode(text),
        bert.tokenizer.mask_id,
        bert.tokenizer.separator_id,
    ]
    logits = np.asarray(bert.apply([ids]).mlm_logits[0, -2], np.float64)
    shares = np.exp(logits) / np.exp(logits).sum()
    (best, *_), *_ = bert.fill_mask(f"{text} [MASK]", top_k=1)
    assert best[0] == bert.tokenizer.id_to_token(int(shares.argmax()))
    assert best[1] == pytest.approx(shares.max(), rel=1e-4)


def test_next_sentence_is_the_first_class_of_the_head(bert):
    tokenizer, text = bert.tokenizer, text_of(bert, 2)
    head = [tokenizer.classifier_id, *tokenizer.encode(text), tokenizer.separator_id]
    tail = [*tokenizer.encode(text), tokenizer.separator_id]
    logits = np.asarray(
        bert.apply([head + tail], [[0] * len(head) + [1] * len(tail)]).nsp_logits[0], np.float64
    )
    assert bert.next_sentence(text, text) == pytest.approx(
        np.exp(logits[0]) / np.exp(logits).sum(), rel=1e-4
    )


def test_embeddings_are_the_means_of_the_last_hidden_states(bert, caplog):
    texts = [text_of(bert, count) for count in (3, 20, 0, 90)]
    found = bert.embed(texts)
    assert (found.shape, found.dtype) == ((4, 16), np.float32)
    for vector, text in zip(found, texts, strict=True):
        ids = bert.tokenizer.encode(text)[:62]
        ids = [bert.tokenizer.classifier_id, *ids, bert.tokenizer.separator_id]
        hidden = np.asarray(bert.apply([ids]).hidden_states[-1][0])
        np.testing.assert_allclose(vector, hidden.mean(axis=0), atol=1e-5)
    assert "1 of 4 sentences cut to 64 tokens" in caplog.text


def test_embed_writes_what_the_api_returns(small_run, bert, capsys, tmp_path):
    texts = [text_of(bert, 5), "", text_of(bert, 70)]
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    output = tmp_path / "lines.npy"
    options = ["--input", str(tmp_path / "lines.txt"), "--output", str(output)]
    command = ["embed", str(small_run / "run"), *options, "--pooling", "cls"]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["sentences"], figures["cut"]) == (3, 1)
    np.testing.assert_array_equal(np.load(output), bert.embed(texts, pooling="cls"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bert: bert.embed("one text"), "embed takes a list of texts"),
        (lambda bert: bert.embed(None), "embed takes a list of texts"),
        (lambda bert: bert.embed(["one", None]), "text 2 of 2 is no text but NoneType"),
        (
            lambda bert: bert.embed(["one \ud800"]),
            "1 of 1 is not valid Unicode at character 4",
        ),
        (lambda bert: bert.fill_mask("[MASK] \udfff"), "not valid Unicode at character 7"),
        (
            lambda bert: bert.fill_mask("[MASK]", second="\ud800"),
            "text 2 of 2 is not valid Unicode",
        ),
        (lambda bert: bert.next_sentence("one", "\udc80"), "text 2 of 2 is not valid Unicode"),
        (lambda bert: bert.embed(["one"], pooling="sum"), "unknown pooling 'sum': choose one of"),
        (lambda bert: bert.next_sentence(text_of(bert, 80), "."), "the model takes 64"),
        (lambda bert: bert.fill_mask("nothing to fill"), "write [MASK]"),
        (lambda bert: bert.fill_mask("[MASK]", top_k=0), "top_k=0"),
        (lambda bert: bert.fill_mask(text_of(bert, 80) + "[MASK]"), "the model takes 64"),
    ],
)
def test_input_that_the_model_cannot_take_is_refused(bert, call, message):
    with pytest.raises(UserError) as caught:
        call(bert)
    assert message in str(caught.value)


def test_a_step_folder_opens_like_its_run(small_run, bert):
    step = bertjax.load(small_run / "run" / "checkpoints" / "4")
    assert step.step == bert.step == 4
    ids = np.arange(8)[None]
    np.testing.assert_array_equal(step.apply(ids).mlm_logits, bert.apply(ids).mlm_logits)


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/7"])
def test_a_run_opens_whatever_its_name(small_run, bert, tmp_path, name):
    shutil.copytree(small_run / "run", tmp_path / name)
    found = bertjax.load(tmp_path / name)
    jax.tree.map(np.testing.assert_array_equal, found.params, bert.params)


def test_a_loaded_model_is_shown_in_a_line_and_can_be_a_key(bert):
    assert repr(bert) == f"<Bert: {bert.source}>"
    assert {bert: 1}[bert] == 1
    assert bert != dataclasses.replace(bert)


def test_text_that_the_tokenizer_does_not_know_is_told(small_run, capsys, tmp_path):
    (tmp_path / "korean.txt").write_text(
        "한국어로 쓴 문장이다.\n다른 문장이다.\n\n셋째 글이다.\n" * 5
    )
    command = ["evaluate", str(small_run / "run"), "--corpus", str(tmp_path / "korean.txt")]
    assert main(command) == 0
    assert "of this text is unknown to the model's tokenizer" in capsys.readouterr().err


def test_what_training_starts_from_is_told_by_name_without_the_folders_above_it(small_run, bert):
    found = bertjax.api.load_initial(small_run / "run")
    assert found.source == f"run ({bert.source})"
    assert found.tokenizer.digest == bert.tokenizer.digest


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a checkpoint"):
        bertjax.load(tmp_path)


def test_evaluate_repeats_the_figures_of_the_run(small_run, capsys):
    run = str(small_run / "run")
    assert main(["evaluate", run, "--data", str(small_run / "data"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    summary = json.loads((small_run / "run" / "summary.json").read_text())
    for name in ("mlm_loss", "mlm_accuracy", "nsp_accuracy", "examples"):
        assert figures[name] == pytest.approx(summary[f"validation_{name}"], rel=1e-5)


def test_evaluate_takes_raw_text_and_drops_none_of_it(small_run, capsys, tmp_path):
    line = "one two three four five six seven eight nine ten eleven twelve.\n"
    corpus = tmp_path / "same.txt"
    corpus.write_text("\n".join([line * 3] * 12))
    run = str(small_run / "run")
    assert main(["evaluate", run, "--corpus", str(corpus), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["examples"] >= 12
    assert figures["mlm_loss"] > 0


def test_evaluate_refuses_data_of_another_tokenizer(small_run, capsys, tmp_path):
    corpus = write_corpus(tmp_path / "text.txt", made_up_documents(60, seed=5))
    prepare(small_settings(corpus, tmp_path / "data"), silent)
    assert main(["evaluate", str(small_run / "run"), "--data", str(tmp_path / "data")]) == 2
    assert "another tokenizer" in capsys.readouterr().err


def test_fill_mask_prints_json(small_run, capsys):
    run = str(small_run / "run")
    assert main(["fill-mask", run, "a [MASK] b", "--top-k", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [len(mask) for mask in found["masks"]] == [2]


@pytest.mark.process
def test_a_stopped_evaluation_leaves_no_temporary_folder(small_run, tmp_path):
    temporary, corpus = tmp_path / "temporary", tmp_path / "corpus.txt"
    temporary.mkdir()
    corpus.write_text("Words that are read for a while, a line each.\n" * 1_000_000)
    command = [sys.executable, "-m", "bertjax", "evaluate", small_run / "run", "--corpus", corpus]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        while not list(temporary.glob("*/validation")):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert b"Traceback" not in process.communicate()[1]
    assert process.returncode == 143
    assert list(temporary.iterdir()) == []
