"""Standard streams, which may be closed, full, or a pipe whose reader has exited."""

import os
import sys
from typing import TextIO


def open_closed_streams() -> None:
    """Open the standard streams that are closed, so that no file or socket gets their numbers.

    Reading or writing one that was closed fails, except that messages on standard error are lost.
    """
    if sys.stdin is None:
        sys.stdin = open(os.open(os.devnull, os.O_WRONLY), encoding="utf-8")  # noqa: SIM115  # open until the end
    if sys.stdout is None:
        sys.stdout = _open_null(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _open_null(os.O_WRONLY)


def _open_null(flags: int) -> TextIO:
    return open(os.open(os.devnull, flags), "w", encoding="utf-8")  # open until the end


def discard(stream: TextIO) -> None:
    """Discard what is still buffered: the flush at exit would fail as the last one did."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
