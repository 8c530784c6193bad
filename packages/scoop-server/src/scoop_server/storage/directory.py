"""The files of a data directory: their names, reading them whole, and writing them whole or not at all.

``lock``        held while a server uses the directory; see :mod:`scoop_server.storage.lock`
``snapshot-N``  the whole index at some moment; N is its generation, and the largest counts
``journal-N``   what happened since snapshot N was taken, up to the moment of snapshot N + 1

A journal is begun before its snapshot is taken, so the largest snapshot never stands without the journal that
continues it; only in a new directory it is the other way round.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from scoop_server.storage.files import FileSystem

_FILE: Final = re.compile(r"(snapshot|journal)-([1-9][0-9]{0,17})(\.unfinished-[0-9]+)?")

_READ_BYTES: Final = 16 * 1_048_576
"""A read that is large beside what a call costs, and small beside the memory that the index takes anyway."""


class NameNotDurableError(OSError):
    """A new file has its name, and whether it will still have it after a power loss, no one can tell."""


class DataDirectory:
    """The directory ``path``, which exists, on ``files``. Every method raises OSError where a call fails."""

    def __init__(self, path: str, files: FileSystem = os) -> None:
        self.path = path
        self.files = files

    def generations(self, kind: str) -> list[int]:
        """Return the generations of which there is a ``"snapshot"`` or a ``"journal"``, in order."""
        return sorted(int(match[2]) for match in self._listing() if match[1] == kind and not match[3])

    def _listing(self) -> list[re.Match[str]]:
        return [match for name in sorted(self.files.listdir(self.path)) if (match := _FILE.fullmatch(name))]

    def file(self, kind: str, generation: int) -> str:
        """Return the path of a file."""
        return os.path.join(self.path, f"{kind}-{generation}")

    def read(self, kind: str, generation: int) -> bytes:
        """Return all bytes of a file."""
        with self._opened(self.file(kind, generation), os.O_RDONLY) as descriptor:
            parts = []
            while part := self.files.read(descriptor, _READ_BYTES):
                parts.append(part)
            return b"".join(parts)

    def size(self, kind: str, generation: int) -> int:
        """Return how many bytes a file has."""
        with self._opened(self.file(kind, generation), os.O_RDONLY) as descriptor:
            return self.files.lseek(descriptor, 0, os.SEEK_END)

    def write(self, kind: str, generation: int, chunks: Iterable[bytes]) -> int:
        """Write a file, which appears whole and durable or not at all; return its size in bytes.

        Raises OSError, and then everything is as it was; but for :exc:`NameNotDurableError`.
        """
        path = self.file(kind, generation)
        # Another process may be writing the same generation: a compaction that has outlived its server.
        unfinished = f"{path}.unfinished-{os.getpid()}"
        size = 0
        with self._opened(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
            try:
                for chunk in chunks:
                    write_all(self.files, descriptor, chunk)
                    size += len(chunk)
                self.files.fsync(descriptor)
                self.files.rename(unfinished, path)
            except OSError:
                with contextlib.suppress(OSError):
                    self.files.unlink(unfinished)
                raise
        try:
            self.sync()
        except OSError as error:
            raise NameNotDurableError(error.errno, error.strerror, error.filename) from error
        return size

    def has_room(self, generation: int, size: int) -> bool:
        """Tell whether ``size`` bytes can be written, by writing them to an unfinished journal ``generation``."""
        probe = f"{self.file('journal', generation)}.unfinished-{os.getpid()}"
        try:
            with self._opened(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
                try:
                    write_all(self.files, descriptor, bytes(size))
                finally:
                    self.files.unlink(probe)
        except OSError:
            return False
        return True

    def sync(self) -> None:
        """Make the names in the directory durable."""
        with self._opened(self.path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            self.files.fsync(descriptor)

    def superfluous(self, generation: int) -> list[str]:
        """Return the paths of the files that are older than snapshot ``generation``, and of all unfinished ones."""
        return [
            os.path.join(self.path, match[0]) for match in self._listing() if match[3] or int(match[2]) < generation
        ]

    def delete_before(self, generation: int) -> None:
        """Delete what snapshot ``generation``, which is durable, has made superfluous, and all unfinished files."""
        for path in self.superfluous(generation):
            self.files.unlink(path)

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int]:
        """Open a file for its owner alone, and close it; an error names it, also where a call knew its number only."""
        try:
            descriptor = self.files.open(path, flags, 0o600)
            try:
                yield descriptor
            finally:
                self.files.close(descriptor)
        except OSError as error:
            error.filename = error.filename or path
            raise


def write_all(files: FileSystem, descriptor: int, data: bytes) -> None:
    """Write all of ``data``, in as many calls as it takes. Raises OSError where a call fails."""
    rest = memoryview(data)
    while rest:
        rest = rest[files.write(descriptor, rest) :]
