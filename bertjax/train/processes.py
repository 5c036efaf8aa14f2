"""One run on several hosts: how its processes find each other."""

import os
import socket
import sys
import threading
from collections import Counter
from typing import Any

import jax

from bertjax.errors import UserError

_ADDRESS, _COUNT, _NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_SIZE, _RANK, _LOCAL_RANK = (f"OMPI_COMM_WORLD_{name}" for name in ("SIZE", "RANK", "LOCAL_RANK"))
_MINUTE_LATER = 60  # jax gives up by aborting the process, with a stack trace


def join_processes(timeout: int = 300) -> None:
    """Joins the other processes of a run where a launcher started several; call it before any jax.

    On Cloud TPU (also under GKE and xpk), under SLURM's `srun` and under Open MPI's `mpirun`
    nothing needs to be set: `jax.distributed.initialize` knows them; of Open MPI from 5 on it knows
    nothing, so it takes JAX_COORDINATOR_ADDRESS (host:port of the first process). Elsewhere that,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID say who is who.

    A process whose others have not come after `timeout` seconds ends with one line and status 1:
    its command may be right, and they may come yet.

    Raises:
        UserError: these variables do not make sense, or the port is taken.
    """
    if jax.distributed.is_initialized():
        return
    explicit = _explicit()
    if explicit or launched_processes() > 1 or _on_tpu():
        _initialize(explicit, timeout)
    counts = Counter(device.process_index for device in jax.devices())
    if len(set(counts.values())) > 1:  # jax's sums over processes fail there
        raise UserError(
            "every process needs as many devices as the others, and they have "
            f"{', '.join(str(counts[number]) for number in sorted(counts))}: hide some "
            "(CUDA_VISIBLE_DEVICES)"
        )
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise UserError(
            f"this host is one of {jax.process_count()} of a TPU slice, and could not find the "
            f"others: set {_ADDRESS}, {_COUNT} and {_NUMBER}"
        )


def launched_processes() -> int:
    """How many processes a launcher started, as far as the environment tells; 1 without one."""
    if _ADDRESS in os.environ:
        return _natural(_COUNT, 1) if _COUNT in os.environ else _of_launcher()
    return _of_launcher()


def require_one_process(command: str) -> None:
    """Refuses to do the same work in every one of several processes.

    Raises:
        UserError: a launcher started several.
    """
    count = launched_processes()
    if count == 1:  # only then: a slice of several hosts would wait here for the others
        count = jax.process_count()
    if count > 1:
        raise UserError(
            f"bertjax {command} runs in one process, and {count} were started: start it once (on a "
            "host of a TPU slice with JAX_PLATFORMS=cpu); bertjax pretrain uses them all"
        )


def _of_launcher() -> int:
    """What Open MPI, SLURM or GKE says."""
    if _SIZE in os.environ:  # before SLURM, which starts Open MPI's daemons
        return int(os.environ[_SIZE])
    if "SLURM_STEP_NODELIST" in os.environ:  # within srun, not only within an allocation
        tasks = os.environ.get("SLURM_NTASKS", "1")  # an interactive step has the allocation's
        return int(os.environ.get("SLURM_STEP_NUM_TASKS", tasks))
    return os.environ.get("TPU_WORKER_HOSTNAMES", "").count(",") + 1 if _on_tpu() else 1


def _of_open_mpi() -> dict[str, Any]:
    """What Open MPI from version 5 on says; nothing for one that jax recognises by itself.

    As there, each process has the one GPU of its number on the host.
    """
    if _SIZE not in os.environ or "OMPI_MCA_orte_hnp_uri" in os.environ:
        return {}
    return {
        "num_processes": int(os.environ[_SIZE]),
        "process_id": int(os.environ[_RANK]),
        "local_device_ids": [int(os.environ[_LOCAL_RANK])],
        "cluster_detection_method": "deactivate",
    }


def _on_tpu() -> bool:
    """Whether jax is to use a TPU: it says so itself where it finds one."""
    return "tpu" in (jax.config.values["jax_platforms"] or "")


def _explicit() -> dict[str, Any]:
    """What the variables say, as arguments of `jax.distributed.initialize`."""
    if _ADDRESS not in os.environ:
        if _of_open_mpi() and _of_launcher() > 1 and not _on_tpu():
            raise UserError(
                f"this mpirun does not say where the first process is: mpirun -x {_ADDRESS}="
                "HOST:PORT ..., with the first process's host and a free port of it"
            )
        return {}
    address = os.environ[_ADDRESS]
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise UserError(f"{_ADDRESS}={address}: must be HOST:PORT of the first process")
    own = _of_open_mpi()
    if _COUNT not in os.environ and _NUMBER not in os.environ and (own or _of_launcher() > 1):
        if own.get("process_id") == 0:
            _require_free(int(port))
        return {"coordinator_address": address} | own
    count, number = _natural(_COUNT, 1), _natural(_NUMBER, 0)
    if number >= count:
        raise UserError(f"{_NUMBER}={number}: {_COUNT}={count} processes are numbered from 0")
    if number == 0:
        _require_free(int(port))
    return {
        "coordinator_address": address,
        "num_processes": count,
        "process_id": number,
        "cluster_detection_method": "deactivate",
    }


def _natural(name: str, least: int) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal() or int(text) < least:
        raise UserError(
            f"{_ADDRESS} is set, so {name} must be a number from {least} on; found {text!r}"
        )
    return int(text)


def _require_free(port: int) -> None:
    """jax would crash where it is taken."""
    try:
        with socket.create_server(("", port)):
            pass
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{_ADDRESS}: port {port} of this host cannot be used ({error}): take another"
        ) from error


def _initialize(explicit: dict[str, Any], timeout: int) -> None:
    watch = threading.Timer(timeout, _give_up, [explicit, timeout])
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(**explicit, initialization_timeout=timeout + _MINUTE_LATER)
    except (ValueError, OSError) as error:  # a TPU that knows of no others, or of no metadata
        if explicit or not _on_tpu():
            raise UserError(f"cannot join the other processes: {error}") from error
    finally:
        watch.cancel()


def _give_up(explicit: dict[str, Any], timeout: int) -> None:
    """Ends this process while jax still waits."""
    who = (
        f"process {explicit['process_id']} of {explicit['num_processes']}, "
        if "process_id" in explicit
        else ""
    )
    at = explicit.get("coordinator_address", "as the launcher says")
    print(
        f"bertjax: {who}coordinator {at}: the processes did not all come together within {timeout} "
        "s; start all of them, and let all reach that address",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
