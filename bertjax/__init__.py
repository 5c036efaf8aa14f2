"""bertjax: pretrain BERT in JAX.

`bertjax.load(CHECKPOINT)` opens a checkpoint of any format as a `bertjax.Bert` (bertjax/api.py).
"""

from typing import Any

__version__ = "0.1.0"


_PUBLIC = ("load", "Bert")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])


def __getattr__(name: str) -> Any:
    # Imported on first use: `import bertjax` must not pay for jax, let alone orbax.
    if name in _PUBLIC:
        from bertjax import api

        return getattr(api, name)
    raise AttributeError(f"module 'bertjax' has no attribute {name!r}")
