"""The file system port: the calls by which storage touches files, so that tests and a simulation can replace them."""

import contextlib
import errno
import fcntl
import os
import pwd
from collections.abc import Iterator
from typing import Final, Protocol

from scoop_server.telemetry.logs import log

CREATE: Final = os.O_CREAT | os.O_NOFOLLOW
"""The flags that create a file. A user who can write to the directory must not redirect it to a file elsewhere."""


class FileSystem(Protocol):
    """The part of :mod:`os` that storage needs. Paths are relative to ``dir_fd``; every call raises OSError."""

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open a file or a directory; return its descriptor."""

    def close(self, fd: int) -> None:
        """Close a descriptor. It is closed even if an error is reported."""

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """Create a directory."""

    def read(self, fd: int, length: int, /) -> bytes:
        """Return the next bytes, at most ``length``; none at the end."""

    def lseek(self, fd: int, position: int, whence: int, /) -> int:
        """Move the position of the descriptor; return the new one."""

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        """Write at the position; return how many bytes were written."""

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        """Write at ``offset`` without moving the position; return how many bytes were written."""

    def ftruncate(self, fd: int, length: int, /) -> None:
        """Cut the file to ``length`` bytes."""

    def fsync(self, fd: int) -> None:
        """Wait until the file or the names in the directory are on disk."""

    def fdatasync(self, fd: int, /) -> None:
        """Wait until the bytes of the file are on disk."""

    def rename(self, src: str, dst: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        """Rename a file, replacing the file of that name."""

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        """Delete a file."""

    def listdir(self, fd: int, /) -> list[str]:
        """Return the names in an open directory."""

    def stat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        """Return the status of the file at a path."""

    def fstat(self, fd: int) -> os.stat_result:
        """Return the status of an open file."""

    def exists(self, path: str, *, dir_fd: int) -> bool:
        """Return whether there is a file at a path; False also if the directory cannot be searched."""

    def flock(self, fd: int, operation: int, /) -> None:
        """Lock an open file."""

    def free_bytes(self, fd: int, /) -> int:
        """Return the space that is available to this process on the file system of an open file."""


class OperatingSystem:
    """The real file system."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    mkdir = staticmethod(os.mkdir)
    read = staticmethod(os.read)
    lseek = staticmethod(os.lseek)
    write = staticmethod(os.write)
    pwrite = staticmethod(os.pwrite)
    ftruncate = staticmethod(os.ftruncate)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    stat = staticmethod(os.stat)
    fstat = staticmethod(os.fstat)
    flock = staticmethod(fcntl.flock)

    @staticmethod
    def exists(path: str, *, dir_fd: int) -> bool:
        """Return whether there is a file at a path; False also if the directory cannot be searched."""
        return os.access(path, os.F_OK, dir_fd=dir_fd)

    @staticmethod
    def listdir(fd: int, /) -> list[str]:
        """Return the names in an open directory."""
        return os.listdir(fd)

    @staticmethod
    def free_bytes(fd: int, /) -> int:
        """Return the space that is available to this process on the file system of an open file."""
        status = os.fstatvfs(fd)
        return status.f_bavail * status.f_frsize


OPERATING_SYSTEM: Final[FileSystem] = OperatingSystem()


_TEMPORARY: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS})
"""No space, quota or file size left; no descriptors left for a new file (clients may hold them all); read-only."""


def user_name(number: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def way_out(error: OSError, directory: str, otherwise: str) -> str:
    """Return the way out of a call that failed on a file in ``directory``; what is sound needs no restore."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return "raise the limit with ulimit -n or LimitNOFILE="
    if error.errno in {errno.EACCES, errno.EPERM}:
        with contextlib.suppress(OSError):
            owner = user_name(os.stat(error.filename or directory).st_uid)
            own = user_name(os.geteuid())
            if owner != own:
                return (
                    f"it belongs to {owner}, and this process runs as {own}: start it as {owner}, or give the "
                    f"directory to {own} with: chown -R {own} {directory}"
                )
    return otherwise


def is_out_of_space(error: BaseException) -> bool:
    """Return whether an error, or its cause, is a lack of space."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT}


def is_temporary(error: OSError) -> bool:
    """Return whether a change failed for a reason that may be temporary and does not affect earlier writes."""
    return error.errno in _TEMPORARY


def write_all(files: FileSystem, descriptor: int, data: bytes) -> None:
    """Write all of ``data``, in as many calls as it takes. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[files.write(descriptor, rest) :]


def close_quietly(files: FileSystem, descriptor: int, path: str) -> None:
    """Close a descriptor; log an error instead of raising it.

    Whatever must be durable was synced before, and the descriptor is gone even if close reports an error (NFS, FUSE
    and quotas do), so using it again could write into a file or socket that got its number.
    """
    try:
        files.close(descriptor)
    except OSError as error:
        log.warning("error while closing %(file)s: %(why)s", {"file": path, "why": error.strerror})


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Put ``path`` into an OSError that names no file, or names it relative to its directory."""
    try:
        yield
    except OSError as error:
        if os.sep not in str(error.filename):  # or the number of a descriptor
            error.filename = path
        raise
