"""Predictions of records in blocks, each packed into rows of one length."""

from typing import Any, cast

import numpy as np

from bertjax.config import Config, DataConfig, ModelConfig
from bertjax.data.examples import Example
from bertjax.tasks.predictions import Predictor


def test_blocks_of_other_lengths_share_a_few_lengths_of_rows_so_that_few_are_compiled():
    config = Config(ModelConfig(vocab_size=50), DataConfig(length=200))
    predictor = Predictor(cast(Any, None), config, pad_id=0, labelled=False)
    lengths = []
    for longest in (10, 64, 65, 100, 128, 129, 200):
        ids = np.ones(longest, np.int32)
        batch, _ = predictor._packed([Example(ids, ids, {})])
        lengths.append(batch["token_ids"].shape[1])
    assert lengths == [64, 64, 128, 128, 128, 200, 200]
