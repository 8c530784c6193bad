"""The thread that writes the log, so that no caller waits for the reader of the log."""

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from scoop_server.telemetry.workers import start_thread

QUEUE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Lines that wait to be written: half a minute of a busy access log, and little beside the memory of an index."""

FLUSH_SECONDS_MAX: Final = 1.0
"""Deadline for writing the queue when the process ends."""

WRITE_BYTES_MAX: Final = 4_096
"""Size of one write. A pipe accepts this size atomically, so lines of a compaction are never mixed into it."""

_log: Final = logging.getLogger("scoop_server")

Write = Callable[[bytes], None]
"""Writes all of the bytes, however long it takes. Raises OSError."""


class LogWriter(logging.Handler):
    """Queues lines, and writes them in a thread of its own. It drops lines that find the queue full, and counts them.

    Dropped lines are reported in one line as soon as the log accepts lines again.
    """

    def __init__(self, write: Write, queue_bytes_max: int = QUEUE_BYTES_MAX) -> None:
        super().__init__()
        self._write = write
        self._queue_bytes_max = queue_bytes_max
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._changed = threading.Condition()
        """Guards all fields; notified when a line is queued and when all are written."""
        self._is_writing = False
        self._dropped = 0
        self._dropped_unreported = 0
        self._drop_reason = ""
        start_thread(self._run, "log")

    @property
    def dropped(self) -> int:
        """The number of lines that were dropped."""
        return self._dropped

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue the line of an event, without the lock of ``logging``, which is held during the flush at exit."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of an event."""
        try:
            self.put(self.format(record))
        except Exception as error:  # a traceback of logging's own would be written to the same stream
            self._drop(1, repr(error))

    def put(self, line: str) -> None:
        """Queue a line."""
        data = f"{line}\n".encode(errors="backslashreplace")
        with self._changed:
            if self._queued_bytes + len(data) <= self._queue_bytes_max:
                self._lines.append(data)
                self._queued_bytes += len(data)
                self._changed.notify_all()
                return
        self._drop(1, "the log was not read fast enough")

    def flush(self) -> None:
        """Wait until the queue is written, or for :data:`FLUSH_SECONDS_MAX`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._is_writing, FLUSH_SECONDS_MAX)

    def _drop(self, lines: int, reason: str) -> None:
        with self._changed:
            self._dropped += lines
            self._dropped_unreported += lines
            self._drop_reason = reason

    # The thread

    def _run(self) -> None:
        while True:
            lines = self._take()
            try:
                self._write(b"".join(lines))
            except OSError as error:
                self._drop(len(lines), f"cannot write the log: {error.strerror}")
            else:
                self._report_drops()

    def _take(self) -> list[bytes]:
        """Wait for lines; return as many as one write may hold."""
        with self._changed:
            self._is_writing = False
            if not self._lines:
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines)
            self._is_writing = True
            lines = [self._lines.popleft()]
            size = len(lines[0])
            while self._lines and size + len(self._lines[0]) <= WRITE_BYTES_MAX:
                lines.append(self._lines.popleft())
                size += len(lines[-1])
            self._queued_bytes -= size
        return lines

    def _report_drops(self) -> None:
        """Report dropped lines, once the queue has room for the report and for what follows it."""
        with self._changed:
            if not self._dropped_unreported or self._queued_bytes > self._queue_bytes_max // 2:
                return
            fields = {"lines": self._dropped_unreported, "reason": self._drop_reason}
            self._dropped_unreported = 0
        _log.warning("log lines dropped: %(lines)d; %(reason)s", fields)


def writer_to(descriptor: int) -> Write:
    """Return a function that writes to ``descriptor``, also if another process has made it non-blocking."""

    def write(data: bytes) -> None:
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                select.select([], [descriptor], [])

    return write


def dropped_line_count() -> int:
    """Return how many lines of this process's log were dropped."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogWriter))
