"""Trains the toy objective in a process of its own: python -m tests.train.toy_run RUN STEPS."""

import sys
import time

from bertjax.train.checkpoint import Checkpoints
from bertjax.train.loop import fit
from tests.train.toy import toy_config, toy_objective


def main(run: str, steps: int) -> None:
    config = toy_config(steps, checkpoint_every=20, evaluate_every=50, keep_checkpoints=2)
    objective = toy_objective()

    def stream(step):
        while True:
            time.sleep(0.01)  # slow enough to be stopped on the way
            yield objective.batch(step)
            step += 1

    checkpoints = Checkpoints(f"{run}/checkpoints", keep=2)
    fit(objective, config, run, checkpoints=checkpoints, stream=stream)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
