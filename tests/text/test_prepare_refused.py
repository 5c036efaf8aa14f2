"""Settings, texts and folders of which no DATA can be made."""

import sys
from dataclasses import replace

import pytest

from bertjax.errors import UserError
from bertjax.text import prepare as prepare_module
from bertjax.text.prepare import PrepareSettings, prepare
from bertjax.text.prepare_state import TRAINED
from tests.text.corpora import (
    made_up_documents,
    silent,
    small_settings,
    write_corpus,
)


def test_a_wrong_tokenizer_is_told_before_the_corpus_is_read(corpus, tmp_path):
    calls: list[object] = []
    settings = small_settings(corpus, tmp_path / "data", tokenizer="wordpeice")
    with pytest.raises(UserError, match="wordpeice: no such tokenizer"):
        prepare(settings, lambda *call: calls.append(call))
    assert not calls


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no text"),
        (" \n\n \t\n", "holds no text"),
        ("A single document.\nWith two sentences.\n", "put a blank line between documents"),
        ("Copies are one.\n\nCopies are one.\n", "fewer than two documents are left"),
    ],
)
def test_too_little_text_is_refused(data, tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    settings = small_settings(
        tmp_path / "a.txt", tmp_path / "data", tokenizer=str(data / "tokenizer"), validation=0.0
    )
    with pytest.raises(UserError, match=message):
        prepare(settings, silent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "--vocab-size 0"),
        ({"vocab_size": 10}, "smallest that works is"),
        ({"output": ""}, "--output is empty"),
        ({"validation": 1.0}, "--validation 1.0"),
        ({"validation": -0.1}, "--validation -0.1"),
        ({"workers": 0}, "--workers 0"),
        ({"sentences": "words"}, "--sentences words"),
        ({"tokenizer": "absent/vocab.txt"}, "absent/vocab.txt"),
        ({"runner": "spark"}, "--runner spark: choose local or beam"),
        ({"beam_options": ("--runner=FlinkRunner",)}, "need --runner beam"),
        ({"beam_options": ("b.txt",)}, "unknown argument b.txt; write a glob in quotes"),
    ],
)
def test_settings_that_cannot_work_are_refused(corpus, tmp_path, change, message):
    settings = replace(small_settings(corpus, tmp_path / "data"), **change)
    with pytest.raises(UserError, match=message):
        prepare(settings, silent)


def test_beam_where_it_is_not_installed_is_told_before_anything_is_read(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"apache-beam is not installed.*pip install"):
        prepare(small_settings(corpus, tmp_path / "data", runner="beam"), silent)


def test_a_remote_output_is_refused_with_what_to_do(corpus):
    with pytest.raises(UserError, match=r"gcsfuse.*gcloud storage cp -r FOLDER gs://bucket/data"):
        prepare(PrepareSettings((str(corpus),), "gs://bucket/data"), silent)


def test_an_output_that_is_a_file_is_refused(corpus, tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="this is a file"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)


def test_an_output_that_cannot_be_written_is_refused(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        prepare(small_settings(corpus, tmp_path / "file" / "data"), silent)


def test_a_folder_with_somebody_elses_parts_is_left_alone(corpus, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="holds train/ that was not made here"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)
    assert list((tmp_path / "data").iterdir()) == [tmp_path / "data" / "train"]


def test_an_output_inside_the_corpus_is_refused(tmp_path):
    write_corpus(tmp_path / "a.txt", made_up_documents(3))
    with pytest.raises(UserError, match=r"lies inside --corpus"):
        prepare(small_settings(tmp_path, tmp_path / "data"), silent)
    assert not (tmp_path / "data").exists()


def test_a_refused_text_leaves_nothing_behind_and_may_be_mended(tmp_path):
    corpus = tmp_path / "a.txt"
    corpus.write_bytes(b"bad \xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)
    assert not (tmp_path / "data").exists()
    write_corpus(corpus, made_up_documents(20))
    prepare(small_settings(corpus, tmp_path / "data", vocab_size=150), silent)


def test_a_vocabulary_without_special_tokens_is_refused_by_their_names(corpus, tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n")
    with pytest.raises(UserError, match=r"\[MASK\]"):
        prepare(small_settings(corpus, tmp_path / "data", tokenizer=str(vocabulary)), silent)


def test_every_tokenizer_that_is_trained_has_a_trainer():
    assert set(prepare_module._TRAINERS) == set(TRAINED)
