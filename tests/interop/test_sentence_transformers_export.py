"""A checkpoint's sentence embeddings after it was converted, here and in sentence-transformers."""

import dataclasses
import json

import numpy as np
import pytest

import bertjax
from bertjax import api
from bertjax.errors import UserError
from bertjax.tasks.embedding import MEAN, EmbeddingSettings
from tests.interop.checkpoints import make_checkpoint

TEXTS = ["word1 word2", "WORD3", " ".join(["word4", "word5"] * 20), "", "[MASK] WORD6 [mask] [SEP]"]
SETTINGS = [
    EmbeddingSettings(max_length=9),
    EmbeddingSettings("max", normalize=True),
    EmbeddingSettings("cls", prompt="word8 WORD9: ", lower_case=True),
]


def make_bert(settings, cased=False):
    checkpoint = make_checkpoint(("pooler",), cased=cased)
    return bertjax.Bert(**vars(checkpoint) | {"embedding": settings})


@pytest.mark.slow
@pytest.mark.parametrize("ways", [("bertjax", "huggingface"), ("huggingface", "bertjax")])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_embeddings_survive_the_way_there_and_back(settings, ways, tmp_path):
    first = bert = make_bert(settings, cased=True)
    for to in ways:
        api.convert(bert, tmp_path / to, to)
        bert = bertjax.load(tmp_path / to)
        np.testing.assert_array_equal(bert.embed(TEXTS), first.embed(TEXTS))


@pytest.mark.slow
@pytest.mark.parametrize("cased", [True, False], ids=["cased", "uncased"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sentence_transformers_embeds_the_same(settings, cased, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    bert = make_bert(settings, cased)
    bert.save_huggingface(tmp_path / "model")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(bert.embed(TEXTS), model.encode(TEXTS), atol=1e-5)


def test_a_checkpoint_with_the_default_is_no_folder_of_sentence_transformers(tmp_path):
    make_bert(MEAN).save_huggingface(tmp_path / "model")
    assert not (tmp_path / "model" / "modules.json").exists()


def test_a_run_with_damaged_settings_is_refused(tmp_path):
    api.convert(make_bert(EmbeddingSettings("cls")), tmp_path / "run", "bertjax")
    file = tmp_path / "run" / "embedding.json"
    file.write_text(json.dumps(dataclasses.asdict(MEAN) | {"pooling": "sum"}))
    with pytest.raises(UserError, match=r"embedding.json: pooling: expected one of mean, cls, max"):
        bertjax.load(tmp_path / "run")
