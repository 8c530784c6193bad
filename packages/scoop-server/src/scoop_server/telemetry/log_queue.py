"""The queue between the callers of the log and the thread that writes it, so that nobody waits for its reader."""

import logging
import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from logging.handlers import QueueHandler
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


class _Lines(queue.Queue[bytes]):
    """A queue of lines whose size is that of their bytes, and which returns as many as one write may hold."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: bytes) -> None:
        super()._put(item)
        self._bytes += len(item)

    def _get(self) -> bytes:
        lines = super()._get()
        while self.queue and len(lines) + len(self.queue[0]) <= WRITE_BYTES_MAX:
            lines += super()._get()
        self._bytes -= len(lines)
        return lines


class LogQueue(QueueHandler):
    """Queues lines, and writes them in a thread of its own. It drops lines that find the queue full, and counts them.

    Dropped lines are reported in one line as soon as the log accepts lines again. The thread is no ``QueueListener``:
    that writes one line at a time, which an access log outruns, and waits for a blocked reader at the end.
    """

    def __init__(self, write: Write, queue_bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self._lines = _Lines(queue_bytes_max)
        super().__init__(self._lines)
        self._write = write
        self._dropping = threading.Lock()
        self.dropped = 0
        """The number of lines that were dropped."""
        self._reported = 0
        self._drop_reason = ""
        start_thread(self._run, "log")

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue the line of an event, without the lock of ``logging``, which is held during the flush at exit."""
        self.emit(record)
        return True

    def prepare(self, record: logging.LogRecord) -> bytes:
        """Return the line of an event."""
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name of logging
        """Count an event that cannot be queued. A traceback would be written to the same stream."""
        del record
        error = sys.exception()
        self._drop(1, "the log was not read fast enough" if isinstance(error, queue.Full) else repr(error))

    def flush(self) -> None:
        """Wait until the queue is written, or for :data:`FLUSH_SECONDS_MAX`."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_SECONDS_MAX)

    def _drop(self, lines: int, reason: str) -> None:
        with self._dropping:
            self.dropped += lines
            self._drop_reason = reason

    # The thread

    def _run(self) -> None:
        while True:
            lines = self._lines.get()
            count = lines.count(b"\n")
            try:
                self._write(lines)
            except OSError as error:
                self._drop(count, f"cannot write the log: {error.strerror}")
            else:
                self._report_drops()
            for _ in range(count):
                self._lines.task_done()

    def _report_drops(self) -> None:
        """Report dropped lines, once the queue has room for the report and for what follows it."""
        with self._dropping:
            lines = self.dropped - self._reported
            if not lines or self._lines.qsize() > self._lines.maxsize // 2:
                return
            self._reported = self.dropped
        _log.warning("log lines dropped: %(lines)d; %(reason)s", {"lines": lines, "reason": self._drop_reason})


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
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogQueue))
