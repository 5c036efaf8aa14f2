"""The suite's programs are compiled in a hurry (conftest.py); some are as users have them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.process]


def test_parity_with_hugging_face_holds_as_xla_compiles_by_default():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    flags = re.sub(r"--xla_(backend_opt|cpu_use_fusion_emit)\S+", "", os.environ["XLA_FLAGS"])
    flags += " --xla_backend_optimization_level=3"  # XLA's default; conftest.py leaves it alone
    if "fusion_emitters" in os.environ["XLA_FLAGS"]:
        flags += " --xla_cpu_use_fusion_emitters=true"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", Path(__file__).with_name("test_parity.py")],
        env=os.environ | {"XLA_FLAGS": flags, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
