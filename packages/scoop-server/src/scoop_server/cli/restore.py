"""``scoop-server restore DIR``: create a data directory from protocol lines."""

import os
import sys
from typing import BinaryIO

from scoop_core import DependencyGraph, DumpError, decode_dump

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.text import counted


def restore(path: str, lines: BinaryIO) -> int:
    """Create the data directory ``path`` with the index that ``lines`` lead to, and return the exit status 0.

    ``lines`` are the output of ``dump`` or other requests, each of which must be answered OK; lines that begin with
    ``#`` are comments. Nothing is written before everything has been read. Input without a request is rejected, unless
    it is a complete dump, because more likely the program before the pipe failed.
    Raises DataDirectoryError if a line is not answered OK, a dump is incomplete, or the directory is not empty.
    """
    _reject_other_files(path)
    graph = read_index(lines)
    with DataDirectory.lock(path) as directory:
        _reject_other_files(path)
        Generations.create(directory, graph).journal.close()
    print(f"restored {counted(len(graph), 'package')} into {path}", file=sys.stderr)
    return 0


def read_index(lines: BinaryIO, *, reject_cycles: bool = False) -> DependencyGraph:
    """Return the index that ``lines`` lead to. Raises DataDirectoryError."""
    try:
        return decode_dump(lines, reject_cycles=reject_cycles)
    except DumpError as error:
        raise DataDirectoryError(
            f"cannot restore {error}; nothing was written, correct the input or use another dump"
        ) from error


def _reject_other_files(path: str) -> None:
    """Raise DataDirectoryError if ``path`` exists and holds anything but a lock file."""
    try:
        names = set(os.listdir(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataDirectoryError(f"cannot restore into {path}: {error.strerror}; name a directory") from error
    if names - {"lock"}:
        raise DataDirectoryError(f"cannot restore into {path}: it is not empty; name a new directory")
