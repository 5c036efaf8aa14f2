"""The `bertjax` command: from its arguments to an exit status.

Exit status: 0 done, 2 the user's input is at fault (one line on standard error), 1 a bug or trouble
that may pass, such as a server that does not answer (with its traceback), 130 after Ctrl-C;
training stops cleanly on Ctrl-C and SIGTERM, with 143.
"""

import argparse
import gc
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bertjax.errors import UserError
from bertjax.options import command_parser

# What shows a device, by the package with which jax uses it; /dev/dxg is a GPU under WSL2.
_ACCELERATORS = {
    "libtpu": ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*"),
    "jax_plugins": ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    choose_platform()
    if arguments is None:  # this process is the command
        if isinstance(sys.stdout, io.TextIOWrapper):  # it may lack the text's characters
            sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does always
        signal.signal(signal.SIGTERM, _stop)
        # Importing and tracing make millions of objects that stay: a tenth of a start went into
        # looking for garbage among them after every few hundred.
        gc.set_threshold(50_000)
    try:
        parsed, overrides = _read_command_line(sys.argv[1:] if arguments is None else arguments)
        parsed.run(parsed, overrides)
        if sys.stdout is not None:
            sys.stdout.flush()  # here it can still be told that nobody reads it
    except UserError as error:
        print(f"bertjax: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if "Unable to initialize backend" not in str(error):
            raise
        reason = " ".join(str(error).split())
        print(f"bertjax: {reason}", file=sys.stderr)
        return 1  # another process may hold it
    except KeyboardInterrupt:
        print("bertjax: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = None  # the reader went away (`| head`): nothing to say, nobody to say it to
        return 1
    return 0


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """Ends the process as an exception does: what is temporary is removed on the way."""
    raise SystemExit(128 + number)


def _read_command_line(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = command_parser()
    parsed, rest = parser.parse_known_args(arguments)
    if rest and not parsed.takes_overrides:
        raise UserError(f"unknown argument {rest[0]} (see bertjax {parsed.command} --help)")
    if wrong := [text for text in rest if not text.startswith("--") or "=" not in text]:
        raise UserError(
            f"unknown argument {wrong[0]}; settings are written --section.field=value "
            f"(see bertjax {parsed.command} --help)"
        )
    return parsed, rest


def choose_platform() -> None:
    """Tells jax to use the CPU where no accelerator is present.

    Otherwise an installed libtpu or CUDA plug-in looks for its device first: seconds and warnings.
    Where there is one whose package is missing, jax says so itself and uses the CPU. Has no effect
    once jax is imported.
    """
    present = [
        package
        for package, patterns in _ACCELERATORS.items()
        if any(any(Path("/").glob(pattern.lstrip("/"))) for pattern in patterns)
    ]
    if not present:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    usable = any(importlib.util.find_spec(package) for package in present)
    platform = os.environ.get("JAX_PLATFORMS")
    if platform == "cpu" or not (platform or usable or "TPU_LIBRARY_PATH" in os.environ):
        from bertjax.train.host_memory import keep_freed_memory

        keep_freed_memory()
