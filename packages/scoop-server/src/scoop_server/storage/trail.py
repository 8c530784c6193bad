"""Reading the files of an index: the state that a server starts with, and the trail of a directory with its history.

Nothing here writes. The trail can be read beside a server too, and in a directory of archived files.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from scoop_core import (
    DependencyGraph,
    HistoryError,
    HistoryGone,
    Moment,
    RecoveredState,
    Trail,
    UnreadableFile,
    UnsupportedFormat,
)

from scoop_server.errors import DataDirectoryError, HistoryGoneError
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import OPERATING_SYSTEM, FileSystem, way_out
from scoop_server.storage.history import NAME


def recover(directory: DataDirectory) -> RecoveredState | None:
    """Return the content of ``directory``, None if nothing was ever kept in it.

    Raises :exc:`DataDirectoryError`, which names the file and the byte, if something cannot be read: a server never
    starts without acknowledged changes.
    """
    with _own_trail(directory) as trail:
        return trail.recover()


def recover_before(directory: DataDirectory, generation: int) -> RecoveredState:
    """Return what the files of the generations before ``generation`` lead to, which the server no longer changes.

    Raises :exc:`DataDirectoryError` if one of them is missing, or is not sealed to its end.
    """
    with _own_trail(directory) as trail:
        return trail.recover_before(generation)


@contextmanager
def _own_trail(directory: DataDirectory) -> Iterator[Trail]:
    """Provide the trail in ``directory`` without its history. Every error in the block is a DataDirectoryError."""
    advice = f"restore the directory from a backup, or inspect it with: scoop-server check {directory.path}"
    with _naming_errors(directory.path, advice):
        try:
            yield Trail(directory)
        except UnreadableFile as error:
            if isinstance(error.__cause__, UnsupportedFormat):
                advice = "start the version that wrote it, or a later one"
            raise DataDirectoryError(f"{error.problem}; {advice}") from error


@contextmanager
def _naming_errors(path: str, advice: str) -> Iterator[None]:
    """Raise an OSError in the block as DataDirectoryError, which names the file."""
    try:
        yield
    except OSError as error:
        raise DataDirectoryError(
            f"cannot read {error.filename or path}: {error.strerror}; {way_out(error, path, advice)}"
        ) from error


class DirectoryFiles:
    """The files in a directory and in its history; satisfies TrailFiles. Its methods raise OSError."""

    def __init__(self, path: str, files: FileSystem, resources: ExitStack) -> None:
        self.name = path
        self._resources = resources
        """Closes the directories."""
        self._directories = [resources.enter_context(DataDirectory(path, files))]

    def generations(self, kind: str) -> list[int]:
        """Return the generations of which there is a file, in order."""
        own = self._directories[0]
        if len(self._directories) == 1 and own.files.exists(NAME, dir_fd=own.descriptor):  # it may have just been made
            descriptor = own.files.open(NAME, os.O_RDONLY | os.O_DIRECTORY, dir_fd=own.descriptor)
            history = DataDirectory(os.path.join(self.name, NAME), own.files, descriptor=descriptor)
            self._directories.append(self._resources.enter_context(history))
        return sorted({number for each in self._directories for number in each.generations(kind)})

    def read(self, kind: str, generation: int, length: int | None = None, start: int = 0, sync: bool = False) -> bytes:
        """Return the bytes of a file. A server may move it from one directory to the other meanwhile."""
        for directory in (*self._directories, *self._directories):
            try:
                return directory.read(kind, generation, length, start, sync)
            except FileNotFoundError:
                continue
        raise FileNotFoundError


@contextmanager
def open_trail(path: str, files: FileSystem = OPERATING_SYSTEM) -> Iterator[Trail]:
    """Open the trail in the directory ``path``. Every error within the block is a :exc:`DataDirectoryError`."""
    with _naming_errors(path, "name a data directory, or one of archived files"), ExitStack() as resources:
        try:
            yield Trail(DirectoryFiles(path, files, resources))
        except HistoryError as error:
            kind = HistoryGoneError if isinstance(error, HistoryGone) else DataDirectoryError
            raise kind(error.reason) from error


def graph_at(path: str, moment: Moment) -> DependencyGraph:
    """Return the index of a data directory, or of a directory of archived files, as it was at ``moment``.

    Raises :exc:`DataDirectoryError` if the moment is before the oldest state, in a gap, or not reached yet.
    """
    with open_trail(path) as trail:
        return trail.graph_at(moment)
