"""What a checkpoint holds, whatever its format."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertjax.config import Config, ModelConfig
from bertjax.tasks.embedding import MEAN, EmbeddingSettings

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

EXTRAS = "huggingface"  # in a history: what the `config.json` of an import said beyond our settings


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """Weights with all that belongs to them; two are equal only if they are one object.

    Attributes:
        experiment: what they were trained with; of somebody else's, the model alone is theirs.
        tokenizer: turns text into the model's ids and back; its vocabulary is the model's.
        params: nested dict of float32 arrays; heads that the checkpoint lacks are absent.
        step: how many training steps the weights have seen; 0 where the checkpoint does not say.
        source: what was opened, in words.
        history: what a run's checkpoint says of its training; of somebody else's, its `origin`
            and `EXTRAS`.
        embedding: how a sentence is embedded where `embed` is told nothing else: the mean, or what
            a sentence-transformers folder says.
    """

    experiment: Config
    tokenizer: "Tokenizer"
    params: dict[str, Any]
    step: int
    source: str
    history: dict[str, Any]
    embedding: EmbeddingSettings = MEAN

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.source}>"

    @property
    def config(self) -> ModelConfig:
        """The encoder's sizes, its vocabulary size filled in."""
        return self.experiment.model
