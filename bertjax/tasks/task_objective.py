"""A labelled task as an objective of the training loop."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from bertjax.config import Config, ModelConfig, QuestionAnswering, TaskConfig
from bertjax.model import bert
from bertjax.model.dropout import Dropout
from bertjax.model.encoder import SITES_PER_LAYER
from bertjax.tasks.task import Logits, Task
from bertjax.train.objective import Batch, Figures, Objective, compute_dtype
from bertjax.train.optimizer import layer_depth


def task_objective(
    task: Task,
    config: Config,
    batch: Callable[[int], Batch],
    evaluate: Callable[[Any], dict[str, float | int | None]],
) -> Objective:
    """Fine-tuning as the training loop sees it (Devlin et al. 2018, section 4).

    Args:
        task: heads, loss and metrics.
        config: its model is the checkpoint's.
        batch: the training batch of a step.
        evaluate: params to the figures of the dev file, the metric among them.
    """
    assert config.task is not None
    decisive = decisive_figure(config.task)
    return Objective(
        init=functools.partial(bert.init_params, config.model, heads=task.heads),
        batch=batch,
        loss=functools.partial(
            _loss,
            task=task,
            config=config.model,
            dtype=compute_dtype(config),
            frozen_layers=config.optimizer.frozen_layers,
        ),
        evaluate=evaluate,
        axes=bert.logical_axes(config.model, task.heads),
        criterion=lambda figures: None if (found := figures[decisive]) is None else -found,
    )


def decisive_figure(settings: TaskConfig) -> str:
    """The figure by which the best step is chosen: `task.metric`.

    Where a threshold for no answer will be found on the dev file, the metric with the best one.
    """
    calibrated = isinstance(settings, QuestionAnswering) and settings.unanswerable
    return f"best_{settings.metric}" if calibrated else settings.metric


def task_logits(
    params: Any,
    batch: Batch,
    *,
    task: Task,
    config: ModelConfig,
    dtype: Any,
    dropout_key: jax.Array | None = None,
) -> Logits:
    """The task's logits of a packed batch; with `dropout_key` the batch has `row_ids` too.

    The head's input goes through dropout as well, as in google-research/bert run_classifier.py.
    """
    row_ids = batch.get("row_ids")
    encoded = bert.forward(
        params,
        config,
        batch["token_ids"],
        batch["segment_ids"],
        batch["pair_ids"],
        compute_dtype=dtype,
        dropout_key=dropout_key,
        row_ids=row_ids,
        positions=None if task.positions is None else task.positions(batch),
    )
    site = 1 + config.num_layers * SITES_PER_LAYER  # the first that the encoder does not use
    dropout = functools.partial(Dropout(config.dropout, dropout_key, row_ids), site=site)
    return task.logits(params, config, encoded.hidden, dropout)


def _loss(
    params: Any,
    batch: Batch,
    key: jax.Array,
    *,
    task: Task,
    config: ModelConfig,
    dtype: Any,
    frozen_layers: int,
) -> tuple[Figures, Figures]:
    if frozen_layers:
        params = _without_gradients(params, frozen_layers)
    logits = task_logits(params, batch, task=task, config=config, dtype=dtype, dropout_key=key)
    return task.loss(logits, batch)


def _without_gradients(params: Any, frozen_layers: int) -> Any:
    """Nothing is computed backwards through the embeddings and the lowest layers."""

    def stop(path: tuple[Any, ...], value: jax.Array) -> jax.Array:
        depth = layer_depth(path)
        frozen = depth is not None and depth <= frozen_layers
        return jax.lax.stop_gradient(value) if frozen else value

    return jax.tree_util.tree_map_with_path(stop, params)
