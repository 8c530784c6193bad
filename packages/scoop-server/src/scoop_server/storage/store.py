"""The store: the changes of each turn are committed to the journal, and journals are compacted into snapshots."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Final

from scoop_core import Authors, Changes, DependencyGraph

from scoop_server.config.limits import COMPACTION_BYTES_MIN
from scoop_server.config.settings import Fsync
from scoop_server.errors import DataDirectoryError, JournalError, ReadOnlyError
from scoop_server.storage.backlog import Backlog
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.files import is_out_of_space, is_temporary
from scoop_server.storage.generations import Generations
from scoop_server.storage.history import NO_HISTORY, History, Retention
from scoop_server.storage.journal import Journal
from scoop_server.storage.supervisor import CompactionSupervisor, StartCompaction
from scoop_server.telemetry.figures import Figure
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.stalls import CommitWatch
from scoop_server.text import noun

PROBE_BYTES: Final = 1_048_576
"""Must fit on a full disk before changes are accepted again: more than nearly any turn writes, so that the server does
not alternate between accepting and refusing."""

VERIFY_SECONDS: Final = 1.0
"""The age of the last check of the directory at which a commit checks again: the time for which an OK may be given
for a directory that was moved or replaced."""


def milliseconds() -> int:
    """Return the milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class JournalStore:
    """Makes the changes of a graph durable in ``files``, which no other process uses meanwhile.

    ``clock`` returns seconds, ``wall_clock`` milliseconds since 1970; ``start_compaction`` starts the compaction of the
    journals before a generation, and compaction begins when the journals are larger than the snapshot and than
    ``journal_bytes_min``.

    On a full disk or a read-only file system it refuses changes until it can make durable what was read. Raises
    :exc:`~scoop_server.errors.DataDirectoryError` if it never can.
    """

    def __init__(
        self,
        files: Generations,
        clock: Callable[[], float],
        start_compaction: StartCompaction,
        journal_bytes_min: int = COMPACTION_BYTES_MIN,
        wall_clock: Callable[[], int] = milliseconds,
        retention: Retention = NO_HISTORY,
    ) -> None:
        files.history = self._history = History(files.directory, retention, wall_clock)
        self._files = files
        self._directory = files.directory
        self._clock = clock
        self._wall_clock = wall_clock
        self._backlog = Backlog(journal_bytes_min)
        self._supervisor = CompactionSupervisor(files, self._backlog, clock, start_compaction)
        self.request_compaction: Final = self._supervisor.request
        self._verify_at = 0.0
        self._quiet_size = 0
        """The size of the current journal below which writers are neither slowed nor refused, as last verified."""
        self.read_only_reason = ""
        """The reason for which changes are refused; empty while they are accepted. May be read in another thread."""
        self.watch = CommitWatch(clock)
        """The watch on all calls that may wait for the disk."""
        self.commit_delay = 0.0
        """The seconds for which clients wait after a commit. May be read in another thread."""
        try:
            files.take_over()
        except ReadOnlyError as error:
            self._refuse_changes(error)

    @property
    def place(self) -> str:
        """The directory and its sync policy, for the log."""
        return f"data directory {self._directory.path}, fsync {self._files.fsync}"

    @property
    def journal_bytes(self) -> int:
        """The size of the journals since the snapshot. May be read in another thread."""
        return self._files.journal_bytes

    @property
    def backlog_ratio(self) -> float:
        """The size of the journals relative to the one at which a compaction starts. May be read in another thread."""
        return self._backlog.ratio(self.journal_bytes)

    def figures(self) -> Iterator[Figure]:
        """Yield the figures of the files and of the watch. May be called in another thread."""
        yield from self.watch.figures()
        yield Figure("scoop_journal_bytes", "Size of the journals since the snapshot.", self.journal_bytes)
        yield Figure("scoop_compaction_backlog_ratio", "Size of the journals by their limit.", self.backlog_ratio)
        yield Figure("scoop_commit_delay_seconds", "Delay after each commit.", self.commit_delay)
        try:
            snapshot = os.stat(self._files.snapshot_path)
        except OSError:  # a newer one has just replaced it
            return
        threshold = max(snapshot.st_size, self._backlog.bytes_min)
        yield Figure("scoop_snapshot_bytes", "Size of the newest snapshot.", snapshot.st_size)
        yield Figure("scoop_snapshot_timestamp_seconds", "Time of the newest snapshot.", snapshot.st_mtime)
        yield Figure(
            "scoop_compaction_threshold_bytes", "Size of the journals at which a compaction starts.", threshold
        )

    def commit(self, changes: Changes, authors: Authors = ()) -> None:
        """Return when ``changes`` are as durable as the sync policy requires.

        Raises :exc:`ReadOnlyError` if nothing of them was kept, :exc:`JournalError` if the server must stop.
        """
        with self.watch:
            self._commit(changes.lines, authors)

    def _commit(self, lines: list[str], authors: Authors) -> None:
        try:
            if self._clock() >= self._verify_at:
                self._verify()
            if self._files.journal.size >= self._quiet_size:
                self._backlog.check_space(self._directory.path, self.journal_bytes)
            if not self._files.journal.is_writable:
                self._begin_own_journal()
            journal = self._files.journal
            journal.append(lines, self._wall_clock(), authors)
        except ReadOnlyError as error:
            # History goes before changes are refused. What was written of the batch has been removed.
            if is_out_of_space(error) and self._history.give_up():
                self._commit(lines, authors)
                return
            self._refuse_changes(error)
            raise
        if self.read_only_reason:
            self._accept_changes()
        if journal.size >= self._quiet_size:
            self.commit_delay = self._backlog.delay(self.journal_bytes)

    def _verify(self) -> None:
        """Check that the directory and its files are in place, and measure the disk. Raises :exc:`ReadOnlyError`."""
        self._directory.verify()
        try:
            missing = self._files.missing_file()
            if not self._supervisor.is_running:
                self._backlog.measure(self._directory, self._files.snapshot_bytes, self.journal_bytes)
                while self._backlog.is_short_of_space and self._history.give_up():
                    self._backlog.measure(self._directory, self._files.snapshot_bytes, self.journal_bytes)
                self._files.journal.reserves_room &= not self._backlog.is_on_small_disk
        except OSError as error:
            raise ReadOnlyError(f"cannot examine {error.filename}: {error.strerror}") from error
        if missing:
            raise ReadOnlyError(f"{missing} was removed while the server ran")
        if self._files.journal.is_writable:
            self._files.journal.verify()
        self._quiet_size = self._backlog.quiet_bytes - self.journal_bytes + self._files.journal.size
        self._verify_at = self._clock() + VERIFY_SECONDS

    def _begin_own_journal(self) -> None:
        """Create a journal of this process before its first batch.

        What an earlier process was writing when the power went may have been dropped at recovery and still be
        on the disk. In a new journal, which has a chain of its own, it can never be taken for a batch.
        """
        try:
            self._files.rotate()
            self._verify_at = 0.0
        except OSError as error:
            problem = f"cannot create a journal in {self._directory.path}: {error.strerror}"
            if is_temporary(error):
                raise ReadOnlyError(problem) from error
            raise JournalError(f"{problem}; check the disk and start again") from error

    def _refuse_changes(self, error: ReadOnlyError) -> None:
        if not self.read_only_reason:
            log.error("%(problem)s; changes are refused until that is resolved, queries continue", {"problem": error})
        self.read_only_reason = str(error)
        self._verify_at = 0.0  # before anything is written again

    def _accept_changes(self) -> None:
        self.read_only_reason = ""
        log.info("changes to %(directory)s are accepted again", {"directory": self._directory.path})

    # Periodic work

    def tick(self) -> None:
        """Do periodic work, about once a second. Raises :exc:`JournalError` if the server must stop."""
        with self.watch:  # it may sync and rotate
            self._do_what_is_due()
        self._files.journal.compare_clock(self._wall_clock())
        self.commit_delay = self._backlog.delay(self.journal_bytes)

    def _do_what_is_due(self) -> None:
        try:
            if self._files.fsync is Fsync.EVERYSEC and not self._files.journal.lost_reason:
                self._files.journal.sync()
            if self._supervisor.check():
                self._verify_at = 0.0  # the disk has more room
            elif self._supervisor.is_due():
                self._verify()
                self._supervisor.begin()
                self._verify_at = 0.0
            if self.read_only_reason:
                self._try_to_accept_changes()
            elif self._clock() >= self._verify_at:  # nobody has changed anything for a while
                self._verify()
        except ReadOnlyError as error:
            self._refuse_changes(error)

    def _try_to_accept_changes(self) -> None:
        """Accept changes again if they can be written. Some clients send changes only to a server that accepts them."""
        if self._files.journal.lost_reason:
            raise ReadOnlyError(self._files.journal.lost_reason)
        self._verify()
        self._backlog.check_space(self._directory.path, self.journal_bytes)
        self._files.take_over()
        if self._directory.has_room(self._files.journal.generation + 1, PROBE_BYTES):
            self._accept_changes()
        else:
            self._history.give_up()  # the next tick tries again

    def save(self, graph: DependencyGraph) -> None:
        """Write a snapshot of ``graph``, if anything has changed since the last one.

        Raises :exc:`~scoop_server.errors.DataDirectoryError` if it cannot be written; the message tells where the
        committed changes are then.
        """
        self._supervisor.stop()
        journal = self._files.journal
        try:
            self._directory.verify()
            if self._files.is_unchanged and not self._files.missing_file():
                log.info("nothing has changed since %(file)s", {"file": self._files.snapshot_path})
                return
            self._files.write_snapshot(graph)
        except OSError as error:
            raise _cannot_save(self._directory, journal, error.strerror or str(error)) from error
        except ReadOnlyError as error:
            raise _cannot_save(self._directory, journal, str(error)) from error
        log.info(
            f"saved %(packages)d {noun(len(graph), 'package')} in %(file)s",
            {"packages": len(graph), "file": self._files.snapshot_path},
        )

    def close(self) -> None:
        """Close the journal as it is. The directory stays open and locked."""
        self._supervisor.stop()
        self._files.journal.close()
        self._history.close()
        self.watch.close()


def _cannot_save(directory: DataDirectory, journal: Journal, reason: str) -> DataDirectoryError:
    """Return the error of a failed save, which tells where the committed changes are."""
    state = (
        "its journals hold every acknowledged change; check the disk and the path of the directory, and then the "
        "files with: scoop-server check"
    )
    if directory.is_removed:  # to create it again would hide that, and could meet another server
        state = "its files are lost; restore it from a backup"
    elif journal.is_damaged:
        state = f"{journal.lost_reason}, so its changes are lost; restore the directory from a backup"
    return DataDirectoryError(f"cannot save a snapshot in {directory.path}: {reason}; {state}")
