"""How many results are computed ahead of their use."""

import os
import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import pytest

from bertjax.train.ahead import started_ahead

ROOT = Path(__file__).parents[2]
MANY_SUMS = """
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from bertjax.train.digest import digest_arrays
parts = NamedSharding(jax.make_mesh((4,), ("x",)), PartitionSpec("x"))
digest_arrays({str(n): jax.device_put(np.ones((4, 9999), np.float32), parts) for n in range(999)})
"""


@pytest.mark.parametrize("number", [0, 1, 2, 3, 9])
def test_results_keep_their_order(number):
    assert list(started_ahead(range(number))) == list(range(number))


def test_a_few_more_are_started_than_were_taken():
    started = count()
    taken = list(islice(started_ahead(started), 5))
    assert taken == [0, 1, 2, 3, 4]
    assert next(started) == 7


@pytest.mark.process
@pytest.mark.slow
def test_many_sums_over_several_cpu_devices_of_one_process_come_to_an_end():
    flags = "--xla_force_host_platform_device_count=4"
    flags += " --xla_cpu_collective_call_terminate_timeout_seconds=9"
    few_threads = os.environ | {"NPROC": "1", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", MANY_SUMS]
    subprocess.run(command, cwd=ROOT, env=few_threads, capture_output=True, timeout=99, check=True)
