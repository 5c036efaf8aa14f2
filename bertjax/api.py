"""`bertjax.load`: a checkpoint opened for use, with its config, tokenizer and weights."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.files import located
from bertjax.interop.checkpoint import Checkpoint
from bertjax.interop.destination import write_folder
from bertjax.interop.huggingface_export import write_huggingface
from bertjax.interop.native_export import write_run
from bertjax.interop.opening import open_checkpoint
from bertjax.model import bert as model
from bertjax.tasks import embedding as sentence_embedding
from bertjax.tasks import fill_mask as cloze
from bertjax.tasks import next_sentence as following
from bertjax.tasks.embedding import EmbeddingSettings, Pooling
from bertjax.tasks.encoder_inputs import encoder_inputs

if TYPE_CHECKING:
    from bertjax.tasks.predict_file import FileModel
    from bertjax.train.initial import InitialWeights

_log = logging.getLogger(__name__)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Output:
    """What the encoder says about a batch; all float32, None where the model lacks the head.

    Attributes:
        hidden_states: num_layers + 1 arrays [batch, length, hidden]; the first is the embeddings.
        pooled: [batch, hidden], of the row's first position.
        mlm_logits: [batch, length, vocab_size], without the vocabulary's padding.
        nsp_logits: [batch, 2]; index 0 means "is next".
        classification_logits: [batch, labels].
        tagging_logits: [batch, length, labels].
        span_logits: [batch, length, 2]; index 0 means "starts here", 1 "ends here".
        attention: num_layers arrays [batch, heads, length, length], or None if not asked for.
    """

    hidden_states: tuple[jax.Array, ...]
    pooled: jax.Array | None
    mlm_logits: jax.Array | None
    nsp_logits: jax.Array | None
    classification_logits: jax.Array | None
    tagging_logits: jax.Array | None
    span_logits: jax.Array | None
    attention: tuple[jax.Array, ...] | None


class Bert(Checkpoint):
    """A loaded encoder: a checkpoint (see there for what it holds), and what can be asked of it."""

    def apply(
        self,
        token_ids: Any,
        segment_ids: Any = None,
        attention_mask: Any = None,
        *,
        pair_ids: Any = None,
        attention: bool = False,
    ) -> Output:
        """Runs the encoder and its heads in float32, without dropout.

        Args:
            token_ids: whole numbers [batch, length], special tokens included.
            segment_ids: 0 for A and 1 for B [batch, length]; default all 0.
            attention_mask: 1 or True for text, 0 or False for padding at the end [batch, length];
                default all 1.
            pair_ids: instead of `attention_mask`, which packed pair a position belongs to, 1, 2,
                ...; 0 for padding [batch, length].
            attention: return the attention probabilities too.

        Raises:
            UserError: shapes that differ, ids that are no whole numbers or outside the vocabulary,
                rows longer than the model's positions, or both a mask and pair ids.
        """
        row = encoder_inputs(self.config, token_ids, segment_ids, attention_mask, pair_ids)
        return _apply(self.params, *row, self.config, attention)

    def fill_mask(
        self, text: str, top_k: int = 5, *, second: str | None = None
    ) -> list[list[tuple[str, float]]]:
        """For every `[MASK]` of the text, its `top_k` likeliest tokens and their probabilities.

        Args:
            text: with `[MASK]` where a word is missing; each stands for one token.
            top_k: candidates per mask.
            second: a text that follows it, as the model's second segment; it may have masks too.

        Raises:
            UserError: no `[MASK]`, `top_k` below 1 or above the vocabulary, a text longer than the
                model's positions or not valid Unicode, or a model without the head.
        """
        self._require("mlm_head", "tells no masked words")
        _check_texts(text, *([] if second is None else [second]))
        return cloze.fill_mask(self.params, self.config, self.tokenizer, text, top_k, second)

    def next_sentence(self, first: str, second: str) -> float:
        """The probability that `second` follows `first`.

        Raises:
            UserError: together they are longer than the model's positions, or the model lacks the
                head.
        """
        self._require("nsp_head", "tells no next sentence")
        _check_texts(first, second)
        return following.next_sentence(self.params, self.config, self.tokenizer, first, second)

    def embed(self, sentences: Iterable[str], pooling: str | None = None) -> np.ndarray:
        """One vector per sentence, in order: float32 [sentences, hidden].

        A sentence longer than the model takes is cut; how many were is logged as a warning.

        Args:
            sentences: texts; an empty one has a vector too.
            pooling: "mean" over a sentence's positions, "cls" for the first of them, or "max";
                None for the checkpoint's own. Normalization, where the checkpoint says so, stays.

        Raises:
            UserError: another pooling, something else than texts in valid Unicode, or a checkpoint
                with a step of its own that bertjax lacks, and no pooling to do without it.
        """
        if isinstance(sentences, str) or not isinstance(sentences, Iterable):
            raise UserError("embed takes a list of texts")
        sentences = list(sentences)
        _check_texts(*sentences)
        settings = self.embedding_settings(pooling)
        found = sentence_embedding.embed_all(
            self.params, self.config, self.tokenizer, sentences, settings
        )
        if found.cut:
            longest = sentence_embedding.longest(self.config, settings)
            _log.warning("%d of %d sentences cut to %d tokens", found.cut, len(sentences), longest)
        return found.vectors

    def embedding_settings(self, pooling: str | None = None) -> EmbeddingSettings:
        """The checkpoint's own settings, or these with another pooling.

        Raises:
            UserError: its own have a step that bertjax lacks, and no pooling is asked for instead.
        """
        if pooling is None and self.embedding.refused:
            raise UserError(f"{self.embedding.refused}; choose a pooling to do without")
        if pooling is None:
            return self.embedding
        return dataclasses.replace(self.embedding, pooling=cast(Pooling, pooling), refused="")

    def evaluate(self, data: str | None = None, corpus: str | None = None) -> dict[str, Any]:
        """Masked-word and next-sentence figures on DATA's validation split, or on raw text.

        Those of a head that the model lacks are None. Of a fine-tuned model, the metrics of its
        task on `data`, a labelled file. Tells its progress on standard error.

        Raises:
            UserError: it has neither head; not exactly one of `data` and `corpus` is given (of a
                fine-tuned model: `data` alone); or what is given cannot be used.
        """
        from bertjax.train.evaluate import evaluate

        if self.experiment.task is not None:
            if data is None or corpus is not None:
                raise UserError(
                    "a fine-tuned model is evaluated on a labelled file: give data alone"
                )
            return self.report(data)["figures"]
        if not {"mlm_head", "nsp_head"} & self.params.keys():
            raise UserError(f"nothing to evaluate: {self.source} (no mlm_head and no nsp_head)")
        if (data is None) == (corpus is None):
            raise UserError("this model is evaluated on one of the two: give data or corpus")
        return evaluate(self.params, self.experiment, self.tokenizer, data=data, corpus=corpus)

    def report(self, file: str | Path) -> dict[str, Any]:
        """What a fine-tuned model makes of a labelled file, as in a run's `report.json`.

        Tells its progress on standard error.

        Returns:
            `figures`, which `evaluate` gives, `details` (classes, a confusion matrix, a table of
            entity types, samples of mistakes, which quote the file), `task`, `metric`, `data`.

        Raises:
            UserError: it is not fine-tuned, or the file cannot be used.
        """
        if self.experiment.task is None:
            raise UserError(f"nothing to report: {self.source} (bertjax finetune trains a task)")
        return self._file_model().report(Path(file))

    def predict(self, file: str | Path, output: str | Path) -> dict[str, int]:
        """What a fine-tuned model makes of a file: one JSON object per record, in order.

        Returns:
            `records`, and how often something was repaired or left out, by what it was.

        Raises:
            UserError: it is not fine-tuned, or one of the files cannot be used.
        """
        if self.experiment.task is None:
            raise UserError(f"nothing to predict: {self.source} (bertjax finetune trains a task)")
        return self._file_model().predict(Path(file), Path(output))

    def save_huggingface(self, folder: str | Path) -> None:
        """Writes a new folder that `transformers` loads with its Auto classes; see `convert`."""
        convert(self, folder, "huggingface")

    def _file_model(self) -> "FileModel":
        from bertjax.tasks.predict_file import FileModel

        return FileModel(self.params, self.experiment, self.tokenizer)

    def _require(self, head: str, consequence: str) -> None:
        if head not in self.params:
            raise UserError(f"without {head} the model {consequence}: {self.source}")


def _check_texts(*texts: Any) -> None:
    """Raises UserError for what is no text, or half of a character that UTF-16 writes as two."""
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UserError(f"text {number} of {len(texts)} is no text but {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"text {number} of {len(texts)} is not valid Unicode at character {error.start}"
            ) from error


def load(path: str | Path) -> Bert:
    """Opens a checkpoint, whatever its format; `source` of the result says what was found.

    Args:
        path: a run (its last sound step, or the best one where it was fine-tuned), one of its step
            folders, a Hugging Face folder, or a Google folder or the prefix of a checkpoint in one.

    Raises:
        UserError: no such folder, not a checkpoint, one of another architecture, or one that is
            incomplete or damaged.
    """
    return Bert(**vars(open_checkpoint(path)))


def load_initial(path: str | Path) -> "InitialWeights":
    """Opens a checkpoint as what training starts from; `path` and what it raises as of `load`."""
    from bertjax.train.initial import InitialWeights

    bert = load(path)
    source = f"{Path(path).absolute().name} ({bert.source})"  # not the folders above it
    return InitialWeights(jax.device_get(bert.params), bert.config, bert.tokenizer, source)


def convert(bert: Bert, destination: str | Path, to: Literal["huggingface", "bertjax"]) -> None:
    """Writes a checkpoint as a new folder.

    A local one appears whole or not at all. In a bucket `config.json`, without which it is no
    checkpoint, comes last, and what was uploaded is removed if the rest cannot be.

    Args:
        bert: the model.
        destination: must not exist, or be empty.
        to: "huggingface" for `config.json`, `model.safetensors`, the tokenizer's files and a model
            card; "bertjax" for a run with the weights alone.

    Raises:
        UserError: something is there, or it cannot be written.
    """
    place = located(destination, "destination")
    if to == "bertjax":
        write_folder(place, lambda folder: write_run(folder, bert))
    else:
        write_folder(place, lambda folder: write_huggingface(folder, bert, place.name))


@functools.partial(jax.jit, static_argnames=("config", "attention"))
def _apply(
    params: dict,
    token_ids: jax.Array,
    segment_ids: jax.Array,
    pair_ids: jax.Array,
    config: ModelConfig,
    attention: bool,
) -> Output:
    encoded = model.forward(
        params,
        config,
        token_ids,
        segment_ids,
        pair_ids,
        compute_dtype=jnp.float32,
        all_hidden=True,
        attention=attention,
    )

    def of(head: str, function: Callable[..., jax.Array], inputs: Any) -> jax.Array | None:
        return function(params, config, inputs) if head in params else None

    hidden = encoded.hidden
    pooled = of("pooler", model.pooled, hidden[:, 0])
    mlm_logits = of("mlm_head", model.mlm_logits, hidden)
    return Output(
        hidden_states=encoded.hidden_states,
        pooled=pooled,
        mlm_logits=None if mlm_logits is None else mlm_logits[..., : config.vocab_size],
        nsp_logits=of("nsp_head", model.nsp_logits, pooled),
        classification_logits=of("classification_head", model.classification_logits, pooled),
        tagging_logits=of("tagging_head", model.tagging_logits, hidden),
        span_logits=of("span_head", model.span_logits, hidden),
        attention=encoded.attentions if attention else None,
    )
