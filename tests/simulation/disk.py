"""A simulated disk: what :mod:`os` gives the server of files, with the faults that a real one may have.

Bytes that were written are in the system's cache; only ``fsync`` and ``fdatasync`` make them durable, and only
an ``fsync`` of the directory makes names durable. :meth:`SimulatedDisk.lose_power` forgets the cache: each write
and each change of a name since the last sync is kept, lost, torn or replaced by something else, as chance has it.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

DIRECTORY: Final = "data"

_FIRST_DESCRIPTOR: Final = 100

_STALE_WRITES: Final = 12
"""How many of the last writes may show up where they do not belong."""


class PowerLossError(BaseException):
    """The machine stops here: what is only in the cache is at risk."""


class ProcessKilledError(BaseException):
    """The process stops here: the cache survives."""


@dataclass(eq=False)
class File:
    """One file: what is in the cache, what is on the disk, and what leads from this to that."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes (place, bytes) and cuts (length, None) since the last sync, in order."""


class SimulatedDisk:
    """One directory of files. It is a :class:`scoop_server.storage.files.FileSystem`.

    ``fault`` is called with the name of each call before it is carried out; it may raise.
    """

    def __init__(self, random: Random, trace: Callable[[str], None]) -> None:
        self.names: dict[str, File] = {}
        self.space_left: int | None = None
        """Bytes that can still be written; None is without end."""
        self.writes_short = False
        self.fault: Callable[[str], None] = lambda _: None
        self.on_sync: Callable[[], None] = lambda: None
        self._durable_names: dict[str, File] = {}
        self._unsynced_names: list[tuple[str, File | None, str | None]] = []
        """Changes of names since the last sync of the directory: (name, its file or None, the name that goes)."""
        self._written: list[bytes] = []
        self._open: dict[int, tuple[File | None, list[int]]] = {}
        self._random = random
        self._trace = trace

    # What the server calls

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:  # noqa: ARG002  # no one else is here
        """See :func:`os.open`."""
        self._call("open", path)
        if path == DIRECTORY:
            return self._descriptor(None)
        name = self._name(path)
        if name not in self.names:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if self.space_left is not None and self.space_left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            self.names[name] = File()
            self._unsynced_names.append((name, self.names[name], None))
        if flags & os.O_TRUNC:
            self._cut(self.names[name], 0)
        return self._descriptor(self.names[name])

    def close(self, fd: int) -> None:
        """See :func:`os.close`."""
        del self._open[fd]

    def read(self, fd: int, length: int, /) -> bytes:
        """See :func:`os.read`."""
        self._call("read")
        file, position = self._file(fd)
        data = bytes(file.content[position[0] : position[0] + length])
        position[0] += len(data)
        return data

    def lseek(self, fd: int, position: int, whence: int, /) -> int:
        """See :func:`os.lseek`; to the end, or to a place."""
        file, place = self._file(fd)
        assert whence == os.SEEK_SET or (position, whence) == (0, os.SEEK_END)
        place[0] = position if whence == os.SEEK_SET else len(file.content)
        return place[0]

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        """See :func:`os.write`."""
        file, position = self._file(fd)
        count = self._write_at(file, position[0], bytes(data))
        position[0] += count
        return count

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        """See :func:`os.pwrite`."""
        return self._write_at(self._file(fd)[0], offset, data)

    def _write_at(self, file: File, place: int, piece: bytes) -> int:
        if self.writes_short and len(piece) > 1 and self._random.random() < 0.3:
            piece = piece[: self._random.randrange(1, len(piece))]
        if self.space_left is not None:
            room = max(0, len(file.content) - place) + self.space_left
            if room <= 0:
                self._call("write: no space")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            piece = piece[:room]
        try:
            self._call("write", str(len(piece)))
        except BaseException:
            # It stops in the middle of the write.
            self._overwrite(file, place, piece[: self._random.randrange(len(piece) + 1)])
            raise
        self._overwrite(file, place, piece)
        return len(piece)

    def ftruncate(self, fd: int, length: int, /) -> None:
        """See :func:`os.ftruncate`."""
        self._call("ftruncate", str(length))
        self._cut(self._file(fd)[0], length)

    def fsync(self, fd: int) -> None:
        """See :func:`os.fsync`."""
        file, _ = self._open[fd]
        self._call("fsync", "directory" if file is None else "file")
        if file is None:
            self._durable_names = dict(self.names)
            self._unsynced_names.clear()
        else:
            self._sync(file)

    def fdatasync(self, fd: int, /) -> None:
        """See :func:`os.fdatasync`."""
        self._call("fdatasync")
        self._sync(self._file(fd)[0])
        self.on_sync()

    def rename(self, src: str, dst: str) -> None:
        """See :func:`os.rename`."""
        self._call("rename", dst)
        file = self.names.pop(self._name(src))
        self.names[self._name(dst)] = file
        self._unsynced_names.append((self._name(dst), file, self._name(src)))

    def unlink(self, path: str) -> None:
        """See :func:`os.unlink`."""
        self._call("unlink", path)
        del self.names[self._name(path)]
        self._unsynced_names.append((self._name(path), None, None))

    def listdir(self, path: str) -> list[str]:
        """See :func:`os.listdir`; in any order."""
        assert path == DIRECTORY
        return self._random.sample(sorted(self.names), len(self.names))

    # What the world does

    def lose_power(self) -> None:
        """Forget the cache: what was not synced is kept, lost, torn or garbage."""
        names = dict(self._durable_names)
        for name, file, gone in self._unsynced_names:
            if self._random.random() < 0.5:
                continue
            if gone is not None:
                names.pop(gone, None)
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        for file in dict.fromkeys([*self._durable_names.values(), *names.values()]):
            file.content = bytearray(self._what_is_left(file))
            file.durable = bytes(file.content)
            file.unsynced.clear()
        self.names = names
        self._durable_names = dict(names)
        self._unsynced_names.clear()
        self._open.clear()

    def end_process(self) -> None:
        """Close all files, as the end of a process does."""
        self._open.clear()

    def files(self) -> dict[str, bytes]:
        """Return what each file holds."""
        return {name: bytes(file.content) for name, file in sorted(self.names.items())}

    def _what_is_left(self, file: File) -> bytes:
        content = bytearray(file.durable)
        for place, written in file.unsynced:
            fate = self._random.choice(("kept", "kept", "lost", "torn", "garbage", "stale"))
            if fate == "lost":
                continue
            content.extend(bytes(max(0, place - len(content))))  # a hole reads as zeros
            if written is None:
                del content[place:]
            else:
                data = self._what_is_left_of(written, fate)
                content[place : place + len(data)] = data
        return bytes(content)

    def _what_is_left_of(self, data: bytes, fate: str) -> bytes:
        if fate == "torn":
            return data[: self._random.randrange(len(data) + 1)]
        if fate == "garbage":
            return self._random.randbytes(len(data))
        if fate == "stale":  # blocks that held something else before
            return self._random.choice(self._written[-_STALE_WRITES:])[: len(data)].ljust(len(data), b"\0")
        return data

    def _call(self, name: str, detail: str = "") -> None:
        self._trace(f"disk {name} {detail}")
        self.fault(name)

    def _name(self, path: str) -> str:
        directory, name = os.path.split(path)
        assert directory == DIRECTORY
        return name

    def _descriptor(self, file: File | None) -> int:
        descriptor = next(number for number in range(_FIRST_DESCRIPTOR, 10_000) if number not in self._open)
        self._open[descriptor] = (file, [0])
        return descriptor

    def _file(self, fd: int) -> tuple[File, list[int]]:
        file, position = self._open[fd]
        assert file is not None
        return file, position

    def _overwrite(self, file: File, place: int, data: bytes) -> None:
        if data:
            length = len(file.content)
            assert place <= length
            file.unsynced.append((place, data))
            file.content[place : place + len(data)] = data
            if any(data):
                self._written.append(data)
            if self.space_left is not None:
                self.space_left -= len(file.content) - length

    def _cut(self, file: File, length: int) -> None:
        if self.space_left is not None:
            self.space_left += max(0, len(file.content) - length)
        del file.content[length:]
        file.unsynced.append((length, None))

    def _sync(self, file: File) -> None:
        file.durable = bytes(file.content)
        file.unsynced.clear()
