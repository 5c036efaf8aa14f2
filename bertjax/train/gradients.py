"""Gradients of the mean loss over a batch that is spread over devices.

Every device runs the loss on its own rows and adds up its own microbatches; then each parameter's
gradient, whole and once, is summed over the devices, which keep only the parts that they update.
Written with `jax.shard_map`, so that no compiler decides what is summed, where and how often: a
model's activations never travel. Over a mesh axis `tensor` the compiler partitions inside each
device group.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from bertjax.model.sharding import BATCH_AXES, TENSOR_AXIS
from bertjax.train.collectives import gather, in_two_stages, scatter_sum

Figures = dict[str, jax.Array]
Rows = dict[str, jax.Array]
Loss = Callable[[Any, Rows, jax.Array], tuple[Figures, Figures]]


class Gradients(NamedTuple):
    """Gradients of the mean loss over a whole batch, and its sums and counts by metric name."""

    gradients: Any
    sums: Figures
    counts: Figures


def gradients(
    loss: Loss,
    params: Any,
    batch: Rows,
    key: jax.Array,
    accumulation: int,
    held: Any,
    updated: Any,
    dtype: Any = jnp.float32,
) -> Gradients:
    """Gradients of `total_loss` over the batch, taken in `accumulation` parts on every device.

    Args:
        loss: (params, rows, key) to sums and counts, each a sum over rows.
        params, batch, key: of the loss; the batch is split over `BATCH_AXES`.
        accumulation: parts of a device's rows, one after the other; they must divide.
        held: a NamedSharding per parameter: where `params` are.
        updated: the same, where the gradients are wanted, from `mesh.update_shardings`.
        dtype: the gradients' in the sum over the devices; they come back as float32.
    """
    mesh = jax.tree.leaves(held)[0].mesh
    cut = tuple(name for name in BATCH_AXES if mesh.shape[name] > 1)
    if not cut:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return own_gradients(loss, params, batch, key, accumulation, lambda counts: counts)
    two_stages, held, updated = in_two_stages(mesh), _specs(held), _specs(updated)

    def on_a_device(params: Any, rows: Rows, key: jax.Array) -> tuple[Any, Figures, Figures]:
        """This device's part of the gradients, and the whole batch's sums and counts."""
        total = lambda figures: jax.lax.psum(figures, cut)  # noqa: E731
        with jax.named_scope("gather_weights"):
            whole = jax.tree.map(lambda part, spec: _gathered(part, spec, two_stages), params, held)
        found = own_gradients(loss, whole, rows, key, accumulation, total)
        with jax.named_scope("sum_gradients"):
            parts = jax.tree.map(
                lambda own, spec: _summed(own.astype(dtype), spec, cut, two_stages).astype(
                    own.dtype
                ),
                found.gradients,
                updated,
            )
        return parts, total(found.sums), found.counts

    nowhere = PartitionSpec()
    takes, gives = (held, PartitionSpec(BATCH_AXES), nowhere), (updated, nowhere, nowhere)
    run = _on_each_device(on_a_device, mesh, takes, gives)
    return Gradients(*run(params, batch, key))


def gather_updated(params: Any, updated: Any, held: Any) -> Any:
    """Parameters as `held` again, after every device has updated its own part of them.

    Args:
        params: as `updated` says.
        updated, held: of `gradients`.
    """
    mesh = jax.tree.leaves(held)[0].mesh
    if mesh.shape["data"] == 1:
        return params
    two_stages, parts, wholes = in_two_stages(mesh), _specs(updated), _specs(held)

    def on_a_device(params: Any) -> Any:
        return jax.tree.map(
            lambda part, spec, whole: part if spec == whole else _over_data(part, spec, two_stages),
            params,
            parts,
            wholes,
        )

    run = _on_each_device(on_a_device, mesh, (parts,), wholes)
    # Inside, nothing says where the parts of the axis tensor lie.
    return jax.lax.with_sharding_constraint(run(params), held)


def own_gradients(
    loss: Loss,
    params: Any,
    rows: Rows,
    key: jax.Array,
    accumulation: int,
    total: Callable[[Figures], Figures],
) -> Gradients:
    """The part that some rows have in the gradients: of their sums over the counts of all rows.

    A first pass over the microbatches only counts (the counts do not depend on the parameters, so
    the compiler drops the forward pass); the second adds up gradients. The result is that of one
    batch, whatever the counts of each part.

    Args:
        total: the counts of these rows to those of all devices' rows.
    """

    def share(params: Any, part: Rows, counts: Figures | None) -> Any:
        sums, own_counts = loss(params, part, key)
        counts = total(jax.lax.stop_gradient(own_counts)) if counts is None else counts
        return total_loss(sums, counts), (sums, counts)

    if accumulation == 1:
        found, (sums, counts) = jax.grad(share, has_aux=True)(params, rows, None)
        return Gradients(found, sums, counts)

    parts = microbatches(rows, accumulation)
    first = jax.tree.map(lambda rows: rows[0], parts)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(loss, params, first, key))

    def count(sum_so_far: Figures, part: Rows) -> tuple[Figures, None]:
        return jax.tree.map(jnp.add, sum_so_far, loss(params, part, key)[1]), None

    counts = total(jax.lax.scan(count, zeros[1], parts)[0])

    def accumulate(sum_so_far: Any, part: Rows) -> tuple[Any, None]:
        found, (sums, _) = jax.grad(share, has_aux=True)(params, part, counts)
        return jax.tree.map(jnp.add, sum_so_far, (found, sums)), None

    start = (jax.tree.map(jnp.zeros_like, params), zeros[0])
    (found, sums), _ = jax.lax.scan(accumulate, start, parts)
    return Gradients(found, sums, counts)


def microbatches(rows: Rows, accumulation: int) -> Rows:
    """[rows, ...] -> [accumulation, rows / accumulation, ...]; part j holds rows j, j + k, ..."""
    return jax.tree.map(
        lambda array: array.reshape(-1, accumulation, *array.shape[1:]).swapaxes(0, 1), rows
    )


def means(sums: Figures, counts: Figures) -> Figures:
    """Every metric's mean; 0 where nothing was counted. A count may be a sum of weights."""
    some = {name: counts[name] > 0 for name in sums}
    return {
        name: jnp.where(some[name], sums[name] / jnp.where(some[name], counts[name], 1), 0)
        for name in sums
    }


def total_loss(sums: Figures, counts: Figures) -> jax.Array:
    """What is minimised: the sum of the means of the metrics whose name ends in `_loss`."""
    found = means(sums, counts)
    return sum((found[name] for name in found if name.endswith("_loss")), jnp.float32(0))


def _gathered(parameter: jax.Array, spec: PartitionSpec, two_stages: bool) -> jax.Array:
    """The whole parameter from every device's part of it.

    One that the loss reads in bfloat16 alone is sent so on a TPU, whose compiler rounds the parts.
    """
    for axis, names in _cut_axes(spec):
        parameter = gather(parameter, names, axis, two_stages)
    return parameter


def _over_data(part: jax.Array, spec: PartitionSpec, two_stages: bool) -> jax.Array:
    """A part that is cut over data, and perhaps over fsdp before that, put together over data."""
    (axis,) = (axis for axis, names in _cut_axes(spec) if "data" in names)
    return gather(part, ("data",), axis, two_stages)


def _summed(
    own: jax.Array, spec: PartitionSpec, over: tuple[str, ...], two_stages: bool
) -> jax.Array:
    """The sum of every device's `own` over mesh axes; each device keeps the part `spec` says."""
    for axis, names in _cut_axes(spec):
        own = scatter_sum(own, names, axis, two_stages)
        over = tuple(name for name in over if name not in names)
    return jax.lax.psum(own, over) if over else own


def _cut_axes(spec: PartitionSpec) -> list[tuple[int, tuple[str, ...]]]:
    """The axes of an array that are cut, each with the mesh axes over which."""
    named = [(name,) if isinstance(name, str) else name for name in spec]
    return [(axis, names) for axis, names in enumerate(named) if names]


def _specs(shardings: Any) -> Any:
    """How each array lies over the axes that the functions on a device see: all but tensor."""
    return jax.tree.map(
        lambda sharding: PartitionSpec(
            *(None if name == TENSOR_AXIS else name for name in sharding.spec)
        ),
        shardings,
    )


def _on_each_device(function: Any, mesh: Mesh, takes: Any, gives: Any) -> Any:
    """`function` of a device's own parts; the compiler splits what it does over the axis tensor."""
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=takes,
        out_specs=gives,
        axis_names=set(BATCH_AXES if mesh.shape[TENSOR_AXIS] > 1 else mesh.axis_names),
        check_vma=False,
    )
