"""Predictions of records in blocks, each packed into rows of one length."""

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import jax
import numpy as np
import pytest

from bertjax.config import Config, DataConfig, ModelConfig, Regression
from bertjax.data.examples import Example
from bertjax.model import bert
from bertjax.tasks import predictions
from bertjax.tasks.classification import HEADS
from bertjax.tasks.predictions import Predictor
from bertjax.tasks.regression import regression_task
from bertjax.tasks.task import Notes, TextInputs
from tests.tasks import small_bert
from tests.tasks.small_bert import TOKENIZER, sentences

CONFIG = Config(ModelConfig(vocab_size=50), DataConfig(length=200))


def test_blocks_of_other_lengths_share_a_few_lengths_of_rows_so_that_few_are_compiled():
    predictor = Predictor(cast(Any, None), CONFIG, pad_id=0, labelled=False)
    lengths = []
    for longest in (10, 64, 65, 100, 128, 129, 200):
        ids = np.ones(longest, np.int32)
        batch, _ = predictor._packed([Example(ids, ids, {})])
        lengths.append(batch["token_ids"].shape[1])
    assert lengths == [64, 64, 128, 128, 128, 200, 200]


@pytest.mark.parametrize(
    ("tokens", "windows", "sizes"),
    [
        (8, 1, [1024, 976]),
        (500, 1, [525, 525, 525, 425]),
        (500, 10, [53] * 37 + [39]),
        (500, 1000, [1] * 2000),
    ],
)
def test_a_block_ends_at_1024_records_or_2_to_the_18_tokens_of_windows(tokens, windows, sizes):
    ids = np.zeros(tokens, np.int32)
    task = SimpleNamespace(examples=lambda _: [Example(ids, ids, {})] * windows)
    predictor = Predictor(cast(Any, task), CONFIG, pad_id=0, labelled=False)
    blocks = list(predictor._blocks(range(2000)))
    assert [len(records) for records, _ in blocks] == sizes
    assert [record for records, _ in blocks for record in records] == list(range(2000))


def test_predictions_do_not_depend_on_where_blocks_end(tmp_path, monkeypatch):
    texts = sentences([3, 40, 1, 17, 5, 22, 9, 60])
    file = tmp_path / "rows.tsv"
    file.write_text("sentence\n" + "\n".join(texts) + "\n")
    model = dataclasses.replace(small_bert.CONFIG, labels=("score",))
    config = Config(model, DataConfig(length=64))
    task = regression_task(
        Regression(text="sentence", second=None), TextInputs(TOKENIZER, 64, model.num_segments)
    )
    predictor = Predictor(task, config, TOKENIZER.pad_id, labelled=False)
    params = bert.init_params(model, jax.random.key(0), HEADS)

    def scores():
        blocks = list(predictor(params, task.read(file, False, Notes())))
        found = [each["score"] for block in blocks for each in block.predictions]
        return len(blocks), found

    count, whole = scores()
    monkeypatch.setattr(predictions, "_TOKENS", 50)
    more, parts = scores()
    assert (count, more) == (1, 3)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
