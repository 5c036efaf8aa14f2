"""The GPU that some benchmarks need."""

import sys


def need_gpu() -> None:
    """Makes jax use the GPU; without one a line on standard error, and exit status 2."""
    import jax  # here, so that a process of PyTorch's that imports this module does without

    jax.config.update("jax_platforms", "cuda")
    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # the latter where jax has no CUDA at all
        print("no GPU that jax can use: pip install -e '.[cuda]' on a GPU machine", file=sys.stderr)
        sys.exit(2)
