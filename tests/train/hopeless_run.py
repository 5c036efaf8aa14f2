"""A run that is given up while a slow step is under way: python -m tests.train.hopeless_run RUN."""

import dataclasses
import sys

import jax
import jax.numpy as jnp

from bertjax.errors import UserError
from bertjax.train.checkpoint import Checkpoints
from bertjax.train.loop import fit
from tests.train.toy import toy_config, toy_objective


def main(run: str) -> int:
    objective = toy_objective(poison=frozenset(range(100)))

    def loss(params, batch, key):
        sums, counts = objective.loss(params, batch, key)
        square = jnp.full((200, 200), params["down"]["kernel"][0])
        slow = jax.lax.fori_loop(0, 400, lambda _, found: jnp.tanh(found @ found), square)
        slow = jax.lax.stop_gradient(slow).sum()
        return sums | {"mlm_loss": sums["mlm_loss"] + 1e-9 * slow}, counts

    config = toy_config(40, checkpoint_every=40, evaluate_every=40)
    checkpoints = Checkpoints(f"{run}/checkpoints", 2)
    try:
        fit(dataclasses.replace(objective, loss=loss), config, run, checkpoints=checkpoints)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
