"""Raw text measured as it is: everything kept, in order."""

import numpy as np
import pytest

from bertjax.data.shards import open_split, read_manifest
from bertjax.errors import UserError
from bertjax.text.prepare import prepare
from bertjax.text.tokenized_corpus import tokenize_corpus
from bertjax.text.tokenizer import load_tokenizer
from tests.text.corpora import (
    made_up_documents,
    read_split,
    silent,
    small_settings,
    write_corpus,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    corpus = write_corpus(folder / "text.txt", made_up_documents(30))
    prepare(small_settings(corpus, folder / "data"), silent)
    return load_tokenizer(folder / "data")


def test_duplicates_and_repeated_lines_stay_in_the_order_of_the_text(tokenizer, tmp_path):
    footer = "This footer stands at the end of every document of all."
    documents = [[*lines, footer] for lines in made_up_documents(12)] * 2
    tokenize_corpus(str(write_corpus(tmp_path / "a.txt", documents)), tokenizer, tmp_path / "data")
    corpus = open_split(tmp_path / "data", "validation")
    expected = [[tokenizer.encode(line) for line in lines] for lines in documents]
    assert corpus.token_counts.dtype == np.uint32
    assert corpus.token_counts.tolist() == [sum(map(len, rows)) for rows in expected]
    for document, rows in zip(corpus.read(range(len(documents))), expected, strict=True):
        assert document.sentence_lengths.tolist() == [len(row) for row in rows]
        assert document.token_ids.tolist() == [token for row in rows for token in row]


def test_special_tokens_written_out_in_a_corpus_are_text(tokenizer, tmp_path):
    documents = [[f"{line} [SEP][MASK] [CLS]" for line in doc] for doc in made_up_documents(20)]
    file = write_corpus(tmp_path / "a.txt", documents)
    tokenizer.save(tmp_path / "tokenizer")
    settings = small_settings(file, tmp_path / "data", tokenizer=str(tmp_path / "tokenizer"))
    prepare(settings, silent)
    tokenize_corpus(str(file), tokenizer, tmp_path / "measured")
    structure = set(tokenizer.special_ids) - {tokenizer.unknown_id}
    assert structure & set(tokenizer.encode(documents[0][0]))
    for folder, split in [("data", "train"), ("data", "validation"), ("measured", "validation")]:
        for document in read_split(tmp_path / folder, split):
            assert not structure & set(document.token_ids.tolist())


def test_the_folder_says_what_it_holds(tokenizer, tmp_path):
    file = write_corpus(tmp_path / "a.txt", made_up_documents(5))
    manifest = tokenize_corpus(str(file), tokenizer, tmp_path / "data")
    assert manifest == read_manifest(tmp_path / "data")
    assert manifest["tokenizer"]["digest"] == tokenizer.digest
    split = manifest["splits"]["validation"]
    assert split["documents"] == 5
    assert split["sentences"] == sum(map(len, made_up_documents(5)))
    assert split["tokens"] == open_split(tmp_path / "data", "validation").token_counts.sum()


def test_a_corpus_without_text_is_refused(tokenizer, tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(UserError, match="holds no text"):
        tokenize_corpus(str(tmp_path / "a.txt"), tokenizer, tmp_path / "data")
