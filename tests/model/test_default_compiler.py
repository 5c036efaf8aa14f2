"""The suite's programs are compiled in a hurry (conftest.py); some are as users have them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.process]


def test_parity_with_hugging_face_holds_as_xla_compiles_by_default():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    flags = os.environ["XLA_FLAGS"].replace("optimization_level=0", "optimization_level=3")
    flags = flags.replace("fusion_emitters=false", "fusion_emitters=true")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", Path(__file__).with_name("test_parity.py")],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
