"""What the encoder takes: any whole numbers that fit it, and one clear line for all else."""

import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.tasks.encoder_inputs import encoder_inputs

CONFIG = ModelConfig(vocab_size=50, max_length=8)
IDS = [[1, 2, 3], [4, 5, 0]]
MASK = [[1, 1, 1], [1, 1, 0]]


def inputs(token_ids, segment_ids=None, attention_mask=None, pair_ids=None):
    return encoder_inputs(CONFIG, token_ids, segment_ids, attention_mask, pair_ids)


def test_what_is_not_given_is_one_segment_without_padding():
    row = inputs(IDS)
    np.testing.assert_array_equal(row.token_ids, IDS)
    assert not row.segment_ids.any()
    assert (row.pair_ids == 1).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint64, np.int8, np.int64, np.float32])
def test_a_mask_of_any_type_is_taken(dtype):
    given = np.array(MASK, dtype)
    for mask in (given, jnp.asarray(given), given.tolist()):
        row = inputs(IDS, attention_mask=mask)
        np.testing.assert_array_equal(row.pair_ids, MASK)
        assert {array.dtype for array in row} == {np.dtype(np.int32)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"token_ids": [[3, -1, 49]]}, "token_ids must lie between 0 and 49; found -1"),
        ({"token_ids": [[3, 50]]}, "token_ids must lie between 0 and 49; found 50"),
        ({"token_ids": [[2**32 + 3]]}, "found 4294967299"),
        ({"token_ids": np.array([[2**63]], np.uint64)}, "found 9223372036854775808"),
        ({"token_ids": [[3, 1.5]]}, "token_ids must be whole numbers; found 1.5"),
        ({"token_ids": [[np.nan]]}, "token_ids must be whole numbers; found nan"),
        ({"token_ids": [["a"]]}, "token_ids must be whole numbers"),
        ({"token_ids": None}, "token_ids must be given"),
        ({"token_ids": 3}, "share one shape"),
        ({"token_ids": [1, 2]}, "share one shape"),
        ({"token_ids": [[1, 2], [3]]}, "token_ids: the rows have different lengths"),
        ({"token_ids": [[]]}, "rows without tokens"),
        ({"token_ids": [[1] * 9]}, "rows of 9 tokens do not fit the model's 8 positions"),
        ({"token_ids": IDS, "segment_ids": [[0]]}, "segment_ids (1, 1)"),
        ({"token_ids": [[1]], "segment_ids": [[2]]}, "segment_ids must lie between 0 and 1"),
        ({"token_ids": IDS, "attention_mask": 1}, "attention_mask ()"),
        ({"token_ids": IDS, "attention_mask": [1, 0]}, "attention_mask (2,)"),
        ({"token_ids": [[1, 2]], "attention_mask": [[False, True]]}, "padding must stand at the"),
        ({"token_ids": [[1]], "attention_mask": [[2]]}, "attention_mask must lie between 0 and 1"),
        ({"token_ids": [[1]], "pair_ids": [[-1]]}, "pair_ids must lie between 0 and"),
        ({"token_ids": IDS, "attention_mask": MASK, "pair_ids": MASK}, "give attention_mask or"),
    ],
)
def test_what_the_encoder_cannot_take_is_refused(arguments, message):
    with pytest.raises(UserError) as caught:
        inputs(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
