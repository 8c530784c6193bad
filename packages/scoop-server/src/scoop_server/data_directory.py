"""The data directory: a lock, and the index on disk.

``lock``        held with ``flock`` while a server uses the directory; holds that server's process id
``snapshot-N``  the whole index; the largest N counts

A snapshot appears whole or not at all: it is written under another name, synced, renamed, and the
directory synced, before older ones are deleted.
"""

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import Final

from scoop_core import DependencyGraph, TranscriptError, decode_snapshot, encode_snapshot

_SNAPSHOT: Final = re.compile(r"snapshot-([1-9][0-9]{0,17})")
_UNFINISHED_SUFFIX: Final = ".unfinished"


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message is one line that says what, where and the way out."""


class DataDirectory:
    """A directory that this process alone uses, from construction to :meth:`close`.

    Raises :exc:`DataDirectoryError` where it cannot be created, written or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._take()
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {path}: {error.strerror}; "
                "name a writable one with --data-dir, or keep nothing on disk with --memory"
            ) from error

    def _take(self) -> None:
        """Lock the directory, and see that it can be written and listed. Raises OSError where it cannot."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise DataDirectoryError(
                f"the data directory {self.path} is in use by the server with process id {holder}; "
                "stop that one, or name another with --data-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)
        # A lock file that is there already can be opened where no snapshot could be written at the end.
        trial = self.path / f"lock{_UNFINISHED_SUFFIX}"
        trial.touch()
        trial.unlink()
        self._generation = max(self._snapshots(), default=0)

    def _snapshots(self) -> list[int]:
        """Return the numbers of the snapshots."""
        return [int(match[1]) for name in os.listdir(self.path) if (match := _SNAPSHOT.fullmatch(name))]

    def _snapshot_path(self, generation: int) -> Path:
        return self.path / f"snapshot-{generation}"

    def load(self, *, reject_cycles: bool) -> DependencyGraph:
        """Return the index as it was saved last; an empty one in a new directory.

        Raises :exc:`DataDirectoryError` where the snapshot cannot be read whole.
        """
        if not self._generation:
            return DependencyGraph(reject_cycles=reject_cycles)
        path = self._snapshot_path(self._generation)
        try:
            return decode_snapshot(path.read_bytes(), reject_cycles=reject_cycles)
        except (OSError, TranscriptError) as error:
            raise DataDirectoryError(
                f"cannot read {path}: {error}; restore it from a backup, or name another directory with --data-dir"
            ) from error

    def save(self, graph: DependencyGraph) -> Path:
        """Write a snapshot of ``graph``, and delete the ones before it; return its path.

        Raises :exc:`DataDirectoryError` where it cannot be written; the ones before it are kept then.
        """
        generation = self._generation + 1
        path = self._snapshot_path(generation)
        unfinished = path.with_name(path.name + _UNFINISHED_SUFFIX)
        try:
            with unfinished.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.writelines(encode_snapshot(graph))
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
            self._sync()
        except OSError as error:
            raise DataDirectoryError(
                f"cannot write {path}: {error.strerror}; the snapshot before it is kept"
            ) from error
        self._generation = generation
        for older in self._snapshots():
            if older < generation:
                self._snapshot_path(older).unlink()
        return path

    def _sync(self) -> None:
        """Make the names in the directory durable."""
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._lock)
