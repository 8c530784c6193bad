"""The events in a directory as they happen, by inotify of Linux: to wait for a moment that no log line marks."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final, Self

_MODIFY: Final = 0x2
_CLOSE_WRITE: Final = 0x8
_OPEN: Final = 0x20
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_WATCHED: Final = _MODIFY | _CLOSE_WRITE | _OPEN | _MOVED_TO | _CREATE | _DELETE

_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 65_536


class DirectoryWatch:
    """Counts the events in a directory: files opened, created, written, closed, renamed and deleted.

    Appending to a journal does not count: a server under load does little else.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        libc = ctypes.CDLL(None, use_errno=True)
        self._file: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0 or libc.inotify_add_watch(self._file, os.fsencode(path), _WATCHED) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))

    def fileno(self) -> int:
        """Return the descriptor, which is readable after an event."""
        return self._file

    def read(self) -> None:
        """Count the events since the last call."""
        try:
            data = os.read(self._file, _READ_BYTES)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            _, mask, _, name_bytes = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            name = data[position : position + name_bytes].rstrip(b"\0").decode()
            position += name_bytes
            is_append = mask & _MODIFY and name.startswith("journal-") and "." not in name
            self.count += not is_append

    def close(self) -> None:
        """Stop watching."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
