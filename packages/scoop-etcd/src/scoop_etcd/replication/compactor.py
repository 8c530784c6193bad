"""The role of the compactor: one node at a time decides when a compaction starts."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scoop_etcd.formats.records import Pointer
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.workers import Task

ENTRIES_MAX: Final = 100_000
"""Entries after the snapshot at which a compaction starts however small they are: etcd keeps an index of all keys in
memory, about 200 bytes each, and a node that starts reads 64 entries at a time."""

RETRY_SECONDS: Final = 10.0
"""The pause after a compaction that has failed."""


SETTLE_SECONDS: Final = 3.0
"""The pause after a compaction that has succeeded: its pointer is known after the next survey."""


@dataclass(slots=True)
class _Running:
    task: Task
    fence: int


class Compactor:
    """Measures the entry log, and starts compactions while this node holds the role."""

    def __init__(
        self,
        start: Callable[[int], Task],
        clock: Callable[[], float],
        entry_bytes_min: int,
        entries_max: int,
    ) -> None:
        self._start = start
        self._clock = clock
        self._log_bytes_min = entry_bytes_min
        self._log_entries_max = entries_max
        self._entries: deque[tuple[int, int]] = deque()
        """Revision and size of the entries after the snapshot."""
        self._snapshot_revision = 0
        self._snapshot_bytes = 0
        self._running: _Running | None = None
        self._not_before = clock()
        self.entry_bytes: int = 0
        """The size of the entries after the snapshot."""

    def note_entry(self, revision: int, size: int) -> None:
        """Count an entry of the entry log."""
        if revision > self._snapshot_revision:
            self._entries.append((revision, size))
            self.entry_bytes += size

    def note_pointer(self, pointer: Pointer) -> None:
        """Drop the entries that a new snapshot holds from the count."""
        self._snapshot_revision, self._snapshot_bytes = pointer.revision, pointer.size
        while self._entries and self._entries[0][0] <= pointer.revision:
            self.entry_bytes -= self._entries.popleft()[1]

    @property
    def is_due(self) -> bool:
        """Return whether there are so many entries that a snapshot pays: a start then reads at most twice its size."""
        is_long = self.entry_bytes >= max(self._log_bytes_min, self._snapshot_bytes)
        return bool(self._entries) and (is_long or len(self._entries) >= self._log_entries_max)

    def tick(self, fence: int | None) -> None:
        """Poll a running compaction, or start one; ``fence`` is None while another node has the role."""
        running = self._running
        if running is not None:
            if running.fence != fence:
                running.task.kill()
                self._running = None
                return
            status = running.task.poll()
            if status is None:
                return
            self._running = None
            self._not_before = self._clock() + SETTLE_SECONDS
            if status:
                self._not_before = self._clock() + RETRY_SECONDS
                log.warning(
                    "a compaction failed with status %(status)d; the entry log keeps growing", {"status": status}
                )
        elif fence is not None and self._clock() >= self._not_before and self.is_due:
            log.debug("a compaction of %(bytes)d bytes begins", {"bytes": self.entry_bytes})
            try:
                self._running = _Running(self._start(fence), fence)
            except OSError as error:
                self._not_before = self._clock() + RETRY_SECONDS
                log.error("cannot start a compaction: %(reason)s", {"reason": error.strerror})

    def close(self) -> None:
        """End a compaction that runs."""
        if self._running is not None:
            self._running.task.kill()
            self._running = None
