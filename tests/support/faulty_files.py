"""The operating system's files, with every call on record, and with the faults that a test asks for."""

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

Snapshot = dict[str, tuple[bytes, int]]
"""What a directory holds: each file's bytes, and when it was last changed, in nanoseconds."""


class FaultyFiles:
    """A :class:`scoop_server.storage.files.FileSystem` that delegates to :mod:`os`.

    Each call is noted in ``calls`` as its name and the file that it is about, such as ``"fdatasync journal-1"``;
    the directory is ``"."``, and process ids are left out of names. Reading and ``close`` are not noted.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open_files: dict[int, str] = {}
        """The name of the file behind each descriptor."""
        self.on_call: Callable[[str], None] = lambda _: None
        """Is called with what is noted, before the call is carried out; it may raise."""
        self.space_left: int | None = None
        """How many bytes can still be written before there is no space left; None is without end."""
        self.has_room_to_set_aside = False
        """Whether room can be set aside ahead of what is written, as some disks cannot."""
        self.piece_bytes_max: int | None = None
        """How much one write takes, or one read gives; None is all."""

    def fail(self, call: str, number: int = errno.EIO, *, after: int = 0, times: int = 1) -> None:
        """Have the calls that are noted as ``call``, a regular expression, fail from the next but ``after`` on."""
        before, left = after, times
        then = self.on_call

        def fail_in_turn(noted: str) -> None:
            nonlocal before, left
            then(noted)
            if left and re.fullmatch(call, noted):
                if before:
                    before -= 1
                    return
                left -= 1
                raise OSError(number, os.strerror(number))

        self.on_call = fail_in_turn

    def taken_calls(self) -> list[str]:
        """Return what has been noted since this was last asked for."""
        calls, self.calls = self.calls, []
        return calls

    def _note(self, call: str, name: str) -> None:
        noted = f"{call} {name}"
        self.calls.append(noted)
        self.on_call(noted)

    @contextlib.contextmanager
    def _by_path(self, path: str) -> Iterator[str]:
        """Give how a file is noted; as from the system, an error of a call by path holds the path."""
        try:
            yield "." if os.path.isdir(path) else re.sub(r"\.unfinished-[0-9]+$", ".unfinished", os.path.basename(path))
        except OSError as error:
            error.filename = path
            raise

    # What the server calls

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        with self._by_path(path) as name:
            if flags & os.O_CREAT:
                self._note("create", name)
            else:
                self.on_call(f"open {name}")
            descriptor = os.open(path, flags, mode)
            self.open_files[descriptor] = name
            return descriptor

    def close(self, fd: int) -> None:
        del self.open_files[fd]
        os.close(fd)

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

    def rename(self, src: str, dst: str) -> None:
        with self._by_path(dst) as name:
            self._note("rename", name)
            os.rename(src, dst)

    def unlink(self, path: str) -> None:
        with self._by_path(path) as name:
            self._note("unlink", name)
            os.unlink(path)

    def listdir(self, path: str) -> list[str]:
        with self._by_path(path) as name:
            self.on_call(f"listdir {name}")
            return os.listdir(path)


def names_in(path: Path) -> set[str]:
    """Return the names in a directory, but for the lock's."""
    return {each.name for each in path.iterdir()} - {"lock"}


def contents_of(path: Path) -> Snapshot:
    """Return all that a directory holds."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in path.iterdir()}
