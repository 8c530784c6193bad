"""The lock on a data directory: one server at a time.

``flock`` belongs to the open file, so the lock ends with the process, however that ends: a lock left behind
by a crash cannot exist. The file also holds the process id, for whoever finds the directory taken.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Final

from scoop_server.errors import DataDirectoryError, DirectoryInUseError
from scoop_server.telemetry.logs import log

_NAME: Final = "lock"
_TRIAL_NAME: Final = "lock.trial"


class DirectoryLock:
    """A data directory, created if missing, that is this process's alone until :meth:`close`.

    Raises :exc:`DataDirectoryError` where it cannot be created, written or locked.
    """

    def __init__(self, path: str) -> None:
        try:
            _create(path)
            self._file = os.open(os.path.join(path, _NAME), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._take(path)
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {path}: {error.strerror}; "
                "name a writable one with --data-dir, or keep nothing on disk with --memory"
            ) from error

    def _take(self, path: str) -> None:
        """Lock the directory, and see that it can be written and listed. Raises OSError where it cannot."""
        _lock(self._file, path, fcntl.LOCK_EX)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)
        # A lock file that is there already can be opened where no other file could be made.
        trial = os.path.join(path, _TRIAL_NAME)
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(trial)
        os.listdir(path)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._file)


def _create(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError as error:
        raise DataDirectoryError(
            f"cannot create the data directory {path}: {os.path.dirname(path) or 'the working directory'} is missing; "
            "create that first, because only the last part of the path is created"
        ) from error
    else:
        log.info("created the data directory %(path)s", {"path": path})


@contextlib.contextmanager
def locked_for_reading(path: str) -> Iterator[None]:
    """Keep servers off the data directory ``path``, and change nothing in it.

    Raises :exc:`DataDirectoryError` where a server uses it.
    """
    try:
        file = os.open(os.path.join(path, _NAME), os.O_RDONLY)
    except FileNotFoundError:
        yield  # no server has ever been here: the directory is a copy
        return
    except OSError as error:
        raise DataDirectoryError(f"cannot read {error.filename}: {error.strerror}; see to its permissions") from error
    try:
        _lock(file, path, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


def _lock(file: int, path: str, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        if kind == fcntl.LOCK_EX and _can_be_read_beside(file):
            raise DirectoryInUseError(
                f"the data directory {path} is in use by another process, which only reads it, as scoop-server check "
                "does; wait until that has ended, or name another directory"
            ) from None
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise DirectoryInUseError(
            f"the data directory {path} is in use by the server with process id {holder}; "
            "stop that one, or name another directory"
        ) from None
    except OSError as error:
        raise DataDirectoryError(
            f"cannot lock the data directory {path}: {error.strerror}; put it on a local disk"
        ) from error


def _can_be_read_beside(file: int) -> bool:
    """Tell whether whoever holds the lock shares it. A server never does; the process id in the file is an old one."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
