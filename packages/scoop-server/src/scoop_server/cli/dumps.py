"""``scoop-server dump DIR`` and ``restore DIR``: an index as protocol lines, and back."""

import contextlib
import os
import sys
from typing import BinaryIO

from scoop_core import DependencyGraph, DumpError, decode_dump, encode_dump

from scoop_server.cli.check import READ_ATTEMPTS, no_index, require_directory
from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.lock import NAME as LOCK
from scoop_server.storage.recovery import RecoveredState, recover
from scoop_server.storage.trail import Moment, graph_at
from scoop_server.text import counted


def dump(path: str, out: BinaryIO, at: Moment | None = None) -> int:
    """Write the index of the data directory ``path`` to ``out``, dependencies first, and return the exit status 0.

    A server may be using the directory; then the dump is the index at some moment during the call, or as it was ``at``
    an earlier one. Raises DataDirectoryError if the directory cannot be read or holds no index.
    """
    require_directory(path)
    if at is not None:
        out.writelines(encode_dump(graph_at(path, at)))
        out.flush()
        return 0
    with DataDirectory(path) as directory:
        state = _recover_beside_a_server(directory)
    if state is None:
        raise no_index(path)  # a wrong path must not result in an empty backup
    out.writelines(encode_dump(state.graph))
    out.flush()
    return 0


def _recover_beside_a_server(directory: DataDirectory) -> RecoveredState | None:
    for _ in range(READ_ATTEMPTS - 1):
        with contextlib.suppress(DataDirectoryError):
            return recover(directory)
    return recover(directory)


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
    if names - {LOCK}:
        raise DataDirectoryError(f"cannot restore into {path}: it is not empty; name a new directory")
