"""Signals, handled between turns: they interrupt nothing but what is long and may end at any moment."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

_ENDS: Final = frozenset({signal.SIGTERM, signal.SIGINT})

_READ_BYTES_MAX: Final = 4_096
"""More signals than come between two turns."""


class SignalPipe:
    """Signals as something a selector can wait for: SIGTERM, SIGINT, SIGHUP and SIGUSR1 put a byte into it."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._interrupts = False
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._handle) for number in _SIGNALS}

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._interrupts and number in _ENDS:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Have SIGTERM and SIGINT raise KeyboardInterrupt meanwhile: for what takes long, and may end at any moment.

        It is raised at once where one of them has come and has not been read.
        """
        self._interrupts = True
        try:
            if _ENDS.intersection(self._unread()):
                raise KeyboardInterrupt
            yield
        finally:
            self._interrupts = False

    def fileno(self) -> int:
        """Return the descriptor that can be read when a signal has come."""
        return self._reader.fileno()

    def read(self) -> bytes:
        """Return the numbers of the signals that came, one a byte."""
        return self._reader.recv(_READ_BYTES_MAX)

    def _unread(self) -> bytes:
        """Return what :meth:`read` will, and leave it there."""
        try:
            return self._reader.recv(_READ_BYTES_MAX, socket.MSG_PEEK)
        except BlockingIOError:
            return b""

    def interrupt_if_asked(self) -> None:
        """Raise KeyboardInterrupt if SIGTERM or SIGINT has come since the last look."""
        with contextlib.suppress(BlockingIOError):
            if _ENDS.intersection(self.read()):
                raise KeyboardInterrupt

    def close(self) -> None:
        """Put everything back as it was."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()
