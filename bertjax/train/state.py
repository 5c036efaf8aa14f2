"""What a run carries from step to step: made, laid out over the mesh, or taken from elsewhere."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from bertjax.errors import UserError
from bertjax.train.digest import named_leaves
from bertjax.train.mesh import optimizer_shardings, param_shardings, replicated

State = dict[str, Any]
"""`params`, `optimizer` and the int32 scalars `step`, `skipped_steps`, `skipped_in_a_row`."""


def new_state(params: Any, optimizer: optax.GradientTransformation) -> State:
    """The state before step 0."""
    return {
        "params": params,
        "optimizer": optimizer.init(params),
        "step": jnp.int32(0),
        "skipped_steps": jnp.int32(0),
        "skipped_in_a_row": jnp.int32(0),
    }


def abstract_state(
    init: Callable[[jax.Array], Any], optimizer: optax.GradientTransformation
) -> State:
    """Shapes and dtypes of the state of a model that `init` makes; computes nothing."""
    return jax.eval_shape(lambda key: new_state(init(key), optimizer), jax.random.key(0))


def state_shardings(
    abstract: State, optimizer: optax.GradientTransformation, axes: Any, mesh: Mesh
) -> State:
    """How the state lies on the mesh; raises UserError as `param_shardings` does."""
    params = param_shardings(abstract["params"], axes, mesh)
    moments = optimizer_shardings(optimizer, abstract["params"], params, mesh)
    whole = dict.fromkeys(("step", "skipped_steps", "skipped_in_a_row"), replicated(mesh))
    return {"params": params, "optimizer": moments} | whole


def initial_state(
    init: Callable[[jax.Array], Any],
    optimizer: optax.GradientTransformation,
    seed: int,
    shardings: State,
) -> State:
    """A fresh state; the same numbers on every mesh."""
    make = jax.jit(lambda key: new_state(init(key), optimizer), out_shardings=shardings)
    return make(named_key(seed, "init"))


def state_from_params(
    params: Any, abstract: State, optimizer: optax.GradientTransformation, shardings: State
) -> State:
    """A state that starts from given parameters; the caller's arrays stay usable.

    Raises:
        UserError: the parameters are not those of the model that is to be trained.
    """
    _check_params(params, abstract["params"])
    make = jax.jit(lambda params: new_state(params, optimizer), out_shardings=shardings)
    on_host = jax.tree.map(np.asarray, params)  # what several processes can put on their devices
    return make(jax.device_put(on_host, shardings["params"]))


def reset_optimizer(
    state: State, optimizer: optax.GradientTransformation, shardings: State
) -> State:
    """The same parameters and counters with a fresh optimizer."""
    make = jax.jit(optimizer.init, out_shardings=shardings["optimizer"])
    return state | {"optimizer": make(state["params"])}


def named_key(seed: int, name: str) -> jax.Array:
    """The random key for one use of a run's seed."""
    return jax.random.key(zlib.crc32(f"{name} {seed}".encode()))


def _check_params(params: Any, expected: Any) -> None:
    found, wanted = (
        {name: tuple(leaf.shape) for name, leaf in named_leaves(tree).items()}
        for tree in (params, expected)
    )
    for name in wanted | found:
        if found.get(name) != wanted.get(name):
            raise UserError(
                f"the initial weights do not fit the config: {name} is {found.get(name)}, "
                f"the config asks for {wanted.get(name)}"
            )
