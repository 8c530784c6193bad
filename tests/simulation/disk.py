"""A simulated disk: the file system port of the server, with the faults that a real disk may have.

Bytes that were written are in the page cache; only ``fsync`` and ``fdatasync`` make them durable, and only an ``fsync``
of the directory makes names durable. A sync that fails leaves pages that count as written and may never be: a later
sync succeeds without them. :meth:`SimulatedDisk.lose_power` drops the cache: each write and each change of a name
since the last sync is kept, lost, torn or replaced, by chance.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final

from scoop_server.storage.backlog import _SLACK_BYTES

DIRECTORY: Final = "data"

_FIRST_DESCRIPTOR: Final = 100

_STALE_WRITES: Final = 12
"""The number of recent writes that may show up in other places."""

_PLENTY: Final = 1 << 40
"""The free space of a disk without a limit."""


class PowerLossError(BaseException):
    """The machine stops here: what is only in the cache is at risk."""


class ProcessKilledError(BaseException):
    """The process stops here: the cache survives."""


Write = tuple[int, bytes | None]
"""Bytes at a place, or a cut to a length."""


def applied(content: bytes | bytearray, writes: list[Write]) -> bytes:
    """Return ``content`` after ``writes``. A hole reads as zeros."""
    result = bytearray(content)
    for place, data in writes:
        result.extend(bytes(max(0, place - len(result))))
        if data is None:
            del result[place:]
        else:
            result[place : place + len(data)] = data
    return bytes(result)


@dataclass(eq=False)
class File:
    """One file: its content in the cache, its content on the disk, and the writes that lead from this to that."""

    inode: int
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    unsynced: list[Write] = field(default_factory=list)
    """Writes since the last sync, whether it succeeded or not."""
    links: int = 0


@dataclass(eq=False)
class NameChange:
    """A change of names that one call has made, in one directory or two: it reaches the disk in both or in neither."""

    target: "Folder"
    name: str
    file: File | None
    """The file that has the name now; None if it has disappeared."""
    gone: str | None = None
    """The name that the file had before."""
    source: "Folder | None" = None
    """The directory of that name."""
    is_durable: bool | None = None
    """None until a sync or a power failure decides."""


@dataclass(eq=False)
class Folder:
    """One directory: its names in the cache and on the disk."""

    inode: int
    names: dict[str, File] = field(default_factory=dict)
    durable: dict[str, File] = field(default_factory=dict)
    unsynced: list["NameChange"] = field(default_factory=list)
    """Changes of names since the last sync."""
    is_removed: bool = False
    folders: dict[str, "Folder"] = field(default_factory=dict)
    """The directories in it. A new one is durable at once."""

    def link(self, name: str, file: File) -> None:
        self.unlink(name)
        self.names[name] = file
        file.links += 1

    def unlink(self, name: str) -> None:
        if name in self.names:
            self.names.pop(name).links -= 1


@dataclass(eq=False)
class Opened:
    """An open file or directory, with its position."""

    node: File | Folder
    path: str
    position: int = 0


class SimulatedDisk:
    """Directories of files, which processes use through :class:`SimulatedProcess`.

    ``fault`` is called with the name of each call before it is carried out; it may raise.
    """

    def __init__(self, random: Random, trace: Callable[[str], None]) -> None:
        self.space_left: int | None = None
        """Bytes that can still be written; None for no limit."""
        self.is_read_only = False
        self.writes_short = False
        self.fault: Callable[[str], None] = lambda _: None
        self.before_call: Callable[[], None] = lambda: None
        """Called before each call of a process, at a moment at which another process may look at the files."""
        self.on_sync: Callable[[], None] = lambda: None
        self.has_failed_sync = False
        """True if a sync has failed since this was last reset."""
        self.has_cut = False
        """True if a part of a failed write was cut off since this was last reset."""
        self.random = random
        self.folders: dict[str, Folder] = {}
        self.locks: dict[int, list[tuple[Opened, int]]] = {}
        """The locks on each inode."""
        self.written: list[bytes] = []
        self.freed: list[bytes] = []
        """The contents of deleted files, whose blocks may become those of new files."""
        self.inodes = count(1)
        self.trace = trace

    def call(self, name: str, detail: str = "") -> None:
        """Note a call, and let it fail if that is planned."""
        self.before_call()
        self.trace(f"disk {name} {detail}")
        self.fault(name)

    def check_writable(self) -> None:
        """Raise if the file system is read-only."""
        if self.is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # Operators and their mistakes

    def files(self, path: str = DIRECTORY) -> dict[str, bytes]:
        """Return the content of each file, except the lock."""
        names = self.folders[path].names if path in self.folders else {}
        return {name: bytes(file.content) for name, file in sorted(names.items()) if name != "lock"}

    def move(self, path: str, to: str) -> None:
        """Rename a directory."""
        self.folders[to] = self.folders.pop(path)

    def copy(self, path: str, to: str) -> None:
        """Put a durable copy of a directory at another path, as a backup would be restored."""
        self.folders[to] = folder = Folder(next(self.inodes))
        for name, data in self.files(path).items():
            folder.link(name, File(next(self.inodes), bytearray(data), data))
        folder.durable = dict(folder.names)

    def remove(self, path: str) -> None:
        """Delete a directory with everything in it."""
        folder = self.folders.pop(path)
        for each in (folder, *folder.folders.values()):
            each.is_removed = True
            for name in list(each.names):
                each.unlink(name)

    # Power

    def lose_power(self) -> None:
        """Drop the cache: what was not synced is kept, lost, torn or garbage."""
        for folder in self.all_folders():
            names = dict(folder.durable)
            for change in folder.unsynced:
                if change.is_durable is None:
                    change.is_durable = self.random.random() >= 0.5
                if not change.is_durable:
                    continue
                if change.gone is not None and change.source is folder:
                    names.pop(change.gone, None)
                if change.target is folder and change.file is None:
                    names.pop(change.name, None)
                elif change.target is folder and change.file is not None:
                    names[change.name] = change.file
            for file in dict.fromkeys([*folder.durable.values(), *names.values()]):
                self.write_back(file, is_complete=False)
                file.content = bytearray(file.durable)
                file.links = 0
            folder.names = {}
            for name, file in names.items():
                folder.link(name, file)
            folder.durable = dict(names)
            folder.unsynced.clear()
        self.locks.clear()

    def all_folders(self) -> list[Folder]:
        """Return the directories, each before those in it."""
        return [each for folder in self.folders.values() for each in (folder, *folder.folders.values())]

    def evict(self) -> None:
        """Drop clean pages from the cache: the next read comes from the disk."""
        for folder in self.all_folders():
            for file in folder.names.values():
                file.content = bytearray(applied(file.durable, file.unsynced))

    def write_back(self, file: File, *, is_complete: bool) -> None:
        """Write the dirty pages of a file: all of them, or by chance. They are clean then in any case."""
        writes = file.unsynced if is_complete else list(self._what_arrives(file.unsynced))
        file.durable = applied(file.durable, writes)
        file.unsynced = []

    def _what_arrives(self, writes: list[Write]) -> list[Write]:
        arriving: list[Write] = []
        for place, data in writes:
            fate = self.random.choice(("kept", "kept", "lost", "torn", "garbage", "stale"))
            if data is None and fate in {"kept", "torn"}:  # a cut arrives as a whole or not at all
                arriving.append((place, None))
            elif data is not None and fate != "lost":
                arriving.append((place, self._what_is_left_of(data, place, fate)))
        return arriving

    def _what_is_left_of(self, data: bytes, place: int, fate: str) -> bytes:
        if fate == "torn":
            return data[: self.random.randrange(len(data) + 1)]
        if fate == "garbage":
            return self.random.randbytes(len(data))
        if fate == "stale":  # blocks that held something else before
            freed = [content[place:] for content in self.freed if len(content) > place]
            return self.random.choice(freed or self.written[-_STALE_WRITES:])[: len(data)].ljust(len(data), b"\0")
        return data


class SimulatedProcess:
    """The file system as one process uses it. It is a :class:`scoop_server.storage.files.FileSystem`."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._open: dict[int, Opened] = {}

    def end(self) -> None:
        """Close all files and release all locks, as the end of a process does."""
        for descriptor in list(self._open):
            self._release(self._open.pop(descriptor))

    def inherit(self, parent: "SimulatedProcess", descriptor: int) -> int:
        """Take over a descriptor of the process that started this one."""
        self._open[descriptor] = parent._open.pop(descriptor)
        return descriptor

    # Opening and closing

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:  # noqa: ARG002  # there is no other process
        """See :func:`os.open`."""
        disk = self._disk
        disk.call("open", path)
        if dir_fd is None or path == ".":
            return self._descriptor(Opened(self._folder(path) if dir_fd is None else self._opened(dir_fd), path))
        folder = self._opened(dir_fd)
        if path in folder.folders:
            return self._descriptor(Opened(folder.folders[path], path))
        if path not in folder.names:
            if not flags & os.O_CREAT or folder.is_removed:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            disk.check_writable()
            if disk.space_left is not None and disk.space_left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            file = File(next(disk.inodes))
            folder.link(path, file)
            folder.unsynced.append(NameChange(folder, path, file))
        elif flags & (os.O_WRONLY | os.O_RDWR):
            disk.check_writable()
        file = folder.names[path]
        if flags & os.O_TRUNC:
            self._cut(file, 0)
        return self._descriptor(Opened(file, path))

    def close(self, fd: int) -> None:
        """See :func:`os.close`; the descriptor is gone even if it fails."""
        opened = self._open.pop(fd)
        self._release(opened)
        self._disk.call("close", opened.path)

    def _release(self, opened: Opened) -> None:
        locks = self._disk.locks.get(opened.node.inode, [])
        locks[:] = [each for each in locks if each[0] is not opened]

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:  # noqa: ARG002  # there is no other process
        """See :func:`os.mkdir`."""
        self._disk.call("mkdir", path)
        folders = self._disk.folders if dir_fd is None else self._opened(dir_fd).folders
        if path in folders:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._disk.check_writable()
        folders[path] = Folder(next(self._disk.inodes))

    def flock(self, fd: int, operation: int, /) -> None:
        """See :func:`fcntl.flock`."""
        opened = self._open[fd]
        self._disk.call("flock", opened.path)
        locks = self._disk.locks.setdefault(opened.node.inode, [])
        others = [kind for holder, kind in locks if holder is not opened]
        kind = operation & ~fcntl.LOCK_NB
        if others and (kind == fcntl.LOCK_EX or fcntl.LOCK_EX in others):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        locks[:] = [(holder, held) for holder, held in locks if holder is not opened]
        locks.append((opened, kind))

    # Reading

    def read(self, fd: int, length: int, /) -> bytes:
        """See :func:`os.read`."""
        self._disk.call("read")
        opened, file = self._open[fd], self._file(fd)
        data = bytes(file.content[opened.position : opened.position + length])
        opened.position += len(data)
        return data

    def lseek(self, fd: int, position: int, whence: int, /) -> int:
        """See :func:`os.lseek`; to a place or to the end."""
        opened = self._open[fd]
        opened.position = position if whence == os.SEEK_SET else len(self._file(fd).content)
        return opened.position

    def listdir(self, fd: int, /) -> list[str]:
        """See :func:`os.listdir`; in any order."""
        names = sorted((*self._opened(fd).names, *self._opened(fd).folders))
        return self._disk.random.sample(names, len(names))

    def stat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        """See :func:`os.stat`."""
        if dir_fd is None:
            return _status(self._folder(path))
        if path not in self._opened(dir_fd).names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return _status(self._opened(dir_fd).names[path])

    def fstat(self, fd: int) -> os.stat_result:
        """See :func:`os.fstat`."""
        return _status(self._open[fd].node)

    def exists(self, path: str, *, dir_fd: int) -> bool:
        """See :func:`os.access`."""
        return path in self._opened(dir_fd).names or path in self._opened(dir_fd).folders

    def free_bytes(self, fd: int, /) -> int:
        """Return the free space, as large for the tiny files here as it would be for real ones."""
        assert fd in self._open
        return _PLENTY if self._disk.space_left is None else max(0, self._disk.space_left) + _SLACK_BYTES

    # Writing

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        """See :func:`os.write`."""
        opened = self._open[fd]
        written = self._write_at(self._file(fd), opened.position, bytes(data))
        opened.position += written
        return written

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        """See :func:`os.pwrite`."""
        return self._write_at(self._file(fd), offset, data)

    def _write_at(self, file: File, place: int, piece: bytes) -> int:
        disk = self._disk
        if disk.writes_short and len(piece) > 1 and disk.random.random() < 0.3:
            piece = piece[: disk.random.randrange(1, len(piece))]
        if disk.space_left is not None:
            room = max(0, len(file.content) - place) + disk.space_left
            if room <= 0:
                disk.call("write: no space")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            piece = piece[:room]
        try:
            disk.check_writable()
            disk.call("write", str(len(piece)))
        except (PowerLossError, ProcessKilledError):
            # It stops in the middle of the write.
            self._overwrite(file, place, piece[: disk.random.randrange(len(piece) + 1)])
            raise
        self._overwrite(file, place, piece)
        return len(piece)

    def _overwrite(self, file: File, place: int, data: bytes) -> None:
        if data:
            before = len(file.content)
            file.unsynced.append((place, data))
            file.content = bytearray(applied(file.content, [(place, data)]))
            if any(data):
                self._disk.written.append(data)
            if self._disk.space_left is not None:
                self._disk.space_left -= len(file.content) - before

    def ftruncate(self, fd: int, length: int, /) -> None:
        """See :func:`os.ftruncate`."""
        self._disk.call("ftruncate", str(length))
        self._disk.check_writable()
        self._disk.has_cut |= any(self._file(fd).content[length:])
        self._cut(self._file(fd), length)

    def _cut(self, file: File, length: int) -> None:
        if self._disk.space_left is not None:
            self._disk.space_left += max(0, len(file.content) - length)
        del file.content[length:]
        file.unsynced.append((length, None))

    def fsync(self, fd: int) -> None:
        """See :func:`os.fsync`."""
        node = self._open[fd].node
        if isinstance(node, File):
            self._sync(node, "fsync")
            return
        try:
            self._disk.call("fsync", "directory")
        except OSError:
            self._decide(node, is_durable=False)  # the page counts as written until a name in it changes
            raise
        if node.unsynced:
            node.durable = dict(node.names)
            self._decide(node, is_durable=True)

    @staticmethod
    def _decide(folder: Folder, *, is_durable: bool) -> None:
        for change in folder.unsynced:
            if change.is_durable is None:
                change.is_durable = is_durable
        folder.unsynced.clear()

    def fdatasync(self, fd: int, /) -> None:
        """See :func:`os.fdatasync`."""
        self._sync(self._file(fd), "fdatasync")
        self._disk.on_sync()

    def _sync(self, file: File, call: str) -> None:
        try:
            self._disk.call(call)
            if file.unsynced:
                self._disk.check_writable()
        except OSError:
            self._disk.has_failed_sync = True
            self._disk.write_back(file, is_complete=False)
            raise
        self._disk.write_back(file, is_complete=True)

    # Names

    def rename(self, src: str, dst: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        """See :func:`os.rename`."""
        assert src_dir_fd is not None
        assert dst_dir_fd is not None
        self._disk.call("rename", dst)
        self._disk.check_writable()
        source, target = self._opened(src_dir_fd), self._opened(dst_dir_fd)
        file = source.names[src]
        target.link(dst, file)
        source.unlink(src)
        change = NameChange(target, dst, file, src, source)
        for folder in dict.fromkeys((source, target)):
            folder.unsynced.append(change)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        """See :func:`os.unlink`."""
        assert dir_fd is not None
        self._disk.call("unlink", path)
        self._disk.check_writable()
        folder = self._opened(dir_fd)
        if path not in folder.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        folder.unlink(path)
        folder.unsynced.append(NameChange(folder, path, None))

    # Looking up

    def _folder(self, path: str) -> Folder:
        if path not in self._disk.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._disk.folders[path]

    def _opened(self, fd: int) -> Folder:
        node = self._open[fd].node
        assert isinstance(node, Folder)
        return node

    def _file(self, fd: int) -> File:
        node = self._open[fd].node
        assert isinstance(node, File)
        return node

    def _descriptor(self, opened: Opened) -> int:
        descriptor = next(number for number in count(_FIRST_DESCRIPTOR) if number not in self._open)
        self._open[descriptor] = opened
        return descriptor


def _status(node: File | Folder) -> os.stat_result:
    is_file = isinstance(node, File)
    links = node.links if isinstance(node, File) else 0 if node.is_removed else 2
    size = len(node.content) if isinstance(node, File) else 0
    return os.stat_result((0o100600 if is_file else 0o40700, node.inode, 1, links, 0, 0, size, 0, 0, 0))
