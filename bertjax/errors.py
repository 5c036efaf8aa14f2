"""The one exception that means the user's input is at fault; and errors that are nobody's fault."""

import errno
from collections.abc import Iterator

# Status codes of gRPC and XLA, as tensorstore and jax write them into their messages.
_PASSING = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED")
_FORBIDDEN = ("PERMISSION_DENIED", "UNAUTHENTICATED", "Forbidden")


class UserError(Exception):
    """Bad input from the user: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with status 2. Everything
    else that is raised is a bug, or passes by, and keeps its traceback.
    """


def passes_by(error: BaseException) -> bool:
    """Whether the next try may succeed: for want of memory, of a network, or of a server."""
    return any(_passes_by(cause) for cause in _causes(error))


def is_forbidden(error: BaseException) -> bool:
    """Whether a file or a bucket may not be used by whoever runs this."""
    return any(
        isinstance(cause, PermissionError) or any(word in str(cause) for word in _FORBIDDEN)
        for cause in _causes(error)
    )


def _passes_by(error: BaseException) -> bool:
    if isinstance(error, MemoryError | TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError):
        # Those of network libraries (requests, aiohttp) have a type of their own and no number.
        foreign = error.errno is None and type(error).__module__ != "builtins"
        if foreign or error.errno == errno.ESTALE:
            return True
    return any(word in str(error) for word in _PASSING)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
