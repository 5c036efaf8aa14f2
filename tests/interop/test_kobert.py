"""Korean models in Hugging Face's layout: SentencePiece, its special tokens in their own order."""

import gzip
import json
import unicodedata
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import sentencepiece as library

import bertjax
from tests.text.test_renumbering import FIRST, pieces_of, write_kobert
from tests.text.test_sentencepiece import KOBERT, TEXT, library_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus" / "ko_wiki.txt.gz"
PUBLISHED = "tokenizer_78b3253a26.model"  # KoBERT's own, with a vocab.txt that numbers its pieces
CLOZE = "대한민국의 수도는 [MASK]이다."


class Folder(NamedTuple):
    """A small random masked language model with its tokenizer, and what each id stands for."""

    path: Path
    model_file: str
    tokens: list[str]


@pytest.fixture(params=[PUBLISHED, "spiece.model", "tokenizer.model"])
def folder(request, tmp_path):
    if request.param == PUBLISHED:
        tokens = write_kobert(tmp_path).tokens
    else:
        file = library_model(tmp_path, control_symbols=["[MASK]"], **KOBERT)
        tokens = pieces_of(library.SentencePieceProcessor(model_file=str(file)))
    (tmp_path / "spiece.model").rename(tmp_path / request.param)
    write_model(tmp_path, len(tokens))
    return Folder(tmp_path, request.param, tokens)


def write_model(folder, vocab_size):
    settings = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.BertConfig(
        vocab_size=vocab_size,
        num_hidden_layers=2,
        max_position_embeddings=128,
        pad_token_id=1,
        initializer_range=0.3,
        **settings,
    )
    torch.manual_seed(0)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))


def test_special_tokens_are_found_by_name(folder):
    tokenizer = bertjax.load(folder.path).tokenizer
    special = (tokenizer.unknown_id, tokenizer.pad_id, tokenizer.classifier_id)
    special += (tokenizer.separator_id, tokenizer.mask_id)
    assert [folder.tokens[index] for index in special] == FIRST
    assert tokenizer.vocab_size == len(folder.tokens)


def test_korean_reads_back(folder):
    tokenizer = bertjax.load(folder.path).tokenizer
    for text in TEXT[1::2]:
        if tokenizer.unknown_id not in (ids := tokenizer.encode(text)):
            assert tokenizer.decode(ids) == text


def test_fill_mask_gives_the_probabilities_of_hugging_face(folder):
    path, tokens = folder.path, folder.tokens
    owner = library.SentencePieceProcessor(model_file=str(path / folder.model_file))
    before, after = (
        [tokens.index(owner.id_to_piece(index)) for index in owner.encode(part)]
        for part in CLOZE.split("[MASK]")
    )
    after = [tokens.index("이"), *after[1:]] if tokens[after[0]] == "▁이" else after[1:]
    ids = [*before, tokens.index("[MASK]"), *after]
    ids = [tokens.index("[CLS]"), *ids, tokens.index("[SEP]")]
    with torch.no_grad():
        logits = transformers.BertForMaskedLM.from_pretrained(path)(torch.tensor([ids])).logits
    wanted = torch.softmax(logits[0, 1 + len(before)], 0).topk(5)

    (found,) = bertjax.load(path).fill_mask(CLOZE, top_k=5)
    assert [token for token, _ in found] == [tokens[index] for index in wanted.indices]
    np.testing.assert_allclose([share for _, share in found], wanted.values, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpora are not there")
def test_a_vocabulary_of_koberts_size_on_korean_wikipedia(tmp_path):
    with gzip.open(CORPUS, "rt", encoding="utf-8") as file:
        lines = list(islice((line.strip() for line in file if line.strip()), 12_000))
    kobert = write_kobert(tmp_path, lines=lines[:10_000], vocab_size=8000)
    write_model(tmp_path, len(kobert.tokens))
    bert = bertjax.load(tmp_path)
    assert bert.config.vocab_size == bert.tokenizer.vocab_size == 8002
    encoded = bert.tokenizer.encode_batch(lines)
    unknown = sum(ids.count(bert.tokenizer.unknown_id) for ids in encoded)
    assert unknown < 0.02 * sum(len(ids) for ids in encoded)
    for text, ids in zip(lines, encoded, strict=True):
        if bert.tokenizer.unknown_id not in ids:
            plain = " ".join(unicodedata.normalize("NFKC", text).split())
            assert bert.tokenizer.decode(ids) == plain
    ((token, share),) = bert.fill_mask(CLOZE, top_k=1)[0]
    assert bert.tokenizer.token_to_id(token) not in bert.tokenizer.special_ids[:4]
    assert 0 < share < 1
