"""bertjax: pretrain BERT in JAX."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Imported on first use: `import bertjax` must not pay for jax, let alone orbax.
    if name in ("load", "Bert"):
        from bertjax import api

        return getattr(api, name)
    raise AttributeError(f"module 'bertjax' has no attribute {name!r}")
