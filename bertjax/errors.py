"""The one exception that means the user's input is at fault; and errors that are nobody's fault."""

import errno
import re
import socket
from collections.abc import Iterator

# Status codes of gRPC and XLA, as tensorstore and jax begin their messages.
_TRANSIENT = re.compile(r"\b(RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED): ")
_FORBIDDEN = re.compile(r"\b(PERMISSION_DENIED|UNAUTHENTICATED): |^Forbidden")
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")  # tensorstore's, of a file system
_TRANSIENT_NUMBERS = {
    errno.EAGAIN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOMEM,
    errno.ENOTCONN,  # of a mounted bucket whose program has ended
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_NETWORK_PACKAGES = ("aiohttp", "gcsfs", "google", "requests", "urllib3")
_NOT_ALLOWED = (401, 403)  # HTTP
_BUSY = 429  # HTTP: too many requests; from 500 on the server is at fault


class UserError(Exception):
    """Bad input from the user: one line that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and exits with status 2. Everything
    else that is raised is a bug, or transient, and keeps its traceback.
    """


def is_transient(error: BaseException) -> bool:
    """Whether the next try may succeed: for want of memory, of a network, or of a server."""
    return any(_is_transient(cause) for cause in _causes(error))


def is_forbidden(error: BaseException) -> bool:
    """Whether a file or a bucket may not be used by whoever runs this."""
    return any(
        isinstance(cause, PermissionError)
        or getattr(cause, "code", None) in _NOT_ALLOWED
        or (_without_number(cause) and _FORBIDDEN.search(str(cause)) is not None)
        for cause in _causes(error)
    )


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, MemoryError | TimeoutError | ConnectionError | socket.gaierror):
        return True
    if not _without_number(error):
        return isinstance(error, OSError) and error.errno in _TRANSIENT_NUMBERS
    if found := _OS_ERROR.search(str(error)):
        return int(found[1]) in _TRANSIENT_NUMBERS
    if type(error).__module__.partition(".")[0] in _NETWORK_PACKAGES:
        code = getattr(error, "code", None)
        return not isinstance(code, int) or code == _BUSY or code >= 500
    return _TRANSIENT.search(str(error)) is not None


def _without_number(error: BaseException) -> bool:
    """Not one of the operating system's, whose message may hold any file name."""
    return not isinstance(error, OSError) or error.errno is None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
