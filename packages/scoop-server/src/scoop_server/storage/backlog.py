"""The backlog of a compaction, and its consequences: the priority of the compaction, and delays for writers."""

import errno
import os
from typing import Final

from scoop_server.errors import ReadOnlyError
from scoop_server.storage.compaction import NICENESS_MAX
from scoop_server.storage.directory import DataDirectory

_SLOW_AT: Final = 2.0
"""The backlog at which writers begin to be slowed: a compaction that was in time ends well before."""

FULL_AT: Final = 4.0
"""The backlog at which the delay is at its maximum, and at which a nearly full disk takes no more changes."""

DELAY_SECONDS_MAX: Final = 0.1
"""The maximum delay after a commit. It leaves nine tenths of one processor to the compaction, and clients that are
slowed still get ten answers a second."""

_DISK_SHARE: Final = 8
"""The share of the free space at which a compaction starts. The backlog is full at half of it, and the other half is
then enough for a snapshot, which grows by no more than the journals do."""

_SHORT_SHARE: Final = 4
"""History is given up where it makes compactions more than so many times as frequent."""

_RETRY_SECONDS: Final = 60.0
"""The pause after a compaction that failed on a nearly full disk, where the journals may no longer grow."""

_SLACK_BYTES: Final = 65_536
"""Left for the header of the next journal and the blocks of the directory."""

_SMALL_DISK_BYTES: Final = 16 * 1_048_576
"""With less free space, no room is reserved ahead in the journal: it would be a notable share of it."""


class Backlog:
    """Decides when a compaction starts, with which priority, and how much commits are delayed meanwhile.

    ``bytes_min`` is the size of journals below which a compaction is not worth it. All sizes are in bytes.
    """

    def __init__(self, bytes_min: int) -> None:
        self.bytes_min = bytes_min
        self._by_size = bytes_min
        self._by_space: int | None = None
        self._retry_at = 0.0
        self.is_on_small_disk = False
        """True if the free space is too small to reserve room ahead in the journal."""

    def snapshot_written(self, snapshot_bytes: int) -> None:
        """Start anew after a snapshot of this size."""
        self._by_size = max(snapshot_bytes, self.bytes_min)

    def compaction_failed(self, journal_bytes: int, now: float) -> str:
        """Try again when the journals have grown, or after a pause if they may not grow; return which."""
        self._by_size = journal_bytes + self.bytes_min
        self._retry_at = now + _RETRY_SECONDS
        is_short_of_space = self._by_space is not None and journal_bytes > self._by_space
        return f"in {_RETRY_SECONDS:.0f} s" if is_short_of_space else "when they have grown"

    def measure(self, directory: DataDirectory, snapshot_bytes: int, journal_bytes: int) -> None:
        """Take the free space into account. Not during a compaction, which uses what was reserved for it."""
        free = directory.free_bytes()
        self.is_on_small_disk = free < _SMALL_DISK_BYTES
        budget = free + journal_bytes - snapshot_bytes - _SLACK_BYTES
        # Without room for a snapshot even if there were no journals, there is nothing to reserve it for.
        self._by_space = budget // _DISK_SHARE if budget > 0 else None

    @property
    def is_short_of_space(self) -> bool:
        """Return whether compactions start far more often than their size alone would have them."""
        return self._by_space is None or self._by_space < self._by_size // _SHORT_SHARE

    @property
    def limit(self) -> int:
        """The size of the journals at which a compaction starts."""
        return self._by_size if self._by_space is None else min(self._by_size, self._by_space)

    @property
    def quiet_bytes(self) -> int:
        """The size of the journals below which writers are neither slowed nor refused."""
        return int(_SLOW_AT * self.limit)

    def ratio(self, journal_bytes: int) -> float:
        """Return the size of the journals relative to the one at which a compaction starts."""
        return journal_bytes / max(1, self.limit)

    def is_compaction_due(self, journal_bytes: int, now: float) -> bool:
        """Return whether a compaction should start."""
        if self._by_space is not None and journal_bytes > self._by_space and now >= self._retry_at:
            return True
        return journal_bytes > self._by_size

    def is_disk_full(self, journal_bytes: int) -> bool:
        """Return whether the rest of the disk is needed by the next snapshot."""
        return self._by_space is not None and journal_bytes >= FULL_AT * self._by_space

    def check_space(self, path: str, journal_bytes: int) -> None:
        """Raise :exc:`ReadOnlyError` if the rest of the disk of ``path`` is needed by the next snapshot."""
        if self.is_disk_full(journal_bytes):
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise ReadOnlyError(f"the disk of {path} is full except for the space of a snapshot") from full

    def delay(self, journal_bytes: int) -> float:
        """Return the seconds for which a client should wait before its next change: none normally, rising smoothly."""
        excess = (self.ratio(journal_bytes) - _SLOW_AT) / (FULL_AT - _SLOW_AT)
        return DELAY_SECONDS_MAX * min(1.0, max(0.0, excess)) ** 2

    def niceness(self, journal_bytes: int) -> int:
        """Return the niceness of a compaction that starts now: the later it is, the lower."""
        lateness = (self.ratio(journal_bytes) - 1.0) / (_SLOW_AT - 1.0)
        return round(NICENESS_MAX * (1.0 - min(1.0, max(0.0, lateness))))
