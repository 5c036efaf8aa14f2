"""A folder that is complete, prepared again."""

import json
import shutil

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.text import prepare as prepare_module
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


def test_an_interrupted_run_goes_on_whatever_the_size_asked_of_a_loaded_tokenizer(
    data, corpus, tmp_path, monkeypatch
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    settings = [
        small_settings(corpus, tmp_path, tokenizer=str(data / "tokenizer"), vocab_size=pieces)
        for pieces in (123, 30_000)
    ]
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "_tokenize", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(settings[0], silent)
    state = tmp_path / ".unfinished" / "state.json"
    older = json.loads(state.read_text())
    older["settings"]["vocab_size"] = 123  # as an older version noted it
    state.write_text(json.dumps(older))
    assert prepare(settings[1], silent)["splits"]["train"]["tokens"] > 0


def test_what_a_loaded_tokenizer_decides_is_no_other_setting(data, corpus, tmp_path):
    made = [
        prepare(
            small_settings(corpus, tmp_path, tokenizer=str(data / "tokenizer"), vocab_size=pieces),
            silent,
        )
        for pieces in (123, 30_000)
    ]
    assert made[0] == made[1]


def change_the_header(file):
    """So that NumPy, which reads it as Python, raises an error of the tokenizer of Python."""
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("tokenizer/vocab.txt", lambda file: file.write_text(file.read_text()[:-2] + "\n")),
        ("tokenizer/vocab.txt", lambda file: shutil.rmtree(file.parent)),
        ("train/token_counts.npy", lambda file: file.write_bytes(file.read_bytes()[:-3])),
        ("train/token_counts.npy", lambda file: np.save(file, np.array(["a", "b"]))),
        ("train/token_counts.npy", lambda file: np.save(file, np.load(file).sum(keepdims=True))),
        ("train/token_counts.npy", change_the_header),
        ("train/token_counts.npy", lambda file: np.savez(file.open("wb"), a=np.zeros(2))),
        ("validation/token_counts.npy", lambda file: file.unlink()),
    ],
)
def test_a_finished_folder_that_is_damaged_is_refused_with_what_to_do(
    data, corpus, tmp_path, name, damage
):
    shutil.copytree(data, tmp_path / "data")
    damage(tmp_path / "data" / name)
    what = name.partition("/")[0] if name.startswith("tokenizer") else name
    with pytest.raises(UserError, match=f"data: {what} is missing or not what was .*remove"):
        prepare(small_settings(corpus, tmp_path / "data"), silent)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"settings": 3, "fingerprints": []}'])
def test_a_damaged_note_of_an_interrupted_run_is_told_in_a_line(corpus, tmp_path, text):
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "state.json").write_text(text)
    with pytest.raises(UserError, match=r"state\.json: damaged.* remove it and run again"):
        prepare(small_settings(corpus, tmp_path), silent)


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
