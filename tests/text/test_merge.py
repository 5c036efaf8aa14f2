"""Shards on a disk that is full."""

import errno
import os
from pathlib import Path

import pytest

from bertjax.text.merge import _write_records


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_told_as_python_tells_it():
    with pytest.raises(OSError, match="No space left") as caught:
        _write_records(Path("/dev/full"), [os.urandom(3000)] * 500)
    assert caught.value.errno == errno.ENOSPC
