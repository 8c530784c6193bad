"""The files of a data directory: their names, reading them, and writing them entirely or not at all.

``lock``        locked while a server uses the directory; see :mod:`scoop_server.storage.lock`
``snapshot-N``  the whole index at some moment; N is its generation, and the largest counts
``journal-N``   the changes since snapshot N, up to the moment of snapshot N + 1

A journal is created before its snapshot is written, so the largest snapshot is never without the journal that
continues it; only in a new directory the snapshot comes first.

All calls are relative to the descriptor of the directory: after it was moved or replaced, nothing is written to
or deleted from another directory that has its path.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Final, Self
from zlib import crc32

from scoop_server.errors import DataDirectoryError, ReadOnlyError
from scoop_server.storage.files import (
    CREATE,
    OPERATING_SYSTEM,
    FileSystem,
    close_quietly,
    is_temporary,
    named,
    way_out,
    write_all,
)
from scoop_server.storage.lock import DirectoryLock
from scoop_server.telemetry.logs import log

_FILE: Final = re.compile(r"(snapshot|journal)-([1-9][0-9]{0,17})(\.unfinished-[0-9]+)?")
_TRIAL_NAME: Final = "lock.trial"

_READ_BYTES: Final = 16 * 1_048_576
"""Large compared with the cost of a call, and small compared with the memory that the index takes."""


class NameNotDurableError(OSError):
    """A new file has its name, but it is unknown whether the name survives a power loss."""


class DataDirectory:
    """An open directory; satisfies TrailFiles. Its methods raise OSError, with the path of the file, if a call fails.

    ``path`` is for messages, and for noticing that the directory was moved or replaced.
    """

    def __init__(self, path: str, files: FileSystem = OPERATING_SYSTEM, *, descriptor: int | None = None) -> None:
        self.path = self.name = path
        self.files = files
        self._lock: DirectoryLock | None = None
        self.descriptor = files.open(path, os.O_RDONLY | os.O_DIRECTORY) if descriptor is None else descriptor

    # Opening and closing

    @classmethod
    def lock(cls, path: str, files: FileSystem = OPERATING_SYSTEM) -> Self:
        """Open a directory, created if missing, for this process alone until :meth:`close`.

        Raises :exc:`DataDirectoryError` if it cannot be created, written, listed or locked.
        """
        try:
            _create(path, files)
            return cls._locked(path, files, is_shared=False)
        except OSError as error:
            advice = "name a writable one with --data-dir, or keep nothing on disk with --memory"
            raise DataDirectoryError(
                f"cannot use the data directory {path}: {error.strerror}; {way_out(error, path, advice)}"
            ) from error

    @classmethod
    def lock_for_reading(cls, path: str, files: FileSystem = OPERATING_SYSTEM) -> Self:
        """Open a directory and exclude servers from it until :meth:`close`, without changing anything in it.

        Raises :exc:`DataDirectoryError` if a server uses it.
        """
        try:
            return cls._locked(path, files, is_shared=True)
        except OSError as error:
            raise DataDirectoryError(f"cannot read {path}: {error.strerror}; check its permissions") from error

    @classmethod
    def _locked(cls, path: str, files: FileSystem, *, is_shared: bool) -> Self:
        directory = cls(path, files)
        try:
            directory._lock = DirectoryLock(files, directory.descriptor, path, is_shared=is_shared)
            if not is_shared:
                directory._try_to_write()
                directory._listing()
        except BaseException:
            directory.close()
            raise
        return directory

    def close(self) -> None:
        """Close the directory and release its lock."""
        if self._lock is not None:
            self._lock.close()
        if self.descriptor >= 0:
            close_quietly(self.files, self.descriptor, self.path)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def duplicate(self) -> int:
        """Return a new descriptor of the directory, which does not share its lock."""
        return self.files.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.descriptor)

    # Identity

    @property
    def is_removed(self) -> bool:
        """Return whether the directory is known to be deleted: nothing can be created in it any more."""
        try:
            return self.files.fstat(self.descriptor).st_nlink == 0
        except OSError:
            return False

    @property
    def identity(self) -> int:
        """A number of 32 bits that another directory, also a deleted one, is unlikely to have."""
        status = self.files.fstat(self.descriptor)
        return crc32(f"{status.st_dev} {status.st_ino} {status.st_ctime_ns}".encode())

    def verify(self) -> None:
        """Check that the directory is still at its path and locked. Raises :exc:`ReadOnlyError` if it is not."""
        try:
            own = self.files.fstat(self.descriptor)
            if not own.st_nlink:
                raise ReadOnlyError(f"the data directory {self.path} was removed while the server ran")
            if not os.path.samestat(self.files.stat(self.path), own):
                raise ReadOnlyError(
                    f"the data directory {self.path} was moved while the server ran, and another one is at its path"
                )
            if self._lock is not None:
                self._lock.verify()
        except FileNotFoundError:
            raise ReadOnlyError(f"the data directory {self.path} was moved while the server ran") from None
        except OSError as error:
            raise ReadOnlyError(f"cannot examine the data directory {self.path}: {error.strerror}") from error

    def free_bytes(self) -> int:
        """Return the space that is available on the file system of the directory."""
        with named(self.path):
            return self.files.free_bytes(self.descriptor)

    # Reading

    def generations(self, kind: str) -> list[int]:
        """Return the generations of which there is a ``"snapshot"`` or a ``"journal"``, in order."""
        return sorted(int(match[2]) for match in self._listing() if match[1] == kind and not match[3])

    def _listing(self) -> list[re.Match[str]]:
        with named(self.path):
            names = self.files.listdir(self.descriptor)
        return [match for name in sorted(names) if (match := _FILE.fullmatch(name))]

    def file(self, kind: str, generation: int) -> str:
        """Return the path of a file, for messages."""
        return os.path.join(self.path, f"{kind}-{generation}")

    def read(self, kind: str, generation: int, length: int | None = None, start: int = 0, sync: bool = False) -> bytes:
        """Return all bytes of a file from ``start`` on, or the first ``length``; with ``sync`` they are on disk."""
        # Opening a FIFO would wait for its writer, and a device may have no end.
        with self._opened(f"{kind}-{generation}", os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            if not stat.S_ISREG(self.files.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            if length is not None:
                return self.files.read(descriptor, length)
            self.files.lseek(descriptor, start, os.SEEK_SET)
            parts = []
            while part := self.files.read(descriptor, _READ_BYTES):
                parts.append(part)
            if sync:
                self.files.fdatasync(descriptor)
            return b"".join(parts)

    def size(self, kind: str, generation: int) -> int:
        """Return the size of a file in bytes."""
        return self._status(kind, generation).st_size

    def holds(self, kind: str, generation: int) -> bool:
        """Return whether there is a file."""
        return self.files.exists(f"{kind}-{generation}", dir_fd=self.descriptor)

    def is_at(self, kind: str, generation: int, status: os.stat_result) -> bool:
        """Return whether the file with ``status`` has a name. Raises OSError if no file has it."""
        return os.path.samestat(self._status(kind, generation), status)

    def _status(self, kind: str, generation: int) -> os.stat_result:
        with named(self.file(kind, generation)):
            return self.files.stat(f"{kind}-{generation}", dir_fd=self.descriptor)

    # Writing

    def open_for_writing(self, kind: str, generation: int) -> int:
        """Open an existing file for writing; return its descriptor."""
        with named(self.file(kind, generation)):
            return self.files.open(f"{kind}-{generation}", os.O_WRONLY, dir_fd=self.descriptor)

    def write(self, kind: str, generation: int, chunks: Iterable[bytes]) -> int:
        """Write a file, which appears entire and durable or not at all; return its size in bytes.

        Raises OSError or :exc:`ReadOnlyError` if nothing has changed, :exc:`NameNotDurableError` if the file may or
        may not survive a power loss.
        """
        name = f"{kind}-{generation}"
        # Another process may be writing the same generation: a compaction that has outlived its server.
        unfinished = f"{name}.unfinished-{os.getpid()}"
        size = 0
        with self._opened(unfinished, os.O_WRONLY | CREATE | os.O_TRUNC) as descriptor:
            try:
                for chunk in chunks:
                    write_all(self.files, descriptor, chunk)
                    size += len(chunk)
                self.files.fsync(descriptor)
                if self._lock is not None:
                    self.verify()
                with named(self.file(kind, generation)):
                    self.files.rename(unfinished, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            except (OSError, ReadOnlyError, KeyboardInterrupt):  # a signal interrupts the last snapshot
                with contextlib.suppress(OSError):
                    self.delete(unfinished)
                raise
        try:
            self.sync()
        except OSError as error:
            raise NameNotDurableError(error.errno, error.strerror, error.filename) from error
        return size

    def has_room(self, generation: int, size: int) -> bool:
        """Return whether ``size`` bytes can be written, by writing them to an unfinished journal ``generation``."""
        probe = f"journal-{generation}.unfinished-{os.getpid()}"
        try:
            with self._opened(probe, os.O_WRONLY | CREATE | os.O_TRUNC) as descriptor:
                try:
                    write_all(self.files, descriptor, bytes(size))
                finally:
                    self.delete(probe)
        except OSError:
            return False
        return True

    def sync(self) -> None:
        """Make the names in the directory durable."""
        with named(self.path):
            self.files.fsync(self.descriptor)

    def superfluous(self, generation: int) -> list[str]:
        """Return the names of the files that are older than snapshot ``generation``, and of all unfinished ones."""
        return [match[0] for match in self._listing() if match[3] or int(match[2]) < generation]

    def delete_before(self, generation: int) -> None:
        """Delete the files that the durable snapshot ``generation`` makes superfluous, and all unfinished ones.

        Raises :exc:`ReadOnlyError` if the directory is no longer the one that was locked.
        """
        names = self.superfluous(generation)
        if names:
            self.verify()
        for name in names:
            self.delete(name)

    def delete(self, name: str) -> None:
        """Delete a file."""
        with named(os.path.join(self.path, name)):
            self.files.unlink(name, dir_fd=self.descriptor)

    def _try_to_write(self) -> None:
        """Create and delete a file: an existing lock file can be opened where no other file could be created."""
        try:
            with self._opened(_TRIAL_NAME, os.O_WRONLY | CREATE):
                self.delete(_TRIAL_NAME)
        except OSError as error:
            if not is_temporary(error):
                raise

    @contextlib.contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        """Open a file for its owner alone, and close it; an error names the file."""
        path = os.path.join(self.path, name)
        with named(path):
            descriptor = self.files.open(name, flags, 0o600, dir_fd=self.descriptor)
            try:
                yield descriptor
            finally:
                close_quietly(self.files, descriptor, path)


def _create(path: str, files: FileSystem) -> None:
    try:
        files.mkdir(path, 0o700)
    except FileNotFoundError as error:
        raise DataDirectoryError(
            f"cannot create the data directory {path}: {os.path.dirname(path) or 'the working directory'} is missing; "
            "create that first, because only the last part of the path is created"
        ) from error
    except OSError as error:
        # Of a directory that exists, some systems report the read-only file system first.
        if not (isinstance(error, FileExistsError) or is_temporary(error)):
            raise
    else:
        log.info("created the data directory %(path)s", {"path": path})
