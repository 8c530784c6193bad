"""Sources of an index: where the explorer reads it, and how it learns of changes."""

import os
from typing import TypeAlias

from scoop_core import DumpError, LoggedBatch, decode_dump

from scoop_explorer.data_directory import Follower
from scoop_server.errors import DataDirectoryError, ServerError
from scoop_server.ports import FollowedIndex, Loaded

SourceError = ServerError
"""A source that cannot be read now. The message is one line for a person."""

Source: TypeAlias = FollowedIndex
"""An index that can be followed: a data directory, a dump, or that of a plug-in of the server."""


def open_source(path: str) -> Source:
    """Return the source at ``path``: a dump if that is a file, else a data directory, which may still be missing."""
    return DumpFile(path) if os.path.isfile(path) else Follower(path)


class DumpFile:
    """The output of ``scoop-server dump``, or other INDEX lines. It is read again when the file is replaced."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_current = False
        self.has_more = False
        self._version: tuple[int, int, int] | None = None

    def poll(self) -> list[Loaded | LoggedBatch]:
        """Return the index if the file has changed. Raises :exc:`SourceError`."""
        self.is_current = False
        try:
            status = os.stat(self.path)
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            delivered: list[Loaded | LoggedBatch] = []
            if version != self._version:
                with open(self.path, "rb") as file:
                    delivered.append(Loaded(decode_dump(file), 0))
                self._version = version
        except (OSError, DumpError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataDirectoryError(f"cannot read {self.path}: {reason}; name another dump") from error
        self.is_current = True
        return delivered

    def history(self) -> None:
        """Return None: a dump has none."""

    def close(self) -> None:
        """Do nothing: no file stays open."""
