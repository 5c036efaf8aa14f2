"""One training step: gradients over microbatches, a guarded update, and its figures.

Only jax and optax are needed here; the loss is any function of (params, batch, key) that returns
sums and counts by metric name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bertjax.train.mesh import BATCH_AXES, batch_sharding, replicated
from bertjax.train.state import State

Figures = dict[str, jax.Array]
Loss = Callable[[Any, dict[str, jax.Array], jax.Array], tuple[Figures, Figures]]


class Gradients(NamedTuple):
    """Gradients of the mean loss over a whole batch, and its sums and counts by metric name."""

    gradients: Any
    sums: Figures
    counts: Figures


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformationExtraArgs,
    rate: Callable[[jax.Array], jax.Array],
    accumulation: int,
    mesh: Mesh,
    state_shardings: State,
    deterministic: bool = False,
) -> Callable[[State, dict[str, jax.Array], jax.Array], tuple[State, Figures]]:
    """The jitted step `(state, batch, key) -> (state, figures)`; it donates the state.

    The figures are float32 scalars on the device: `loss`, every metric's mean, `learning_rate`,
    `gradient_norm`, the batch's `tokens` (real ones) and `positions`, and the two counts of skipped
    steps. Every random draw of a step is keyed by (key, step) and, inside the loss, by row number.
    `deterministic`: on a GPU too the same inputs give the same bits; elsewhere they do anyway.
    """

    def train_step(
        state: State, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[State, Figures]:
        """The next state, and what there is to tell about the step."""
        real = batch["pair_ids"] > 0
        rows = batch | {"row_ids": jnp.arange(real.shape[0], dtype=jnp.int32)}
        step_key = jax.random.fold_in(key, state["step"])
        found = gradients(loss, state["params"], rows, step_key, accumulation, mesh)
        step_rate = rate(state["step"])
        norm = optax.tree.norm(found.gradients)
        mean_loss = total_loss(found.sums, found.counts)
        finite = jnp.isfinite(norm) & jnp.isfinite(mean_loss)
        state = guarded_update(state, found.gradients, finite, optimizer, step_rate)
        figures = _present_means(found.sums, found.counts) | {
            "loss": mean_loss,
            "learning_rate": step_rate,
            "gradient_norm": norm,
            "tokens": jnp.sum(real, dtype=jnp.float32),
            "positions": jnp.float32(real.size),
            "skipped_steps": state["skipped_steps"],
            "skipped_in_a_row": state["skipped_in_a_row"],
        }
        return state, figures

    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(state_shardings, batch_sharding(mesh), replicated(mesh)),
        out_shardings=(state_shardings, replicated(mesh)),
        compiler_options={"xla_gpu_deterministic_ops": True} if deterministic else None,
    )


def gradients(
    loss: Loss,
    params: Any,
    batch: dict[str, jax.Array],
    key: jax.Array,
    accumulation: int,
    mesh: Mesh,
) -> Gradients:
    """Gradients of `total_loss` over the batch, taken in `accumulation` parts.

    A first pass over the parts only counts (the counts do not depend on the parameters, so the
    compiler drops the forward pass); the second adds gradients of sums over total counts. The
    result is that of one batch, whatever the counts of each part.
    """

    def share(params: Any, rows: dict[str, jax.Array], counts: Figures | None) -> Any:
        sums, own_counts = loss(params, rows, key)
        counts = own_counts if counts is None else counts
        return total_loss(sums, counts), (sums, counts)

    if accumulation == 1:
        found, (sums, counts) = jax.grad(share, has_aux=True)(params, batch, None)
        return Gradients(found, sums, counts)

    parts = microbatches(batch, accumulation, mesh)
    first = jax.tree.map(lambda rows: rows[0], parts)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(loss, params, first, key))

    def count(total: Figures, rows: dict[str, jax.Array]) -> tuple[Figures, None]:
        return jax.tree.map(jnp.add, total, loss(params, rows, key)[1]), None

    counts, _ = jax.lax.scan(count, zeros[1], parts)

    def accumulate(total: Any, rows: dict[str, jax.Array]) -> tuple[Any, None]:
        found, (sums, _) = jax.grad(share, has_aux=True)(params, rows, counts)
        return jax.tree.map(jnp.add, total, (found, sums)), None

    start = (jax.tree.map(jnp.zeros_like, params), zeros[0])
    (found, sums), _ = jax.lax.scan(accumulate, start, parts)
    return Gradients(found, sums, counts)


def microbatches(
    batch: dict[str, jax.Array], accumulation: int, mesh: Mesh
) -> dict[str, jax.Array]:
    """[batch, ...] -> [accumulation, batch / accumulation, ...]; part j holds rows j, j + k, ...

    Strided, so that every device keeps the rows that it already has.
    """
    sharding = NamedSharding(mesh, PartitionSpec(None, BATCH_AXES))

    def split(rows: jax.Array) -> jax.Array:
        strided = rows.reshape(-1, accumulation, *rows.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(strided, sharding)

    return jax.tree.map(split, batch)


def guarded_update(
    state: State,
    found: Any,
    finite: jax.Array,
    optimizer: optax.GradientTransformationExtraArgs,
    rate: jax.Array,
) -> State:
    """The next state; if loss or gradients are not finite only its counters change."""
    params, moments = state["params"], state["optimizer"]
    updates, moments = optimizer.update(found, moments, params, finite=finite)
    new_params = optax.apply_updates(params, jax.tree.map(lambda update: rate * update, updates))
    return {
        "params": jax.tree.map(lambda n, o: jnp.where(finite, n, o), new_params, params),
        "optimizer": moments,
        "step": state["step"] + 1,
        "skipped_steps": state["skipped_steps"] + ~finite,
        "skipped_in_a_row": jnp.where(finite, 0, state["skipped_in_a_row"] + 1),
    }


def means(sums: Figures, counts: Figures) -> Figures:
    """Every metric's mean; 0 where nothing was counted."""
    return {name: sums[name] / jnp.maximum(counts[name], 1) for name in sums}


def _present_means(sums: Figures, counts: Figures) -> Figures:
    """Every metric's mean; NaN where nothing was counted, which the log writes as null."""
    found = means(sums, counts)
    return {name: jnp.where(counts[name] > 0, found[name], jnp.nan) for name in found}


def total_loss(sums: Figures, counts: Figures) -> jax.Array:
    """What is minimised: the sum of the means of the metrics whose name ends in `_loss`."""
    found = means(sums, counts)
    return sum((found[name] for name in found if name.endswith("_loss")), jnp.float32(0))
