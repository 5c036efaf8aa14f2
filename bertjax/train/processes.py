"""One run on several hosts."""

import os

import jax

from bertjax.errors import UserError

_NUMBERS = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join_processes() -> None:
    """Joins the other processes of a run where a launcher started several; call it before any jax.

    On a TPU pod slice every host runs the same command and nothing needs to be set. Elsewhere
    JAX_COORDINATOR_ADDRESS (host:port of the first process), JAX_NUM_PROCESSES and JAX_PROCESS_ID
    say who is who.

    Raises:
        UserError: JAX_COORDINATOR_ADDRESS is set without the other two, or they are no numbers.
    """
    if jax.distributed.is_initialized():
        return
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        count, rank = (_number(name) for name in _NUMBERS)
        jax.distributed.initialize(num_processes=count, process_id=rank)
    elif "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        jax.distributed.initialize()


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise UserError(
            f"JAX_COORDINATOR_ADDRESS is set, so {name} must be a number; found {text!r}"
        )
    return int(text)
