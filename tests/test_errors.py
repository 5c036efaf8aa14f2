"""Which errors may be gone at the next try, and which are about rights."""

import errno
import socket

import pytest

from bertjax.errors import is_forbidden, is_transient

DISK_FULL = "RESOURCE_EXHAUSTED: Error writing \"a\": No space left on device [os_error_code='28']"


class HttpError(Exception):
    """As gcsfs raises it."""

    __module__ = "gcsfs.retry"

    def __init__(self, code):
        super().__init__(f"some message, {code}")
        self.code = code


class ForeignError(OSError):
    """As aiohttp raises it: the number, but not Python's own type for it."""


def wrapped(error):
    outer = ValueError("cannot read")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        TimeoutError(),
        ConnectionResetError(),
        socket.gaierror(-2, "Name or service not known"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        ForeignError(errno.ECONNREFUSED, "Connect call failed"),
        HttpError(503),
        HttpError(429),
        ValueError("UNAVAILABLE: busy"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"),
        wrapped(TimeoutError()),
    ],
    ids=repr,
)
def test_what_may_pass(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        ValueError(DISK_FULL),
        ValueError('NOT_FOUND: "/runs/ABORTED-lamb/3"'),
        HttpError(404),
        FileNotFoundError(errno.ENOENT, "No such file", "/runs/ABORTED: twice"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Forbidden: https://storage.googleapis.com/a"),
    ],
    ids=repr,
)
def test_what_stays(error):
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("error", "forbidden"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (ValueError("PERMISSION_DENIED: storage.objects.get"), True),
        (OSError("Forbidden: https://storage.googleapis.com/a"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", "Forbidden City"), False),
        (ValueError("DATA_LOSS: cut short"), False),
    ],
)
def test_what_is_about_rights(error, forbidden):
    assert is_forbidden(error) is forbidden
