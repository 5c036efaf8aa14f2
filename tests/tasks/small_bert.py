"""A small model with weights far from their initial values, and a vocabulary of made-up words."""

import jax

from bertjax.config import ModelConfig
from bertjax.model import bert
from bertjax.text.wordpiece import WordPieceSettings, make_wordpiece
from tests.model.conftest import perturbed

WORDS = [first + second for first in ("ba", "ko", "su", "ti") for second in "bdfgklmnprst"]
TOKENIZER = make_wordpiece(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], WordPieceSettings(cased=True), "here"
)
CONFIG = ModelConfig(
    num_layers=2,
    hidden_size=36,
    num_heads=4,
    intermediate_size=80,
    vocab_size=TOKENIZER.vocab_size,
    max_length=150,
)
PARAMS = perturbed(bert.init_params(CONFIG, jax.random.key(0)))


def sentences(lengths, seed=0):
    """Texts of these numbers of words, one token each."""
    words = [WORDS[(seed + 7 * index * index) % len(WORDS)] for index in range(max(lengths) + 1)]
    return [
        " ".join(words[(number + place) % len(words)] for place in range(length))
        for number, length in enumerate(lengths)
    ]
