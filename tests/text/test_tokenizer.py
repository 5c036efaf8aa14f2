"""What tokenizers of both kinds refuse."""

import pytest

from bertjax.errors import UserError
from bertjax.text.tokenizer import train_sentencepiece, train_wordpiece

TEXT = ["서울은 대한민국의 수도이다.", "The capital of France is Paris."] * 20


@pytest.fixture(scope="module", params=["wordpiece", "sentencepiece"])
def tokenizer(request):
    if request.param == "wordpiece":
        return train_wordpiece(TEXT, 100, cased=True)
    return train_sentencepiece(TEXT, 36, cased=True)


@pytest.mark.parametrize("text", ["Paris \ud800", 7, None])
@pytest.mark.parametrize("method", ["encode", "encode_batch", "encode_with_offsets"])
def test_what_is_no_text_in_valid_unicode_is_refused(tokenizer, method, text):
    with pytest.raises(UserError, match="is no text in valid Unicode"):
        getattr(tokenizer, method)([text] if method == "encode_batch" else text)


@pytest.mark.parametrize("index", [-1, 10**6])
def test_an_id_that_no_piece_has_is_refused(tokenizer, index):
    with pytest.raises(UserError, match=f"no piece has the id {index}; there are"):
        tokenizer.decode([5, index])
