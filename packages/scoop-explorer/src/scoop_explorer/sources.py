"""Sources of an index: where the explorer reads it, and how it learns of changes."""

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from scoop_core import DumpError, decode_dump

from scoop_etcd.connection import open_client, read_cluster
from scoop_etcd.formats.entries import Keys
from scoop_etcd.replication.log_follower import LogFollower
from scoop_server.config.replication import Replication
from scoop_server.errors import DataDirectoryError, ServerError
from scoop_server.storage.follower import Batch, Follower, Loaded

SourceError = ServerError
"""A source that cannot be read now. The message is one line for a person."""


class Source(Protocol):
    """An index that can be followed. All calls come from one thread."""

    path: str
    """The name of the source, for people."""

    is_current: bool
    """True if the last poll has delivered everything that the source held."""

    @property
    def has_more(self) -> bool:
        """Return whether the source held more than the last poll has read."""

    def poll(self) -> list[Loaded | Batch]:
        """Return what was acknowledged since the last poll, in order; the first delivery is a :class:`Loaded`.

        Raises :exc:`SourceError` if the source cannot be read now. A later poll tries again.
        """

    def close(self) -> None:
        """Release the source."""


def open_source(path: str) -> Source:
    """Return the source at ``path``: a dump if that is a file, else a data directory, which may still be missing."""
    return DumpFile(path) if os.path.isfile(path) else Follower(path)


def open_etcd(settings: Replication, environment: Mapping[str, str]) -> Source:
    """Return the index in etcd as a source. Raises :exc:`~scoop_server.errors.ConfigurationError`."""
    cluster = read_cluster(settings, environment)
    connect = partial(open_client, cluster, settings.commit_seconds_max)
    return LogFollower(connect, time.monotonic, Keys(settings.prefix), f"{settings.prefix} in etcd at {settings.urls}")


class DumpFile:
    """The output of ``scoop-server dump``, or other INDEX lines. It is read again when the file is replaced."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_current = False
        self.has_more = False
        self._version: tuple[int, int, int] | None = None

    def poll(self) -> list[Loaded | Batch]:
        """Return the index if the file has changed. Raises :exc:`SourceError`."""
        self.is_current = False
        try:
            status = os.stat(self.path)
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            delivered: list[Loaded | Batch] = []
            if version != self._version:
                with open(self.path, "rb") as file:
                    delivered.append(Loaded(decode_dump(file), 0))
                self._version = version
        except (OSError, DumpError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataDirectoryError(f"cannot read {self.path}: {reason}; name another dump") from error
        self.is_current = True
        return delivered

    def close(self) -> None:
        """Do nothing: no file stays open."""
