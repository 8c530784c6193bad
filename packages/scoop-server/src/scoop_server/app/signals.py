"""Signals, handled between turns; only long work that may end at any moment is interrupted."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Final

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

_STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})

_READ_BYTES_MAX: Final = 4_096
"""The size of one read: far more signals than arrive between two turns."""


class SignalPipe:
    """The handled signals as bytes that a selector can wait for."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._is_interrupting = False
        self._previous_wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        # A shell that does not control jobs ignores SIGINT for "scoop-server &": Ctrl-C is not meant for it then.
        is_meant = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        handled = [number for number in HANDLED if is_meant or number != signal.SIGINT]
        self._previous_handlers = {number: signal.signal(number, self._handle) for number in handled}

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._is_interrupting and number in _STOP:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Raise KeyboardInterrupt on SIGTERM and SIGINT inside this context, also on one that arrived before.

        Other signals that arrived before stay unread.
        """
        self._is_interrupting = True
        try:
            with contextlib.suppress(BlockingIOError):  # none has arrived
                if _STOP.intersection(self._reader.recv(_READ_BYTES_MAX, socket.MSG_PEEK)):
                    raise KeyboardInterrupt
            yield
        finally:
            self._is_interrupting = False

    def fileno(self) -> int:
        """Return the descriptor that is readable once a signal has arrived."""
        return self._reader.fileno()

    def read(self) -> bytes:
        """Return the numbers of the signals that have arrived, one byte each."""
        return self._reader.recv(_READ_BYTES_MAX)

    def close(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._reader.close()
        self._writer.close()
