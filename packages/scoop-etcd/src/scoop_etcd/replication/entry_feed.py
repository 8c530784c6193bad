"""Following the entry log: every entry exactly once, in the order of the revisions."""

import enum
from collections.abc import Callable, Sequence
from typing import Final

from scoop_etcd.client.api import ErrorCode, KeyValue, Watch, WatchEnded, WatchEvents
from scoop_etcd.client.calls import PAUSE_SECONDS_MIN, Call, Calls, pause_seconds_max
from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config
from scoop_etcd.replication.entry_reader import EntryReader, Reading
from scoop_etcd.replication.replica import Replica

STALL_SECONDS: Final = 2.0
"""A watch that delivers nothing for this long while there are newer entries is opened again, at another endpoint. A
delivery takes about 1 ms, and 1 s on a member that is overloaded."""


class FeedPhase(enum.Enum):
    """The phases of a follower."""

    READING = "reading"
    """Reading the snapshot and the entry log, at the start or because the watch cannot be continued."""
    WATCHING = "watching"
    """Entries arrive as they are appended."""
    PAUSING = "pausing"
    """The watch has ended; the next one is opened after a pause."""


class EntryFeed:
    """Passes snapshots to ``replace`` and entries to ``apply``, without gaps: with a reader, then with a watch."""

    def __init__(
        self,
        calls: Calls,
        keys: Keys,
        clock: Callable[[], float],
        replace: Callable[[Replica], None],
        apply: Callable[[Sequence[KeyValue]], None],
        config: Config,
    ) -> None:
        self._calls = calls
        self._keys = keys
        self._clock = clock
        self._replace = replace
        self._apply = apply
        self._reader = EntryReader(calls, keys, self._take_reading, config)
        self._watch: Call | None = None
        self._pause = PAUSE_SECONDS_MIN
        self._resume_at = 0.0
        self._opened_at = self._moved_at = clock()
        self.phase = FeedPhase.READING
        self.position: int | None = None
        """Every entry up to this revision has been passed on; None before the first snapshot."""
        self.committed = 0
        """The highest revision of an entry that is known to be in the entry log."""

    def start(self) -> None:
        """Read everything, then follow."""
        self._read()

    def _read(self) -> None:
        self.phase = FeedPhase.READING
        self._reader.start(self.position)

    def _take_reading(self, reading: Reading) -> None:
        if reading.snapshot is not None:
            self._replace(reading.snapshot)
        self._apply(reading.entries)
        self._move(reading.revision)
        self._open()

    def _move(self, position: int) -> None:
        self.position = self._calls.revision = position
        self._moved_at = self._clock()

    # The watch

    def _open(self, *, elsewhere: bool = False) -> None:
        assert self.position is not None  # noqa: S101  # a reading comes first
        self.phase = FeedPhase.WATCHING
        self._opened_at = self._clock()
        request = Watch(*self._keys.entries, self.position + 1, elsewhere)
        self._watch = self._calls.watch(request, self._take_events)

    def _take_events(self, result: WatchEvents | WatchEnded) -> None:
        if isinstance(result, WatchEvents):
            position = self.position or 0
            # One entry is one revision, so a fragment never splits what must be applied together.
            entries = [kv for kv in result.kvs if kv.mod_revision > position]
            if entries:
                self._apply(entries)
                self._move(entries[-1].mod_revision)
                self.expect(entries[-1].mod_revision)
                self._pause = PAUSE_SECONDS_MIN
        elif result.code is ErrorCode.COMPACTED:
            self._read()
        else:
            self.phase = FeedPhase.PAUSING
            self._resume_at = self._clock() + self._pause
            self._pause = min(2 * self._pause, pause_seconds_max(result.code))

    def expect(self, revision: int) -> None:
        """Note the revision of an entry in the entry log."""
        if revision > self.committed:
            if not self.is_behind:
                self._moved_at = self._clock()
            self.committed = revision

    @property
    def is_behind(self) -> bool:
        """Return whether the entry log is known to hold entries that have not been passed on."""
        return self.position is None or self.position < self.committed

    @property
    def behind_seconds(self) -> float:
        """The time for which nothing has been passed on although there are entries; otherwise 0."""
        return self._clock() - self._moved_at if self.is_behind else 0.0

    @property
    def _open_seconds(self) -> float:
        return self._clock() - self._opened_at

    def tick(self) -> None:
        """Open the watch again if it has ended, or makes no progress."""
        if self.phase is FeedPhase.PAUSING and self._clock() >= self._resume_at:
            self._open(elsewhere=True)
        elif self.phase is FeedPhase.WATCHING and min(self.behind_seconds, self._open_seconds) > STALL_SECONDS:
            assert self._watch is not None  # noqa: S101  # it is open
            self._calls.cancel(self._watch)
            self._open(elsewhere=True)
