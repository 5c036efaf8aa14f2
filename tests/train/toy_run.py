"""Trains the toy objective in a process of its own: python -m tests.train.toy_run RUN STEPS.

With JAX_COORDINATOR_ADDRESS and its like in the environment it joins others.
"""

import sys
import time

import jax

from bertjax.train.checkpoint import Checkpoints
from bertjax.train.loop import fit
from bertjax.train.processes import join_processes
from tests.train.toy import toy_config, toy_objective


def main(run: str, steps: int) -> None:
    join_processes()
    config = toy_config(steps, checkpoint_every=20, evaluate_every=50, keep_checkpoints=2)
    objective, hosts, host = toy_objective(), jax.process_count(), jax.process_index()

    def stream(step):
        while True:
            time.sleep(0.01)  # slow enough to be stopped on the way
            rows = 16 // hosts
            batch = objective.batch(step)
            yield {name: batch[name][host * rows : (host + 1) * rows] for name in batch}
            step += 1

    checkpoints = Checkpoints(f"{run}/checkpoints", keep=2)
    fit(objective, config, run, checkpoints=checkpoints, stream=stream)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
