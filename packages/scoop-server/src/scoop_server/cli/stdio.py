"""Standard output, which may be closed, full, or a pipe that no one reads any more."""

import errno
import os
import sys
from typing import BinaryIO, Final, TextIO

EXIT_PRINTED: Final = 0
EXIT_NOT_PRINTED: Final = 1


def standard_output_text() -> TextIO:
    """Return standard output. Raises OSError where the process was started without one."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    return sys.stdout


def standard_output() -> BinaryIO:
    """Return standard output for bytes. Raises OSError where the process was started without one."""
    return standard_output_text().buffer


def standard_input() -> BinaryIO:
    """Return standard input for bytes. Raises OSError where the process was started without one."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    return sys.stdin.buffer


def print_all(text: str) -> int:
    """Write ``text`` to standard output; return the exit status, after one line on stderr where it is not 0.

    A path in it that is no text comes out as the bytes that it is.
    """
    try:
        out = standard_output()
        out.write(os.fsencode(text))
        out.flush()
    except BrokenPipeError:
        let_go_of_output()  # whoever read it has heard enough
        return EXIT_NOT_PRINTED
    except OSError as error:
        let_go_of_output()
        print(f"scoop-server: cannot print: {error.strerror}; see to what standard output is", file=sys.stderr)
        return EXIT_NOT_PRINTED
    return EXIT_PRINTED


def flush_output() -> None:
    """Have what was printed written, if there is a standard output. Raises OSError where that fails."""
    if sys.stdout is not None:
        sys.stdout.flush()


def let_go_of_output() -> None:
    """Have what is still unwritten go nowhere: Python's last flush would fail as the one before has."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
