"""Small corpora for the tests of `bertjax.data`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from bertjax.text.records import TokenizedDocument, encode_document

FIRST_TOKEN = 10


@dataclass(frozen=True)
class SpecialTokens:
    pad_id: int = 0
    classifier_id: int = 2
    separator_id: int = 3


class ListedDocuments:
    """Documents in memory, with the interface of `ShardedDocuments`."""

    def __init__(self, documents: Sequence[TokenizedDocument]):
        self.documents = list(documents)
        self.token_counts = np.array([len(d.token_ids) for d in documents], np.uint32)

    def read(self, indices: Sequence[int]) -> list[TokenizedDocument]:
        return [self.documents[index] for index in indices]


def numbered_documents(sentence_lengths: Sequence[Sequence[int]]) -> ListedDocuments:
    """Documents whose token ids count up from `FIRST_TOKEN`, so that an id tells its place."""
    documents, first = [], FIRST_TOKEN
    for lengths in sentence_lengths:
        ids = np.arange(first, first + sum(lengths), dtype=np.uint32)
        documents.append(TokenizedDocument(ids, np.array(lengths, np.int32)))
        first += len(ids)
    return ListedDocuments(documents)


def random_corpus(documents: int, seed: int, mean_sentences: float = 20.0) -> ListedDocuments:
    """Documents and sentences of very different lengths, about those of Wikipedia articles."""
    rng = np.random.default_rng(seed)
    counts = 1 + rng.geometric(1 / mean_sentences, documents)
    return numbered_documents(
        [np.maximum(rng.lognormal(3.2, 0.6, n), 1).astype(int).tolist() for n in counts]
    )


def write_data_folder(folder: Path, documents: ListedDocuments, shards: int) -> None:
    """Writes the `train` split of a DATA folder."""
    entries = []
    (folder / "train").mkdir(parents=True)
    for shard, part in enumerate(np.array_split(np.arange(len(documents.documents)), shards)):
        name = f"{shard:05d}-of-{shards:05d}.array_record"
        writer = ArrayRecordWriter(str(folder / "train" / name), "group_size:1")
        for index in part:
            writer.write(encode_document(documents.documents[index]))
        writer.close()
        entries.append({"file": f"train/{name}", "documents": len(part), "sha256": ""})
    np.save(folder / "train" / "token_counts.npy", documents.token_counts)
    tokens = int(documents.token_counts.sum())
    split = {"documents": len(documents.documents), "tokens": tokens, "shards": entries}
    manifest = {
        "format_version": 1,
        "tokenizer": {"digest": ""},
        "splits": {"train": split},
        "digest": "",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
