"""Raw text to a DATA folder: what lies in it, and what is dropped."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bertjax.text import prepare as prepare_module
from bertjax.text.manifest import describe
from bertjax.text.prepare import prepare
from bertjax.text.token_counts import TokenCounts
from bertjax.text.tokenizer import load_tokenizer, train_sentencepiece
from tests.text.corpora import (
    digests,
    made_up_documents,
    read_split,
    silent,
    small_settings,
    write_corpus,
)


def texts(folder: Path, split: str) -> set[str]:
    """The split's documents as text, one sentence per line."""
    tokenizer = load_tokenizer(folder / "tokenizer")
    return {
        "\n".join(
            tokenizer.decode(ids.tolist())
            for ids in np.split(document.token_ids, np.cumsum(document.sentence_lengths)[:-1])
        )
        for document in read_split(folder, split)
    }


def test_every_sentence_is_there_once_with_its_boundaries(data):
    expected = {"\n".join(lines).lower() for lines in made_up_documents(60)}
    train, validation = texts(data, "train"), texts(data, "validation")
    assert train | validation == expected
    assert not train & validation


def test_the_manifest_counts_what_lies_in_the_folder(data, corpus):
    manifest = json.loads((data / "manifest.json").read_text())
    for split in ("train", "validation"):
        documents, entry = read_split(data, split), manifest["splits"][split]
        counts = np.load(data / split / "token_counts.npy")
        assert counts.dtype == np.uint32
        assert counts.tolist() == [document.token_ids.size for document in documents]
        assert entry["documents"] == len(documents)
        assert entry["tokens"] == counts.sum()
        assert entry["sentences"] == sum(document.sentence_lengths.size for document in documents)
        for shard in entry["shards"]:
            file = data / shard["file"]
            assert shard["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    (source,) = manifest["sources"]
    lines = [line for lines in made_up_documents(60) for line in lines]
    assert source["spec"] == str(corpus)
    assert source["mode"] == "lines"
    assert source["documents"] == 60
    assert source["lines"] == source["sentences"] == len(lines)
    assert source["bytes"] == sum(len(line) + 1 for line in lines)
    tokenizer = load_tokenizer(data / "tokenizer")
    fit = TokenCounts.empty(tokenizer.vocab_size)
    fit.add(lines, tokenizer.encode_batch(lines, plain_text=True), tokenizer.unknown_id)
    assert source["vocabulary"] == fit.summary()
    assert manifest["tokenizer"] == {
        "kind": "wordpiece",
        "vocab_size": 200,
        "cased": False,
        "digest": tokenizer.digest,
    }
    assert manifest["settings"]["vocab_size"] == 200
    assert len(manifest["digest"]) == 64


def test_a_manifest_is_described_in_a_few_lines(data):
    lines = describe(json.loads((data / "manifest.json").read_text())).splitlines()
    assert lines[0] == "wordpiece, 200 pieces, uncased"
    assert "(lines): 60 documents, 447 sentences, " in lines[1]
    assert "0.000% unknown" in lines[2]
    assert lines[3] == "dropped: 0 duplicate documents, 0 repeated lines"
    assert lines[4].startswith("train: ")
    assert lines[5].startswith("validation: ")


def test_documents_longer_than_any_book_are_told(data):
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["sources"][0] |= {"documents": 2, "tokens": 5_000_000}
    line = describe(manifest).splitlines()[3]
    assert "2,500,000 tokens a document" in line
    manifest["sources"][0]["tokens"] = 2_000_000
    assert "tokens a document" not in describe(manifest)


def test_a_validation_split_that_no_document_fell_to_is_told_unless_none_was_wanted(data):
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["splits"]["validation"]["documents"] = 0
    assert describe(manifest).endswith("prepare again with another --validation")
    manifest["settings"]["validation"] = 0.0
    assert "again" not in describe(manifest)


def test_nothing_else_is_left_in_the_folder(data):
    assert {path.name for path in data.iterdir()} == {
        "manifest.json",
        "tokenizer",
        "train",
        "validation",
    }
    assert not list(data.rglob("*.tmp"))


def test_many_chunks_and_shards_hold_the_same_documents(corpus, data, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "_MIN_CHUNK_BYTES", 2000)
    monkeypatch.setattr("bertjax.text.chunks._SHARD_TEXT_BYTES", 5000)
    prepare(small_settings(corpus, tmp_path / "data"), silent)
    for split in ("train", "validation"):
        assert texts(tmp_path / "data", split) == texts(data, split)
    assert len(list((tmp_path / "data" / "train").glob("*.array_record"))) > 3


@pytest.mark.process
def test_two_workers_write_the_same_bytes_as_one(corpus, data, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "_MIN_CHUNK_BYTES", 2000)
    prepare(small_settings(corpus, tmp_path / "data", workers=2), silent)
    assert digests(tmp_path / "data") == digests(data)


def test_validation_is_stable_when_documents_are_added(data, tmp_path):
    more = write_corpus(
        tmp_path / "more.txt", made_up_documents(40, seed=1) + made_up_documents(60)
    )
    settings = small_settings(more, tmp_path / "data", tokenizer=str(data / "tokenizer"))
    prepare(settings, silent)
    assert texts(data, "validation") < texts(tmp_path / "data", "validation")
    assert texts(data, "train") < texts(tmp_path / "data", "train")


def test_validation_holds_about_its_share(corpus, tmp_path):
    manifest = prepare(small_settings(corpus, tmp_path / "half", validation=0.5), silent)
    assert 18 <= manifest["splits"]["validation"]["documents"] <= 42
    manifest = prepare(small_settings(corpus, tmp_path / "none", validation=0.0), silent)
    assert manifest["splits"]["validation"]["documents"] == 0
    assert manifest["splits"]["validation"]["shards"] == []
    assert np.load(tmp_path / "none" / "validation" / "token_counts.npy").size == 0


def test_exact_duplicates_are_dropped_and_counted(data, tmp_path):
    documents = made_up_documents(60)
    corpus = write_corpus(tmp_path / "twice.txt", documents + documents[:7])
    settings = small_settings(corpus, tmp_path / "data", tokenizer=str(data / "tokenizer"))
    manifest = prepare(settings, silent)
    assert manifest["dropped"] == {"duplicate_documents": 7, "repeated_lines": 0}
    assert texts(tmp_path / "data", "train") == texts(data, "train")


def test_repeated_lines_are_dropped_and_counted(data, tmp_path):
    footer = "This footer stands at the end of many documents."
    documents = [[*lines, footer] for lines in made_up_documents(60)]
    corpus = write_corpus(tmp_path / "footer.txt", documents)
    settings = small_settings(corpus, tmp_path / "data", tokenizer=str(data / "tokenizer"))
    manifest = prepare(settings, silent)
    assert manifest["dropped"] == {"duplicate_documents": 0, "repeated_lines": 60}
    assert sum(split["documents"] for split in manifest["splits"].values()) == 60
    found = texts(tmp_path / "data", "train") | texts(tmp_path / "data", "validation")
    assert found == texts(data, "train") | texts(data, "validation")


def test_running_text_is_split_into_sentences(data, tmp_path):
    documents = [[" ".join(lines)] for lines in made_up_documents(60)]
    corpus = write_corpus(tmp_path / "running.txt", documents)
    settings = small_settings(corpus, tmp_path / "data", tokenizer=str(data / "tokenizer"))
    manifest = prepare(settings, silent)
    assert manifest["sources"][0]["mode"] == "split"
    lines = sum(map(len, made_up_documents(60)))  # a few end in what looks like an abbreviation
    assert 0.95 * lines < manifest["sources"][0]["sentences"] <= lines


def test_running_text_of_more_than_10000_sentences_becomes_several_documents(data, tmp_path):
    paragraph = " ".join(f"The river rose {number} times." for number in range(10_003))
    corpus = write_corpus(tmp_path / "long.txt", [[paragraph], ["A short one.", "It ends."]])
    settings = small_settings(
        corpus,
        tmp_path / "data",
        tokenizer=str(data / "tokenizer"),
        sentences="split",
        validation=0.0,
    )
    prepare(settings, silent)
    documents = read_split(tmp_path / "data", "train")
    assert sorted(document.sentence_lengths.size for document in documents) == [2, 3, 10_000]


@pytest.mark.parametrize("mode", ["lines", "split"])
def test_a_copy_of_a_document_that_is_cut_is_dropped_piece_by_piece(data, tmp_path, mode):
    lines = [f"The river rose {number} times." for number in range(10_003)]
    long = [" ".join(lines)] if mode == "split" else lines
    corpus = write_corpus(tmp_path / "long.txt", [long, ["A short one.", "It ends."], long])
    settings = small_settings(
        corpus,
        tmp_path / "data",
        tokenizer=str(data / "tokenizer"),
        sentences=mode,
        validation=0.0,
    )
    manifest = prepare(settings, silent)
    documents = read_split(tmp_path / "data", "train")
    assert sorted(document.sentence_lengths.size for document in documents) == [2, 3, 10_000]
    assert manifest["dropped"] == {"duplicate_documents": 2, "repeated_lines": 0}


def test_the_order_of_the_text_makes_no_difference_to_the_shards(data, tmp_path):
    corpus = write_corpus(tmp_path / "reversed.txt", made_up_documents(60)[::-1])
    settings = small_settings(corpus, tmp_path / "data", tokenizer=str(data / "tokenizer"))
    prepare(settings, silent)
    found, expected = digests(tmp_path / "data"), digests(data)
    assert found.pop("manifest.json") != expected.pop("manifest.json")  # names another corpus
    assert found == expected


def test_sources_keep_their_own_counts(corpus, tmp_path):
    second = write_corpus(tmp_path / "b.txt", made_up_documents(5, seed=3))
    settings = small_settings(corpus, tmp_path / "data")
    both = dataclasses.replace(settings, corpora=(str(corpus), str(second)))
    manifest = prepare(both, silent)
    assert [source["documents"] for source in manifest["sources"]] == [60, 5]
    tokens = sum(split["tokens"] for split in manifest["splits"].values())
    assert sum(source["tokens"] for source in manifest["sources"]) == tokens


def test_sentencepiece_bpe_is_trained(corpus, tmp_path):
    settings = small_settings(corpus, tmp_path / "data", tokenizer="sentencepiece:bpe")
    assert prepare(settings, silent)["tokenizer"]["kind"] == "sentencepiece"
    tokenizer = load_tokenizer(tmp_path / "data")
    lines = [line for lines in made_up_documents(60) for line in lines]
    assert tokenizer.digest == train_sentencepiece(lines, 200, False, "bpe").digest
