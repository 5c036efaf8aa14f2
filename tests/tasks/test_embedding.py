"""Sentence embeddings: what they are, and that nothing around a sentence changes them."""

import dataclasses
import time

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.tasks import sentence_rows
from bertjax.tasks.embedding import MEAN, EmbeddingSettings, _made_ahead, embed, embed_all
from tests.tasks.small_bert import CONFIG, PARAMS, TOKENIZER, sentences

LENGTHS = [5, 1, 0, 40, 130, 12, 70, 3, 3, 29]
TEXTS = sentences(LENGTHS)


def vectors(texts, **changes):
    settings = dataclasses.replace(MEAN, **changes)
    return embed_all(PARAMS, CONFIG, TOKENIZER, texts, settings).vectors


def hidden_by_pytorch(text):
    """Hugging Face's last hidden states of one sentence alone: [tokens, hidden]."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.reference import reference_model

    ids = [TOKENIZER.classifier_id, *TOKENIZER.encode(text), TOKENIZER.separator_id]
    with torch.no_grad():
        return reference_model(CONFIG, PARAMS).bert(torch.tensor([ids])).last_hidden_state[0]


@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda hidden: hidden.mean(0)),
        ("cls", lambda hidden: hidden[0]),
        ("max", lambda hidden: hidden.max(0).values),
    ],
)
def test_pooling_equals_pytorchs_of_each_sentence_alone(pooling, pool):
    found = vectors(TEXTS, pooling=pooling)
    assert (found.shape, found.dtype) == ((len(TEXTS), 36), np.float32)
    for vector, text in zip(found, TEXTS, strict=True):
        np.testing.assert_allclose(vector, pool(hidden_by_pytorch(text)).numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_sentence_has_the_same_embedding_alone_and_among_others(pooling):
    together = vectors(TEXTS, pooling=pooling, normalize=True)
    for number, text in enumerate(TEXTS):
        alone = vectors([text], pooling=pooling, normalize=True)
        np.testing.assert_allclose(alone, together[number : number + 1], atol=1e-6)


def test_rows_come_in_the_order_of_the_texts():
    found = vectors(TEXTS)
    np.testing.assert_allclose(vectors(TEXTS[::-1]), found[::-1], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_a_stream_cut_into_windows_gives_the_same_as_one_window(monkeypatch):
    whole = vectors(TEXTS)
    monkeypatch.setattr(sentence_rows, "_WINDOW_SENTENCES", 4)
    monkeypatch.setattr(sentence_rows, "_CHUNK_SENTENCES", 2)
    parts = list(embed(PARAMS, CONFIG, TOKENIZER, iter(TEXTS), MEAN))
    assert [len(part.vectors) for part in parts] == [4, 4, 2]
    np.testing.assert_allclose(np.concatenate([part.vectors for part in parts]), whole, atol=1e-5)


def test_progress_is_told_after_every_batch():
    told = []
    list(embed(PARAMS, CONFIG, TOKENIZER, iter(sentences([140] * 40)), MEAN, told.append))
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == 40


def test_normalized_vectors_have_length_one_and_the_same_direction():
    plain, unit = vectors(TEXTS), vectors(TEXTS, normalize=True)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, plain / lengths, atol=1e-6)


@pytest.mark.parametrize(("max_length", "words"), [(None, 148), (12, 10), (1000, 148)])
def test_a_long_sentence_is_its_beginning_and_counted(max_length, words):
    settings = EmbeddingSettings(max_length=max_length)
    long, short = sentences([160, 4])
    found = embed_all(PARAMS, CONFIG, TOKENIZER, [long, short], settings)
    assert found.cut == 1
    beginning = " ".join(long.split()[:words])
    np.testing.assert_allclose(found.vectors[:1], vectors([beginning]), atol=1e-6)


def test_the_prompt_stands_in_front_and_capitals_can_be_lowered():
    plain = vectors(["bab kod sul"])
    np.testing.assert_array_equal(vectors(["sul"], prompt="bab kod "), plain)
    np.testing.assert_array_equal(vectors(["Bab KOD sul"], lower_case=True), plain)


def test_no_texts_give_no_rows():
    assert vectors([]).shape == (0, 36)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(UserError, match="unknown pooling 'median': choose one of mean, cls, max"):
        vectors(TEXTS, pooling="median")


def test_one_item_is_made_ahead_and_none_once_nobody_takes_them():
    made = []
    items = _made_ahead(made.append(number) or number for number in range(9))
    assert next(items) == 0
    for _ in range(200):
        if len(made) == 2:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1]
    items.close()
    time.sleep(0.05)
    assert made == [0, 1]
