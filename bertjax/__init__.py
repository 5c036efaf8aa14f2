"""bertjax: pretrain BERT in JAX.

`bertjax.load(CHECKPOINT)` opens a checkpoint of any format as a `bertjax.Bert` (bertjax/api.py).
What cannot be done with what was given is a `bertjax.UserError`, whose message is one line.
"""

from typing import Any

from bertjax.errors import UserError as UserError

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
