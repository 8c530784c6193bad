"""What the data directory needs of an operating system, so that a simulation can stand in for it."""

from typing import Protocol


class FileSystem(Protocol):
    """The part of module :mod:`os` by which the server touches files; that module itself is the real one.

    Paths are absolute or relative to the working directory; every call raises OSError as :mod:`os` does.
    """

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """Open a file or a directory; return its descriptor."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""

    def read(self, fd: int, length: int, /) -> bytes:
        """Return the next bytes, at most ``length``; none at the end."""

    def lseek(self, fd: int, position: int, whence: int, /) -> int:
        """Move to a place in the file; return where that is from its start."""

    def write(self, fd: int, data: bytes | memoryview, /) -> int:
        """Write; return how many bytes of ``data`` were taken."""

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        """Write from ``offset`` on, and stay at the place for other writes; return how many bytes were taken."""

    def ftruncate(self, fd: int, length: int, /) -> None:
        """Cut the file to ``length`` bytes."""

    def fsync(self, fd: int) -> None:
        """Return when the file, or the names in the directory, are on disk."""

    def fdatasync(self, fd: int, /) -> None:
        """Return when the file's bytes are on disk."""

    def rename(self, src: str, dst: str) -> None:
        """Give a file another name, in place of the file that has it."""

    def unlink(self, path: str) -> None:
        """Delete a file."""

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
