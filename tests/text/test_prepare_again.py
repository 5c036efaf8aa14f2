"""A folder that is complete, prepared again."""

import json
import shutil

import pytest

from bertjax.errors import UserError
from bertjax.text.prepare import prepare
from tests.text.corpora import (
    digests,
    made_up_documents,
    silent,
    small_settings,
    write_corpus,
)


def test_running_again_says_so_and_leaves_everything_alone(corpus, data):
    before, calls = digests(data), []
    manifest = prepare(small_settings(corpus, data), lambda *call: calls.append(call))
    assert [call[0] for call in calls] == ["already prepared"]
    assert manifest == json.loads((data / "manifest.json").read_text())
    assert digests(data) == before


def test_running_again_names_a_shard_that_is_not_what_was_written(corpus, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    (shard,) = (tmp_path / "data" / "train").glob("*.array_record")
    with shard.open("r+b") as file:
        file.write(b"?")
    with pytest.raises(UserError, match=rf"train/{shard.name} is missing or not what was written"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)
    shard.unlink()
    with pytest.raises(UserError, match=rf"train/{shard.name} is missing or not what was written"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 150}, "vocab_size=200, not 150"),
        ({"cased": True}, "cased=False, not True"),
        ({"validation": 0.1}, "validation=0.2, not 0.1"),
        ({"sentences": "split"}, "sentences='auto', not 'split'"),
        ({"tokenizer": "sentencepiece"}, "tokenizer='wordpiece', not 'sentencepiece'"),
    ],
)
def test_other_settings_into_the_same_folder_are_refused_by_name(corpus, data, change, message):
    with pytest.raises(UserError, match=message):
        prepare(small_settings(corpus, data, **change), silent)


def test_another_text_of_the_same_size_into_the_same_folder_is_refused(tmp_path):
    corpus = write_corpus(tmp_path / "a.txt", made_up_documents(20))
    prepare(small_settings(corpus, tmp_path / "data", vocab_size=150), silent)
    text = corpus.read_text()
    corpus.write_text(text.replace("a", "e", 1))
    with pytest.raises(UserError, match=r"a\.txt has changed since"):
        prepare(small_settings(corpus, tmp_path / "data", vocab_size=150), silent)
    corpus.write_text(text)  # the same text again, though the file is new
    prepare(small_settings(corpus, tmp_path / "data", vocab_size=150), silent)


def test_another_tokenizer_of_the_same_name_into_the_same_folder_is_refused(data, corpus, tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text((data / "tokenizer" / "vocab.txt").read_text())
    settings = small_settings(corpus, tmp_path / "data", tokenizer=str(vocabulary))
    prepare(settings, silent)
    with vocabulary.open("a") as file:
        file.write("another\n")
    with pytest.raises(UserError, match=r"vocab\.txt has changed since"):
        prepare(settings, silent)


@pytest.mark.parametrize(
    "damage",
    [
        {"sources": [{}]},
        {"sources": [1]},
        {"sources": None},
        {"settings": "x"},
        {"tokenizer": {}},
        {"splits": None},
        {"splits": {"train": {"shards": [{}]}}},
    ],
)
def test_a_damaged_manifest_is_refused(corpus, data, tmp_path, damage):
    manifest = json.loads((data / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | damage))
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        prepare(small_settings(corpus, tmp_path), silent)
