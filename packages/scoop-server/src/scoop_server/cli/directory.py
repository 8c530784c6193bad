"""The index in a data directory, for the commands ``check``, ``dump``, ``log`` and ``restore``."""

import contextlib
import os
import sys
from collections.abc import Mapping
from io import StringIO
from types import MappingProxyType
from typing import BinaryIO, Final, TextIO

from scoop_core import DependencyGraph, DumpError, RecoveredState, Verdict, decode_dump, encode_dump, verify_files

from scoop_server.errors import DataDirectoryError, DirectoryInUseError
from scoop_server.history import log, parse_moment
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.history import NAME as HISTORY
from scoop_server.storage.lock import NAME as LOCK
from scoop_server.storage.trail import graph_at, open_trail, recover
from scoop_server.text import counted

EXIT_INTACT: Final = 0
EXIT_DAMAGED: Final = 1
EXIT_UNSEALED: Final = 3
"""Intact except for an interrupted write at the end, which the next start drops."""
EXIT_NEWER: Final = 4
"""Not damaged, but written by a newer version."""
EXIT_UNREADABLE: Final = 5
"""A file could not be read, so it is unknown whether it is intact."""

READ_ATTEMPTS: Final = 5
"""A running server may replace its files while they are read, which is rare."""

_STATUS: Final = {Verdict.DAMAGED: EXIT_DAMAGED, Verdict.NEWER_FORMAT: EXIT_NEWER, Verdict.UNREADABLE: EXIT_UNREADABLE}
"""The exit status of each verdict but INTACT, the most severe first."""


class DirectorySource:
    """The index in the data directory ``path``, for a command with ``arguments``; satisfies IndexSource."""

    def __init__(self, path: str, arguments: Mapping[str, object] = MappingProxyType({})) -> None:
        self._path = path
        self._arguments = arguments

    def check(self, out: TextIO) -> int:
        """Verify every file, report on ``out``, and return the exit status.

        Raises DataDirectoryError if the directory cannot be read or holds no index.
        """
        _require_directory(self._path)
        try:
            with DataDirectory.lock_for_reading(self._path) as directory:
                return _check(directory, out)
        except DirectoryInUseError as error:
            print(f"{error.args[0].partition(';')[0]}: checking beside it", file=out)
        with DataDirectory(self._path) as directory:
            return _check_beside_a_server(directory, out)

    def dump(self, out: BinaryIO) -> int:
        """Write the index to ``out``, dependencies first, and return the exit status 0.

        A server may be using the directory; then the dump is the index at some moment during the call, or as it was at
        the earlier one that the arguments name.
        Raises DataDirectoryError if the directory cannot be read or holds no index.
        """
        _require_directory(self._path)
        at = self._arguments.get("at")
        graph = _current_graph(self._path) if at is None else graph_at(self._path, parse_moment(str(at)))
        out.writelines(encode_dump(graph))
        out.flush()
        return 0

    def log(self, out: TextIO) -> int:
        """Print the changes that the arguments select, and return the exit status."""
        return log(self._path, self._arguments, out)

    def restore(self, lines: BinaryIO) -> int:
        """Create the data directory with the index that ``lines`` lead to, and return the exit status 0.

        ``lines`` are the output of ``dump`` or other requests, each of which must be answered OK; lines that begin with
        ``#`` are comments. Nothing is written before everything has been read. Input without a request is rejected,
        unless it is a complete dump, because more likely the program before the pipe failed.
        Raises DataDirectoryError if a line is not answered OK, a dump is incomplete, or the directory is not empty.
        """
        _reject_other_files(self._path)
        graph = read_index(lines)
        with DataDirectory.lock(self._path) as directory:
            _reject_other_files(self._path)
            Generations.create(directory, graph).journal.close()
        print(f"restored {counted(len(graph), 'package')} into {self._path}", file=sys.stderr)
        return 0


def _require_directory(path: str) -> None:
    """Raise DataDirectoryError if ``path`` is not a directory."""
    if not os.path.isdir(path):
        raise DataDirectoryError(f"cannot read {path}: no such directory; name a data directory")


def _no_index(path: str) -> DataDirectoryError:
    return DataDirectoryError(f"cannot read {path}: it holds no index; name a data directory")


# check


def _check_beside_a_server(directory: DataDirectory, out: TextIO) -> int:
    """Check again if files were replaced meanwhile. An unsealed end is a write in progress, not an interrupted one."""
    report, status = StringIO(), EXIT_DAMAGED
    for _ in range(READ_ATTEMPTS):
        report = StringIO()
        status = _check(directory, report, beside_a_server=True)
        if status == EXIT_INTACT:
            break
    out.write(report.getvalue())
    return status


def _check(directory: DataDirectory, out: TextIO, *, beside_a_server: bool = False) -> int:
    verdicts = _check_files(directory, out)
    has_files = bool(verdicts)
    # A server has never used an archive, and would delete its older files.
    is_archive = len(directory.generations("snapshot")) > 1 and not directory.files.exists(
        LOCK, dir_fd=directory.descriptor
    )
    if directory.files.exists(HISTORY, dir_fd=directory.descriptor):
        with DataDirectory(os.path.join(directory.path, HISTORY)) as history:
            verdicts |= _check_files(history, out) | _check_trail(directory.path, out)
    elif is_archive:
        verdicts |= _check_trail(directory.path, out)
    status = next((_STATUS[each] for each in _STATUS if each in verdicts), EXIT_INTACT)
    if is_archive:
        return status
    try:
        state = recover(directory)
    except DataDirectoryError as error:
        print(f"a server would refuse to start: {error}", file=out)
        return status or EXIT_DAMAGED
    if state is None and not has_files and not directory.superfluous(1):
        raise _no_index(directory.path)
    _report_index(directory, state, out)
    if not beside_a_server:
        for name in directory.superfluous(state.snapshot_generation if state else 1):
            print(f"a start would delete {os.path.join(directory.path, name)}: superseded or unfinished", file=out)
        if state is not None and (unsealed := state.journal.unsealed_bytes):
            file, size = directory.file("journal", state.journal.generation), counted(unsealed, "byte")
            print(f"a start would drop the last {size} of {file}: {state.journal.unsealed_reason}", file=out)
            return status or EXIT_UNSEALED
    return status


def _check_trail(path: str, out: TextIO) -> set[Verdict]:
    """Verify that no batch of the history is missing; return the verdicts that this leads to."""
    try:
        with open_trail(path) as trail:
            numbers = [batch.seal.number for batch in trail.batches()]
        if numbers:
            print(f"{path}: a history of the batches {numbers[0]} to {numbers[-1]}", file=out)
    except DataDirectoryError as error:
        print(error, file=out)
        return {Verdict.DAMAGED}
    return set()


def _report_index(directory: DataDirectory, state: RecoveredState | None, out: TextIO) -> None:
    if state is None:
        print(f"{directory.path}: initialisation was interrupted; a start would find no packages", file=out)
    else:
        print(
            f"{directory.path}: {counted(len(state.graph), 'package')} in snapshot {state.snapshot_generation} and "
            f"{counted(state.batches, 'batch', 'batches')} after it, up to batch {state.journal.head.number}",
            file=out,
        )


def _check_files(directory: DataDirectory, out: TextIO) -> set[Verdict]:
    """Verify each file by itself, report on ``out``, and return the verdicts."""
    try:
        reports = verify_files(directory)
    except OSError as error:
        raise DataDirectoryError(f"cannot read {directory.path}: {error.strerror}; check its permissions") from error
    verdicts = set()
    for report in reports:
        print(os.path.join(directory.path, report.file), report.description, sep=": ", file=out)
        verdicts.add(report.verdict)
    return verdicts


# dump


def _current_graph(path: str) -> DependencyGraph:
    """Return the index, also beside a server that replaces its files."""
    with DataDirectory(path) as directory:
        state = _recover_beside_a_server(directory)
    if state is None:
        raise _no_index(path)  # a wrong path must not result in an empty backup
    return state.graph


def _recover_beside_a_server(directory: DataDirectory) -> RecoveredState | None:
    for _ in range(READ_ATTEMPTS - 1):
        with contextlib.suppress(DataDirectoryError):
            return recover(directory)
    return recover(directory)


# restore


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
