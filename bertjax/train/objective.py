"""Masked tokens plus next sentence: what a BERT is pretrained for (Devlin et al. 2018, 3.1).

An objective is plain functions and the weights' axis names; the training loop knows no more.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.config import Config, MaskingConfig, ModelConfig
from bertjax.model import bert
from bertjax.model.positions import classifier_positions
from bertjax.train.ahead import started_ahead
from bertjax.train.masking import Masked, MaskingTable, mask_tokens, prediction_count

Batch = dict[str, Any]
Figures = dict[str, jax.Array]

_EVALUATION = MaskingConfig(rate=0.15, unit="token")  # whatever the training masking is
_EVALUATION_SEED = 0
_MASKS, _DROPOUT = range(2)
_TOTALS = (
    *("mlm_loss", "mlm_accuracy", "mlm_count", "nsp_loss", "nsp_accuracy", "nsp_count"),
    "examples",
)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Everything that the training loop asks of what it trains.

    Attributes:
        init: a key to fresh params, any pytree of float32 arrays; pure, so that it can be jitted.
        batch: a step number to a dict of arrays, rows first.
        loss: (params, batch, key) to sums and counts by metric name, float32 scalars; the batch
            has `row_ids` too. What is minimised is the sum of sums[name] / counts[name] over the
            names that end in `_loss`.
        evaluate: params to figures by name; None for one that does not apply.
        axes: the params' tree with a tuple of logical axis names for each array.
        criterion: what `evaluate` gave to the number that the best checkpoint has least of; None
            where it cannot be told.
    """

    init: Callable[[jax.Array], Any]
    batch: Callable[[int], Batch]
    loss: Callable[[Any, Batch, jax.Array], tuple[Figures, Figures]]
    evaluate: Callable[[Any], dict[str, float | int | None]]
    axes: Any
    criterion: Callable[[dict[str, float | int | None]], float | None]


def mlm_nsp_objective(
    config: Config,
    table: MaskingTable,
    batch: Callable[[int], Batch],
    validation: Sequence[Batch],
) -> Objective:
    """The pretraining objective of BERT; without pairs the model has no head for them.

    Args:
        config: its `model.vocab_size` is set.
        table: from `masking.masking_table`.
        batch: the training batch of a step.
        validation: every validation batch, all of one size, on the devices that train.
    """
    heads, dtype = pretraining_heads(config), compute_dtype(config)
    loss = functools.partial(
        pretraining_loss, config=config.model, table=table, masking=config.masking, dtype=dtype
    )
    evaluate = functools.partial(
        evaluate_pretraining, config=config.model, table=table, batches=validation, dtype=dtype
    )
    return Objective(
        init=functools.partial(bert.init_params, config.model, heads=heads),
        batch=batch,
        loss=loss,
        evaluate=evaluate,
        axes=bert.logical_axes(config.model, heads),
        criterion=sum_of_losses,
    )


def pretraining_heads(config: Config) -> tuple[str, ...]:
    """The heads that pretraining trains: none for pairs where there are none."""
    return ("mlm_head",) if config.data.pairs == "none" else bert.PRETRAINING_HEADS


def sum_of_losses(figures: dict[str, float | int | None]) -> float | None:
    """Of the figures whose names end in `_loss`; None if none of them is known."""
    losses = [figures[name] for name in figures if name.endswith("_loss")]
    known = [loss for loss in losses if loss is not None]
    return sum(known) if known else None


def compute_dtype(config: Config) -> Any:
    """Of the matrix products; unless set, float32 on a CPU, where it is as fast, else bfloat16."""
    default = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(config.train.compute_dtype or default)


def pretraining_loss(
    params: Any,
    batch: Batch,
    key: jax.Array,
    *,
    config: ModelConfig,
    table: MaskingTable,
    masking: MaskingConfig,
    dtype: Any,
) -> tuple[Figures, Figures]:
    """Masks the batch and sums its losses; every draw depends on (key, row id) alone."""
    masked = mask_batch(key, batch, table, masking)
    dropout_key = jax.random.fold_in(key, _DROPOUT)
    return masked_loss(params, batch, masked, dropout_key, config=config, dtype=dtype)


def mask_batch(key: jax.Array, batch: Batch, table: MaskingTable, masking: MaskingConfig) -> Masked:
    """The masks that `pretraining_loss` uses with this key."""
    predictions = prediction_count(batch["token_ids"].shape[1], masking.rate)
    mask_key = jax.random.fold_in(key, _MASKS)
    return mask_tokens(mask_key, batch, table, masking.rate, masking.unit, predictions)


def masked_loss(
    params: Any,
    batch: Batch,
    masked: Masked,
    dropout_key: jax.Array | None,
    *,
    config: ModelConfig,
    dtype: Any,
) -> tuple[Figures, Figures]:
    """Sums and counts of both losses and both accuracies over a masked batch.

    Only the predicted positions and each pair's first go through the last layer, and only the
    predicted ones through the vocabulary. A tie for the largest logit counts as right. A head that
    the params lack counts nothing.
    """
    labels = batch["next_sentence_labels"]
    starts = classifier_positions(batch["pair_ids"], labels.shape[1])
    read = {"mlm_head": masked.positions, "nsp_head": starts}
    read = [positions for head, positions in read.items() if head in params]
    hidden = bert.forward(
        params,
        config,
        masked.token_ids,
        batch["segment_ids"],
        batch["pair_ids"],
        compute_dtype=dtype,
        dropout_key=dropout_key,
        row_ids=batch["row_ids"],
        positions=jnp.concatenate(read, axis=1),
    ).hidden
    mlm = nsp = (jnp.float32(0),) * 3
    if "mlm_head" in params:
        at_masks = hidden[:, : masked.positions.shape[1]]
        logits = bert.mlm_logits(params, config, at_masks)
        mlm = _classification(logits, masked.labels, masked.weights)
    if "nsp_head" in params:
        pooled = bert.pooled(params, config, hidden[:, -starts.shape[1] :])
        present = (labels >= 0).astype(jnp.float32)
        logits = bert.nsp_logits(params, config, pooled)
        nsp = _classification(logits, jnp.maximum(labels, 0), present)

    sums = {"mlm_loss": mlm[0], "nsp_loss": nsp[0], "mlm_accuracy": mlm[1], "nsp_accuracy": nsp[1]}
    counts = {name: mlm[2] if name.startswith("mlm") else nsp[2] for name in sums}
    return sums, counts


def evaluate_pretraining(
    params: Any,
    *,
    config: ModelConfig,
    table: MaskingTable,
    batches: Sequence[Batch],
    dtype: Any,
    told: Callable[[int], None] = lambda _: None,
) -> dict[str, float | int | None]:
    """Both losses and accuracies over all `batches`: 15% single tokens, fixed masks, no dropout.

    `examples` is the number of sentence pairs. A head without any label gives None. `told` hears
    after each batch how many are done.
    """
    step = _evaluation_step(config, table, jnp.dtype(dtype))
    started = started_ahead(step(params, batch, np.int32(n)) for n, batch in enumerate(batches))
    found = []
    for figures in started:
        found.append(jax.device_get(figures))
        told(len(found))
    totals = {name: sum(float(figures[name]) for figures in found) for name in _TOTALS}
    means = {
        name: totals[name] / totals[f"{head}_count"] if totals[f"{head}_count"] else None
        for head in ("mlm", "nsp")
        for name in (f"{head}_loss", f"{head}_accuracy")
    }
    return means | {"examples": int(totals["examples"])}


@functools.lru_cache(maxsize=8)
def _evaluation_step(config: ModelConfig, table: MaskingTable, dtype: Any) -> Callable[..., Any]:
    """The jitted (params, batch, number of the batch) -> `_TOTALS` by name."""

    @jax.jit
    def step(params: Any, batch: Batch, number: jax.Array) -> Figures:
        """Sums and counts of one batch, its rows numbered through all batches."""
        rows = batch["pair_ids"].shape[0]
        row_ids = number * rows + jnp.arange(rows, dtype=jnp.int32)
        batch = batch | {"row_ids": row_ids}
        masked = mask_batch(jax.random.key(_EVALUATION_SEED), batch, table, _EVALUATION)
        sums, counts = masked_loss(params, batch, masked, None, config=config, dtype=dtype)
        examples = jnp.sum(jnp.max(batch["pair_ids"], axis=1))
        counts = {f"{head}_count": counts[f"{head}_loss"] for head in ("mlm", "nsp")}
        return sums | counts | {"examples": examples}

    return step


def _classification(
    logits: jax.Array, labels: jax.Array, weights: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Weighted sums of cross entropy and of right answers, and the sum of the weights.

    Args:
        logits: float32 [..., classes].
        labels: int32 [...].
        weights: float32 [...], 0 for what does not count.
    """
    losses, hits = _cross_entropy(logits, labels)
    return jnp.sum(losses * weights), jnp.sum(hits * weights), jnp.sum(weights)


@jax.custom_vjp
def _cross_entropy(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Losses, and 1 where no logit is larger than the label's, both float32 [...]."""
    return _cross_entropy_forward(logits, labels)[0]


def _cross_entropy_forward(
    logits: jax.Array, labels: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], Any]:
    largest = jnp.max(logits, axis=-1)
    total = jnp.sum(jnp.exp(logits - largest[..., None]), axis=-1)
    normaliser = largest + jnp.log(total)
    right = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    hits = (right >= largest).astype(jnp.float32)
    return (normaliser - right, hits), (logits, labels, normaliser)


def _cross_entropy_backward(saved: Any, gradients: Any) -> tuple[jax.Array, None]:
    """Softmax less one at the label, from the logits alone: nothing of their size is kept."""
    logits, labels, normaliser = saved
    is_label = jnp.arange(logits.shape[-1]) == labels[..., None]
    softmax = jnp.exp(logits - normaliser[..., None])
    return (softmax - is_label) * gradients[0][..., None], None


_cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)
