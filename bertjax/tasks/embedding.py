"""Sentence embeddings: the encoder's last hidden states, pooled over each sentence."""

import functools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import normalizers

from bertjax.config import ModelConfig
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.model.positions import classifier_positions
from bertjax.tasks.sentence_rows import (
    best_batch_tokens,
    most_sentences,
    pack_sentences,
    read_windows,
)
from bertjax.text.backend import BackendTokenizer
from bertjax.text.huggingface import lower_cased
from bertjax.train.ahead import started_ahead

if TYPE_CHECKING:
    from bertjax.text.tokenizer import Tokenizer

Pooling = Literal["mean", "cls", "max"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class EmbeddingSettings:
    """How a checkpoint turns a sentence into a vector.

    Attributes:
        pooling: over the sentence's positions, special tokens included: their mean, the first one
            (`[CLS]`), or the largest value of each dimension.
        normalize: divide by the vector's Euclidean length.
        max_length: tokens of a sentence, special ones included; None: the model's positions.
        prompt: put in front of every sentence.
        lower_case: lower-case every sentence first, but for special tokens written in it.
        refused: what the checkpoint does besides, in a line, and bertjax does not; empty: nothing.
    """

    pooling: Pooling = "mean"
    normalize: bool = False
    max_length: int | None = None
    prompt: str = ""
    lower_case: bool = False
    refused: str = ""


MEAN = EmbeddingSettings()


class Embedded(NamedTuple):
    """Embeddings of consecutive sentences."""

    vectors: np.ndarray  # float32 [sentences, hidden]
    cut: int  # how many of the sentences were too long and are cut


def embed(
    params: dict[str, Any],
    config: ModelConfig,
    tokenizer: "Tokenizer",
    texts: Iterable[str],
    settings: EmbeddingSettings,
    told: Callable[[int], object] | None = None,
) -> Iterator[Embedded]:
    """Embeds a stream of sentences of any length, in its order and in bounded memory.

    Args:
        params: the encoder's weights.
        config: its sizes.
        tokenizer: the model's.
        texts: one sentence each.
        settings: the pooling and what belongs to it.
        told: called with the number of sentences done so far, after every batch.

    Raises:
        UserError: an unknown pooling.
    """
    if settings.pooling not in get_args(Pooling):
        known = ", ".join(get_args(Pooling))
        raise UserError(f"unknown pooling {settings.pooling!r}: choose one of {known}")
    encoder = jax.device_put({name: params[name] for name in ("embeddings", "layers")})
    run = functools.partial(_embed_rows, encoder, config, settings.pooling, settings.normalize)
    texts = (settings.prompt + text for text in texts)
    if settings.lower_case and tokenizer.cased:
        tokenizer, texts = _in_lower_case(tokenizer, texts)
    windows = read_windows(texts, tokenizer, longest(config, settings))
    done = 0
    for window in _made_ahead(windows):
        vectors = np.empty((len(window.lengths), config.hidden_size), np.float32)
        batches = pack_sentences(window, tokenizer.pad_id, best_batch_tokens())
        started = started_ahead((batch, run(batch.token_ids, batch.pair_ids)) for batch in batches)
        for batch, result in started:
            vectors[batch.sentences] = np.asarray(result)[batch.rows, batch.slots]
            done += len(batch.sentences)
            if told is not None:
                told(done)
        yield Embedded(vectors, window.cut)


def embed_all(
    params: dict[str, Any],
    config: ModelConfig,
    tokenizer: "Tokenizer",
    texts: Iterable[str],
    settings: EmbeddingSettings,
) -> Embedded:
    """`embed` of all texts at once."""
    vectors, cut = [np.zeros((0, config.hidden_size), np.float32)], 0
    for part in embed(params, config, tokenizer, texts, settings):
        vectors.append(part.vectors)
        cut += part.cut
    return Embedded(np.concatenate(vectors), cut)


def longest(config: ModelConfig, settings: EmbeddingSettings) -> int:
    """Tokens of the longest sentence that is not cut, special ones included."""
    return min(settings.max_length or config.max_length, config.max_length)


def _in_lower_case(
    tokenizer: "Tokenizer", texts: Iterable[str]
) -> tuple["Tokenizer", Iterable[str]]:
    """What reads these texts in lower case; a model of SentencePiece finds no special tokens."""
    if isinstance(tokenizer, BackendTokenizer):
        return lower_cased(tokenizer), texts
    return tokenizer, map(normalizers.Lowercase().normalize_str, texts)


def _made_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made on a thread while the one before it is used.

    The thread holds up no ending: it may be waiting for a pipe.
    """
    made = queue.SimpleQueue[tuple[Item | None, BaseException | None]]()
    wanted, ended = threading.Semaphore(1), threading.Event()

    def make() -> None:
        """Makes an item each time one is wanted; None stands for the end, or for an error."""
        item, error = None, None
        while wanted.acquire() and not ended.is_set():
            try:
                item = next(items, None)
            except BaseException as raised:
                item, error = None, raised
            made.put((item, error))
            if item is None:
                return

    threading.Thread(target=make, daemon=True).start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            wanted.release()
            yield item
    finally:
        ended.set()
        wanted.release()


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _embed_rows(
    params: dict[str, Any],
    config: ModelConfig,
    pooling: Pooling,
    normalize: bool,
    token_ids: jax.Array,
    pair_ids: jax.Array,
) -> jax.Array:
    """Float32 [rows, sentences, hidden] of packed rows [rows, length]."""
    segment_ids = jnp.zeros_like(token_ids)
    most = most_sentences(token_ids.shape[1])
    read = classifier_positions(pair_ids, most) if pooling == "cls" else None
    hidden = bert.forward(params, config, token_ids, segment_ids, pair_ids, positions=read).hidden
    vectors = hidden if pooling == "cls" else _POOL[pooling](hidden, pair_ids, most)
    if normalize:
        lengths = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors = vectors / jnp.maximum(lengths, 1e-12)
    return vectors


def _mean(hidden: jax.Array, pair_ids: jax.Array, most: int) -> jax.Array:
    own = _membership(pair_ids, most).astype(hidden.dtype)
    totals = jnp.einsum("bsl,blh->bsh", own, hidden, precision=jax.lax.Precision.HIGHEST)
    return totals / jnp.maximum(jnp.sum(own, axis=-1, keepdims=True), 1.0)


def _largest(hidden: jax.Array, pair_ids: jax.Array, most: int) -> jax.Array:
    own = _membership(pair_ids, most)[..., None]  # [batch, sentences, length, 1]
    return jnp.max(hidden[:, None], axis=2, where=own, initial=-jnp.inf)


def _membership(pair_ids: jax.Array, most: int) -> jax.Array:
    """Bool [batch, sentences, length]: which positions are each sentence's."""
    return pair_ids[:, None, :] == jnp.arange(1, most + 1)[None, :, None]


_POOL = {"mean": _mean, "max": _largest}
