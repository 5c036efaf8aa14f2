"""Whether a training step's temporary memory is reused."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from bertjax.train.host_memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("unsupported")
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.sort(x * 2)[::7].sum())
inputs = jnp.ones((1 << 22,))
for _ in range(3):
    step(inputs).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step(inputs).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    command = [sys.executable, "-c", PROGRAM, mode]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unsupported" in found.stderr:
        pytest.skip("the C library has no mallopt")
    return int(found.stdout)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told")
def test_a_step_run_again_touches_no_new_memory():
    assert page_faults("keep") < 0.5 * page_faults("default")
