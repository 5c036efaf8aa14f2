"""One training step: gradients over microbatches, a guarded update, and its figures.

Only jax and optax are needed here; the loss is any function of (params, batch, key) that returns
sums and counts by metric name.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bertjax.config import TrainConfig
from bertjax.train.gradients import (
    Figures,
    Loss,
    gather_updated,
    gradients,
    means,
    total_loss,
)
from bertjax.train.mesh import batch_sharding, replicated, update_shardings
from bertjax.train.state import State


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformationExtraArgs,
    rate: Callable[[jax.Array], jax.Array],
    settings: TrainConfig,
    shardings: State,
) -> Callable[[State, dict[str, jax.Array], jax.Array], tuple[State, Figures]]:
    """The jitted step `(state, batch, key) -> (state, figures)`; it donates the state.

    The figures are float32 scalars on the device: `loss`, every metric's mean, `learning_rate`,
    `gradient_norm`, the batch's `tokens` (real ones) and `positions`, and the two counts of skipped
    steps. Every random draw of a step is keyed by (key, step) and, inside the loss, by row number.
    With `settings.deterministic` the same inputs give the same bits on a GPU too; elsewhere they do
    anyway. `shardings`: how the state lies on the mesh, from `state_shardings`.
    """
    mesh = shardings["step"].mesh
    whole = replicated(mesh)

    def train_step(
        state: State, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[State, Figures]:
        """The next state, and what there is to tell about the step."""
        real = batch["pair_ids"] > 0
        rows = batch | {"row_ids": jnp.arange(real.shape[0], dtype=jnp.int32)}
        step_key = jax.random.fold_in(key, state["step"])
        params = state["params"]
        updated = update_shardings(params, shardings["params"])
        found = gradients(
            loss,
            params,
            rows,
            step_key,
            settings.accumulation,
            shardings["params"],
            updated,
            settings.gradient_dtype,
        )
        step_rate = rate(state["step"])
        norm = optax.tree.norm(found.gradients)
        mean_loss = total_loss(found.sums, found.counts)
        finite = jnp.isfinite(norm) & jnp.isfinite(mean_loss)
        state = guarded_update(state, found.gradients, finite, optimizer, step_rate, updated)
        with jax.named_scope("new_weights"):
            state["params"] = gather_updated(state["params"], updated, shardings["params"])
        figures = _present_means(found.sums, found.counts) | {
            "loss": mean_loss,
            "learning_rate": step_rate,
            "gradient_norm": norm,
        }
        figures |= _counted(state, real)
        return state, figures

    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(shardings, batch_sharding(mesh), whole),
        out_shardings=(shardings, whole),
        compiler_options={"xla_gpu_deterministic_ops": True} if settings.deterministic else None,
    )


def _counted(state: State, real: jax.Array) -> Figures:
    """What a step counts, float32 or int32 scalars; `real` [batch, length], False for padding."""
    return {
        "tokens": jnp.sum(real, dtype=jnp.float32),
        "positions": jnp.float32(real.size),
        "skipped_steps": state["skipped_steps"],
        "skipped_in_a_row": state["skipped_in_a_row"],
    }


def guarded_update(
    state: State,
    found: Any,
    finite: jax.Array,
    optimizer: optax.GradientTransformationExtraArgs,
    rate: jax.Array,
    updated: Any,
) -> State:
    """The next state; if loss or gradients are not finite only its counters change.

    Every device updates the part of the parameters that `updated` (a sharding for each) gives it.
    """
    place = lambda params: jax.lax.with_sharding_constraint(params, updated)  # noqa: E731
    params, moments = place(state["params"]), state["optimizer"]
    updates, moments = optimizer.update(found, moments, params, finite=finite)
    new_params = optax.apply_updates(params, jax.tree.map(lambda update: rate * update, updates))
    kept = jax.tree.map(lambda n, o: jnp.where(finite, n, o), new_params, params)
    with jax.named_scope("new_weights"):
        kept = place(kept)
    return {
        "params": kept,
        "optimizer": moments,
        "step": state["step"] + 1,
        "skipped_steps": state["skipped_steps"] + ~finite,
        "skipped_in_a_row": jnp.where(finite, 0, state["skipped_in_a_row"] + 1),
    }


def _present_means(sums: Figures, counts: Figures) -> Figures:
    """Every metric's mean; NaN where nothing was counted, which the log writes as null."""
    found = means(sums, counts)
    return {name: jnp.where(counts[name] > 0, found[name], jnp.nan) for name in found}
