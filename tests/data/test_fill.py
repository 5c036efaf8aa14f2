"""How full the rows are on real text."""

import gzip
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from bertjax.config import DataConfig
from bertjax.data.loader import ValidationBatches
from bertjax.text.records import TokenizedDocument
from tests.data.corpora import ListedDocuments, SpecialTokens

WIKI = Path(__file__).resolve().parents[3] / "shared/data/corpus/en_wiki.txt.gz"


@pytest.fixture(scope="module", params=[8192, 30_522])
def wiki(request):
    if not WIKI.exists():
        pytest.skip(f"{WIKI} is not there")
    lines = gzip.decompress(WIKI.read_bytes()).decode().split("\n")
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    sample = islice(lines, 0, None, 8)
    tokenizer.train_from_iterator(sample, vocab_size=request.param, show_progress=False)
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(lines, add_special_tokens=False)]
    blanks = [-1, *(i for i, line in enumerate(lines) if not line), len(lines)]
    documents = [encoded[start + 1 : end] for start, end in pairwise(blanks) if end > start + 1]
    return ListedDocuments(
        [
            TokenizedDocument(np.concatenate(document), np.array([len(ids) for ids in document]))
            for document in documents
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("length", "share"), [(128, 0.975), (512, 0.995)])
def test_packed_rows_of_wikipedia_are_nearly_full(wiki, length, share):
    found = ValidationBatches(wiki, SpecialTokens(), DataConfig(length=length), 16)
    real = sum(np.count_nonzero(batch["pair_ids"]) for batch in found)
    assert real / (16 * length * len(found)) >= share
