"""The compiled side of a run: mesh, optimizer, layout of the state, and the jitted step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import optax
from jax.sharding import Mesh

from bertjax.config import Config
from bertjax.train.mesh import make_mesh, validate_batches
from bertjax.train.optimizer import learning_rate, make_optimizer
from bertjax.train.state import State, abstract_state, state_shardings
from bertjax.train.step import Figures, make_train_step

if TYPE_CHECKING:
    from bertjax.train.objective import Objective


@dataclass(frozen=True)
class Program:
    """Everything that depends on the config and the devices but not on any data.

    Attributes:
        mesh: the devices as a grid (data, fsdp, tensor).
        optimizer: at a learning rate of 1.
        state: shape, dtype and sharding of every array of the state.
        shardings: how the state lies on the mesh.
        step: `(state, batch, key) -> (state, figures)`, jitted; donates the state.
    """

    mesh: Mesh
    optimizer: optax.GradientTransformationExtraArgs
    state: State
    shardings: State
    step: Callable[[State, dict[str, jax.Array], jax.Array], tuple[State, Figures]]


def make_program(
    objective: "Objective", config: Config, devices: Sequence[Any] | None = None
) -> Program:
    """Lays an objective's training out over `devices` (default: all); compiles nothing yet.

    Raises:
        UserError: mesh, batch and parameters do not fit together.
    """
    mesh = make_mesh(config.mesh, devices)
    validate_batches(config, mesh.size)
    optimizer = make_optimizer(config.optimizer)
    state = abstract_state(objective.init, optimizer)
    shardings = state_shardings(state, optimizer, objective.axes, mesh)
    step = make_train_step(
        objective.loss,
        optimizer,
        learning_rate(config),
        config.train,
        shardings,
    )
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        shardings,
    )
    return Program(mesh, optimizer, state, shardings, step)
