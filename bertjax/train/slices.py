"""Devices that need not be attached: TPU slices by name, and what is known of their chips."""

import contextlib
import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from bertjax.errors import UserError

_GIB = 2**30
_ALIASES = {"v7x": "tpu7x", "v5litepod": "v5e", "v5lite": "v5e", "v5": "v5p", "v6": "v6e"}
# What keeps libtpu from asking a metadata server which machine this is, from refusing a second
# process on the machine, and from writing warnings about both.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Chip:
    """A kind of chip.

    Attributes:
        memory: bytes of HBM, from cloud.google.com/tpu/docs/system-architecture-tpu-vm.
        clock: hertz; the published peak over the multiply-adds of a cycle. None: not known.
        options: what the compiler's description of a slice has to be told.
    """

    memory: int
    clock: float | None = None
    options: tuple[tuple[str, str], ...] = ()


CHIPS = {
    # Two cores that work as one device, as v4 machines are set up.
    "v4": Chip(32 * _GIB, 1.05e9, (("chip_config_name", "megacore"),)),
    "v5e": Chip(16 * _GIB, 1.503e9),
    "v5p": Chip(95 * _GIB, 1.75e9),
    "v6e": Chip(32 * _GIB, 1.751e9),
    "tpu7x": Chip(192 * _GIB),
}


@dataclass(frozen=True)
class Slice:
    """Devices to compile for.

    Attributes:
        name: as the user would write it again.
        platform: "tpu", "gpu" or "cpu".
        devices: as jax lists them.
        chips: there may be two devices on one.
        memory: bytes that a chip has; None where that is not known.
        clock: hertz of the chip; None where the compiler estimates no cycles.
    """

    name: str
    platform: str
    devices: Sequence[Any]
    chips: int
    memory: int | None
    clock: float | None = None


def find_slice(topology: str) -> Slice:
    """The devices of `v5e:16x16` and the like, of `cpu:8` or of `gpu:4`.

    A TPU slice need not be attached: libtpu describes and compiles for it. CPU devices are made;
    GPUs must be in this machine.

    Raises:
        UserError: there is no such slice, or what it takes is not installed.
    """
    kind, _, shape = topology.partition(":")
    kind = _ALIASES.get(kind, kind)
    if kind in ("cpu", "gpu"):
        return _local_slice(kind, shape, topology)
    if kind not in CHIPS:
        known = ", ".join(f"{name}:..." for name in (*CHIPS, "cpu", "gpu"))
        raise UserError(f"--topology {topology}: no such kind of chip; there are {known}")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology {topology}: the TPU compiler is missing: pip install -e '.[aot]'"
        )
    return _tpu_slice(kind, shape, topology)


def _tpu_slice(kind: str, shape: str, topology: str) -> Slice:
    """What libtpu knows by that name."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    chip = CHIPS[kind]
    try:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=f"{kind}:{shape}", **dict(chip.options)
        )
    except Exception as error:  # jax and libtpu raise several kinds, all about the name
        reason = str(error).splitlines()[0].partition(": ")[2] or str(error).splitlines()[0]
        raise UserError(f"--topology {topology}: no such slice ({reason})") from error
    chips = len({tuple(device.coords) for device in found.devices})
    return Slice(f"{kind}:{shape}", "tpu", found.devices, chips, chip.memory, chip.clock)


def _local_slice(platform: str, count: str, topology: str) -> Slice:
    """Devices of this machine; as many CPU devices as are asked for."""
    if not re.fullmatch("[1-9][0-9]{0,3}", count):
        raise UserError(f"--topology {topology}: write {platform}:N, with 1 to 9999 devices")
    wanted, memory = int(count), None
    if platform == "cpu":
        with contextlib.suppress(RuntimeError):  # made already: there may be enough of them
            jax.config.update("jax_num_cpu_devices", wanted)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // wanted
    try:
        devices = jax.devices(platform)
    except RuntimeError:
        devices = []
    if len(devices) < wanted:
        raise UserError(
            f"--topology {topology}: this machine has {len(devices)} such devices; without them "
            "XLA compiles for TPU slices and CPUs only"
        )
    if platform == "gpu":
        memory = (devices[0].memory_stats() or {}).get("bytes_limit")
    return Slice(topology, platform, devices[:wanted], wanted, memory)
