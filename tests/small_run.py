"""A run of four steps on made-up text: what commands and exports are tried on."""

from pathlib import Path

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from bertjax.text.prepare import prepare
from bertjax.train.pretrain import pretrain
from tests.text.corpora import made_up_documents, silent, small_settings, write_corpus

CONFIG = Config(
    model=ModelConfig(
        num_layers=2, hidden_size=16, num_heads=2, intermediate_size=32, max_length=64
    ),
    data=DataConfig(length=32),
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=2),
    train=TrainConfig(steps=4, batch_size=8),
)
OPTIONS = (  # the model again, for the command line
    *("--model.num_layers=2", "--model.hidden_size=16", "--model.num_heads=2"),
    *("--model.intermediate_size=32", "--model.max_length=64", "--data.length=32"),
    *("--train.steps=2", "--train.batch_size=8", "--optimizer.warmup_steps=1"),
)


def make_data(folder: Path) -> Path:
    """Writes a corpus and `data` into the folder; returns `data`."""
    corpus = write_corpus(folder / "text.txt", made_up_documents(80))
    prepare(small_settings(corpus, folder / "data"), silent)
    return folder / "data"


def train(data: Path, run: Path) -> None:
    """Trains on it."""
    pretrain(CONFIG, data, run)
