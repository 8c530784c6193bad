"""Standard streams, which may be closed, full, or a pipe whose reader has exited."""

import errno
import os
import sys
from collections.abc import Callable
from typing import BinaryIO, Final, TextIO

from scoop_server.errors import StandardStreamError

EXIT_BROKEN_PIPE: Final = 1


def run_with_streams(action: str, run: Callable[[], int]) -> int:
    """Run what reads standard input or writes standard output; return its exit status. Raises StandardStreamError."""
    try:
        status = run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if sys.stdout is not None:  # discard what is still buffered: the flush at exit would fail as the last one did
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has exited, as head does
            return EXIT_BROKEN_PIPE
        raise StandardStreamError(
            f"cannot {action}: {error.strerror}; check where standard input and output lead"
        ) from error
    return status


def standard_output_text() -> TextIO:
    """Return standard output. Raises OSError if the process was started without one."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    return sys.stdout


def standard_output() -> BinaryIO:
    """Return standard output for bytes. Raises OSError if the process was started without one."""
    return standard_output_text().buffer


def standard_input() -> BinaryIO:
    """Return standard input for bytes. Raises OSError if the process was started without one."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    return sys.stdin.buffer


def print_text(text: str) -> int:
    """Write ``text`` to standard output, and return the exit status 0. Raises OSError.

    A path in it that is not valid text is written as the bytes that it consists of.
    """
    standard_output().write(os.fsencode(text))
    return 0
