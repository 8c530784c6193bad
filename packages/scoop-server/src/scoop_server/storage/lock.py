"""The lock on a data directory: one server at a time.

The lock is a ``flock`` on the directory itself, which no removed or replaced file can lift. A second one, on the file
``lock`` in it, excludes servers that lock only the file; it is the only lock on file systems that cannot lock a
directory (NFS). The file holds the process id. A lock ends with its process, so none is left behind by a crash.
"""

import contextlib
import errno
import fcntl
import os
from typing import Final

from scoop_server.errors import DirectoryInUseError, ReadOnlyError
from scoop_server.storage.files import CREATE, FileSystem, close_quietly, is_temporary, named
from scoop_server.telemetry.logs import log

NAME: Final = "lock"

_CANNOT_LOCK_DIRECTORIES: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
_CLOSED: Final = -1


class DirectoryLock:
    """An exclusive or shared lock on the directory with an open ``descriptor``. ``path`` is for messages.

    Raises :exc:`DirectoryInUseError` if another process holds it, OSError if it cannot be taken.
    """

    def __init__(self, files: FileSystem, descriptor: int, path: str, *, is_shared: bool = False) -> None:
        self._files = files
        self._directory = descriptor
        self._path = path
        self._kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        self._file = _CLOSED
        self._holds_directory = True
        try:
            self._flock(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_LOCK_DIRECTORIES:
                raise
            self._holds_directory = False
        self._lock_file()

    def verify(self) -> None:
        """Check that the lock file is still the one that is locked.

        If it was removed while the directory itself is locked, a new one is created. Raises :exc:`ReadOnlyError`
        if another process may have taken the directory.
        """
        if self._file == _CLOSED or self._is_in_place():
            return
        problem = f"{self._path}/{NAME} was removed or replaced while the server ran"
        if not self._holds_directory:
            raise ReadOnlyError(f"{problem}, so another server may use the directory; start this one again")
        self.close()
        try:
            self._lock_file()
        except (DirectoryInUseError, OSError) as error:
            raise ReadOnlyError(f"{problem}: {error}") from error
        log.warning("%(problem)s; created it again", {"problem": problem})

    def close(self) -> None:
        """Release the lock file. The lock on the directory ends when its descriptor is closed."""
        if self._file != _CLOSED:
            close_quietly(self._files, self._file, self._path)
            self._file = _CLOSED

    def _is_in_place(self) -> bool:
        try:
            found = self._files.stat(NAME, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, self._files.fstat(self._file))

    def _lock_file(self) -> None:
        is_exclusive = self._kind == fcntl.LOCK_EX
        try:
            self._file = self._open_file(os.O_RDWR | CREATE if is_exclusive else os.O_RDONLY)
        except FileNotFoundError:
            if is_exclusive:
                raise
            return  # no server has ever used the directory: it is a copy
        except OSError as error:
            # A read-only file system or a full disk prevents no queries, so neither prevents a start.
            if not (is_temporary(error) and self._holds_directory):
                raise
            with contextlib.suppress(FileNotFoundError):
                self._file = self._open_file(os.O_RDONLY)
                self._flock(self._file)
            return
        try:
            self._flock(self._file)
            if is_exclusive:
                self._write_process_id()
        except BaseException:
            self.close()
            raise

    def _open_file(self, flags: int) -> int:
        with named(os.path.join(self._path, NAME)):
            return self._files.open(NAME, flags, 0o600, dir_fd=self._directory)

    def _write_process_id(self) -> None:
        process_id = b"%d\n" % os.getpid()
        try:
            self._files.pwrite(self._file, process_id, 0)
            self._files.ftruncate(self._file, len(process_id))
        except OSError as error:
            if not is_temporary(error):
                raise

    def _flock(self, descriptor: int) -> None:
        try:
            self._files.flock(descriptor, self._kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use(descriptor) from None

    def _in_use(self, descriptor: int) -> DirectoryInUseError:
        if self._kind == fcntl.LOCK_EX and self._is_shared_by_others(descriptor):
            return DirectoryInUseError(
                f"the data directory {self._path} is in use by a process that only reads it, such as scoop-server "
                "check; wait until that has ended, or name another directory"
            )
        return DirectoryInUseError(
            f"the data directory {self._path} is in use by the server with process id {self._holder()}; "
            "stop that one, or name another directory"
        )

    def _holder(self) -> str:
        with contextlib.suppress(OSError):
            file = self._open_file(os.O_RDONLY)
            try:
                return self._files.read(file, 20).decode("ascii", "replace").strip() or "unknown"
            finally:
                close_quietly(self._files, file, self._path)
        return "unknown"

    def _is_shared_by_others(self, descriptor: int) -> bool:
        """Return whether the holder shares its lock, as a server never does: its process id is stale."""
        try:
            self._files.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
