"""Small labelled files that a small model can learn, and a checkpoint to start from."""

import random
from collections.abc import Sequence
from pathlib import Path

from bertjax.config import (
    Classification,
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from bertjax.train.initial import InitialWeights
from tests.tasks.small_bert import CONFIG, PARAMS, TOKENIZER, WORDS

HALF = len(WORDS) // 2


def write_table(file: Path, rows: int, seed: int) -> Path:
    """Texts whose words all come from one half of the vocabulary, which is the label."""
    return write_words(file, (WORDS[:HALF], WORDS[HALF:]), rows, seed)


def write_words(file: Path, words: Sequence[Sequence[str]], rows: int, seed: int) -> Path:
    """A table of texts, each of words of one kind; labels are `first` and `second`."""
    draw = random.Random(seed)
    lines = ["sentence\tlabel"]
    for _ in range(rows):
        label = draw.randrange(2)
        text = " ".join(draw.choices(words[label], k=draw.randint(2, 12)))
        lines.append(f"{text}\t{('first', 'second')[label]}")
    file.write_text("\n".join(lines) + "\n")
    return file


def pretrained() -> InitialWeights:
    """The small model, as if it had been pretrained."""
    return InitialWeights(PARAMS, CONFIG, TOKENIZER, "a small model")


def config(epochs: float | None = 2, **train: object) -> Config:
    """Two classes, small batches, a large learning rate."""
    return Config(
        model=ModelConfig(dropout=0.0),
        task=Classification(),
        data=DataConfig(length=32),
        optimizer=OptimizerConfig(learning_rate=4e-3, warmup_share=0.1),
        train=TrainConfig(**{"epochs": epochs, "batch_size": 8, "log_every": 1} | train),
    )
