"""The real file system, with a record of calls and injected faults."""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

Snapshot = dict[str, tuple[bytes, int]]
"""The content of a directory: the bytes of each file, and its modification time in nanoseconds."""


class FaultyFiles:
    """A :class:`scoop_server.storage.files.FileSystem` on the real one, which records calls and injects faults.

    A call is recorded in ``calls`` as its name and its file, such as ``"fdatasync journal-1"``; the directory is
    ``"."``, and process ids are left out of names. Calls that change nothing, and ``close``, are not recorded, but
    ``on_call`` gets them too; ``close`` fails after it has closed, as it does on Linux.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open_files: dict[int, str] = {}
        """The name of the file of each descriptor."""
        self.on_call: Callable[[str], None] = lambda _: None
        """Called with what is recorded, before the call is carried out; it may raise."""
        self.space_left: int | None = None
        """The number of bytes after which writes fail for lack of space; None for no limit."""
        self.free = 1 << 40
        """The space that the file system reports."""
        self.has_room_to_set_aside = False
        """True if space can be reserved ahead of the writes; some disks cannot."""
        self.piece_bytes_max: int | None = None
        """The maximum of one write or read; None for no limit."""

    def fail(self, call: str, number: int = errno.EIO, *, after: int = 0, times: int = 1) -> None:
        """Let calls that match ``call``, a regular expression, fail, after ``after`` that succeed."""
        before, left = after, times
        then = self.on_call

        def inject(noted: str) -> None:
            nonlocal before, left
            then(noted)
            if left and re.fullmatch(call, noted):
                if before:
                    before -= 1
                    return
                left -= 1
                raise OSError(number, os.strerror(number))

        self.on_call = inject

    def taken_calls(self) -> list[str]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls

    def end_process(self) -> None:
        """Close all files, as the end of a process does."""
        for descriptor in self.open_files:
            os.close(descriptor)
        self.open_files.clear()

    def _note(self, call: str, name: str) -> None:
        noted = f"{call} {name}"
        self.calls.append(noted)
        self.on_call(noted)

    @contextlib.contextmanager
    def _by_path(self, path: str) -> Iterator[str]:
        """Yield the recorded name; an error has the path, as one of the system has."""
        name = re.sub(r"\.unfinished-[0-9]+$", ".unfinished", os.path.basename(path))
        try:
            yield "." if os.path.isabs(path) else name
        except OSError as error:
            error.filename = path
            raise

    # What the server calls

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with self._by_path(path) as name:
            if flags & os.O_CREAT:
                self._note("create", name)
            else:
                self.on_call(f"open {name}")
            descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
            self.open_files[descriptor] = name
            return descriptor

    def close(self, fd: int) -> None:
        name = self.open_files.pop(fd)
        os.close(fd)
        self.on_call(f"close {name}")

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with self._by_path(path) as name:
            self.on_call(f"mkdir {name}")
            os.mkdir(path, mode, dir_fd=dir_fd)

    def read(self, fd: int, length: int, /) -> bytes:
        self.on_call(f"read {self.open_files[fd]}")
        return os.read(fd, min(length, self.piece_bytes_max or length))

    def lseek(self, fd: int, position: int, whence: int, /) -> int:
        self.on_call(f"lseek {self.open_files[fd]}")
        return os.lseek(fd, position, whence)

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        self._note("write", self.open_files[fd])
        piece = data[: self.piece_bytes_max]
        if self.space_left is not None:
            if not self.space_left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            piece = piece[: self.space_left]
        taken = os.write(fd, piece)
        if self.space_left is not None:
            self.space_left -= taken
        return taken

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        if self.open_files[fd] == "lock":
            self.on_call("pwrite lock")
            return os.pwrite(fd, data, offset)
        if not self.has_room_to_set_aside:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        self._note("pwrite", self.open_files[fd])
        piece = data if self.space_left is None else data[: self.space_left]
        if not piece:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(fd, piece, offset)

    def ftruncate(self, fd: int, length: int, /) -> None:
        self._note("ftruncate", self.open_files[fd])
        os.ftruncate(fd, length)

    def fsync(self, fd: int) -> None:
        self._note("fsync", self.open_files[fd])
        os.fsync(fd)

    def fdatasync(self, fd: int, /) -> None:
        self._note("fdatasync", self.open_files[fd])
        os.fdatasync(fd)

    def rename(self, src: str, dst: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        with self._by_path(dst) as name:
            self._note("rename", name)
            os.rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        with self._by_path(path) as name:
            self._note("unlink", name)
            os.unlink(path, dir_fd=dir_fd)

    def listdir(self, fd: int, /) -> list[str]:
        self.on_call(f"listdir {self.open_files[fd]}")
        return os.listdir(fd)

    def stat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        with self._by_path(path) as name:
            self.on_call(f"stat {name}")
            return os.stat(path, dir_fd=dir_fd)

    def fstat(self, fd: int) -> os.stat_result:
        self.on_call(f"fstat {self.open_files[fd]}")
        return os.fstat(fd)

    def exists(self, path: str, *, dir_fd: int) -> bool:
        try:
            self.on_call(f"exists {path}")
        except OSError:
            return False
        return os.access(path, os.F_OK, dir_fd=dir_fd)

    def flock(self, fd: int, operation: int, /) -> None:
        self.on_call(f"flock {self.open_files[fd]}")
        fcntl.flock(fd, operation)

    def free_bytes(self, fd: int, /) -> int:
        self.on_call(f"free_bytes {self.open_files[fd]}")
        return self.free


def names_in(path: Path) -> set[str]:
    """Return the names in a directory, except the lock."""
    return {each.name for each in path.iterdir()} - {"lock"}


def contents_of(path: Path) -> Snapshot:
    """Return everything that a directory holds."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in path.iterdir()}
