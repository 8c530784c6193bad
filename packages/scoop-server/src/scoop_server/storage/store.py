"""Where a server's changes are made to last: the one place that the event loop hands them to.

The :class:`JournalStore` owns the files of a data directory while a server runs: it recovers them, appends
each turn's changes to the journal, and has a compaction fold the journals into the next snapshot when they
have outgrown it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from scoop_core import NO_BATCH, Changes, DependencyGraph, encode_snapshot

from scoop_server.config.fsync import Fsync
from scoop_server.config.limits import JOURNAL_BYTES_MIN
from scoop_server.errors import DataDirectoryError, JournalError, ReadOnlyError
from scoop_server.storage.compaction import Compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.journal import Journal, is_out_of_space
from scoop_server.storage.recovery import Progress, RecoveredState, recover
from scoop_server.telemetry.logs import log
from scoop_server.text import noun

PROBE_BYTES: Final = 1_048_576
"""What must fit on a full disk before changes are taken again: more than nearly any turn writes, so that it does not
go back and forth between the two."""

PROGRESS_SECONDS: Final = 1.0
"""How often a recovery that takes longer tells how far it has come."""


def begin(directory: DataDirectory, graph: DependencyGraph) -> None:
    """Write the first files of an empty ``directory``, so that it holds ``graph``. Raises OSError.

    The journal comes last: a snapshot of something without a journal is refused, so that a beginning that was
    interrupted is never taken for what it was to become.
    """
    directory.write("snapshot", 1, encode_snapshot(graph))
    Journal.create(directory, 1, NO_BATCH, Fsync.ALWAYS).close()


class JournalStore:
    """Keeps a graph in ``directory``, which no one else uses meanwhile.

    ``clock`` gives seconds, ``start_compaction`` starts the compaction of the journals before a generation, and
    compaction begins when the journals are larger than the snapshot and than ``journal_bytes_min``.
    """

    @classmethod
    def open(
        cls,
        directory: DataDirectory,
        fsync: Fsync,
        clock: Callable[[], float],
        start_compaction: Callable[[DataDirectory, int], Compaction],
        journal_bytes_min: int = JOURNAL_BYTES_MIN,
        progress: Progress = lambda _path, _done, _size: None,
    ) -> tuple["JournalStore", DependencyGraph]:
        """Recover ``directory``; return the store and the graph, which the store does not keep.

        Raises :exc:`~scoop_server.errors.DataDirectoryError` if the directory cannot be read or written.
        """
        store = cls(directory, fsync, clock, start_compaction, journal_bytes_min)
        return store, store._recover(progress)

    def __init__(
        self,
        directory: DataDirectory,
        fsync: Fsync,
        clock: Callable[[], float],
        start_compaction: Callable[[DataDirectory, int], Compaction],
        journal_bytes_min: int,
    ) -> None:
        self._directory = directory
        self._fsync = fsync
        self._clock = clock
        self._start_compaction = start_compaction
        self._journal_bytes_min = journal_bytes_min
        self._compaction: Compaction | None = None
        self._compaction_wanted = False
        self.read_only_reason = ""
        """The reason for which changes are refused; empty while they are accepted. May be read in another thread."""

    def _recover(self, progress: Progress) -> DependencyGraph:
        directory = self._directory
        try:
            state = recover(directory, progress=self._tell_progress(progress))
            self._is_resumed = state is not None
            """Whether the journal that is open was begun by an earlier process."""
            state = state or self._create()
            self._snapshot_generation = state.snapshot_generation
            self._journal = self._resume(state)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot write {error.filename or directory.path}: {error.strerror}; see to the disk, or name another "
                "directory with --data-dir"
            ) from error
        self._snapshot_batch = state.head.number - state.batches
        """The last batch that the snapshot includes."""
        self._rotation_batch = self._snapshot_batch
        """The last batch before the journal that is being written."""
        self._earlier_bytes = state.journal_bytes - state.sealed_bytes
        """The size of the journals since the snapshot, but for the one that is being written."""
        self._compact_at = max(state.snapshot_bytes, self._journal_bytes_min)
        return state.graph

    # Opening

    def _create(self) -> RecoveredState:
        begin(self._directory, DependencyGraph())
        state = recover(self._directory)
        if state is None:
            raise DataDirectoryError(f"what was written to {self._directory.path} is not there; see to the disk")
        return state

    def _resume(self, state: RecoveredState) -> Journal:
        journal = Journal.resume(self._directory, state.journal_generation, state.sealed_bytes, state.head, self._fsync)
        if state.unsealed_bytes:
            log.warning(
                "dropped the last %(bytes)d bytes of %(file)s: the rest of a write that was not known to be on disk",
                {"bytes": state.unsealed_bytes, "file": journal.path},
            )
        try:
            self._directory.delete_before(state.snapshot_generation)
        except OSError:
            journal.close()
            raise
        return journal

    def _tell_progress(self, progress: Progress) -> Progress:
        last = self._clock()

        def tell(path: str, done: int, size: int) -> None:
            nonlocal last
            progress(path, done, size)
            now = self._clock()
            if now - last >= PROGRESS_SECONDS:
                last = now
                log.info(
                    "recovering: %(file)s, %(done)d of %(bytes)d bytes", {"file": path, "done": done, "bytes": size}
                )

        return tell

    @property
    def snapshot_path(self) -> str:
        """The snapshot that a recovery would begin with. May be read in another thread."""
        return self._directory.file("snapshot", self._snapshot_generation)

    @property
    def journal_bytes(self) -> int:
        """The size of the journals since the snapshot. May be read in another thread."""
        return self._earlier_bytes + self._journal.size

    # Serving

    def commit(self, changes: Changes) -> None:
        """See :meth:`Store.commit`. Raises :exc:`JournalError` if the server must stop."""
        try:
            if self._is_resumed:
                self._leave_resumed_journal()
            self._journal.append(changes.lines)
        except ReadOnlyError as error:
            if not self.read_only_reason:
                log.error(
                    "%(problem)s; changes are refused, and queries answered, until there is room again",
                    {"problem": error},
                )
            self.read_only_reason = str(error)
            raise
        if self.read_only_reason:
            self._accept_changes()

    def _accept_changes(self) -> None:
        self.read_only_reason = ""
        log.info("there is room again for %(file)s; changes are taken", {"file": self._journal.path})

    def _leave_resumed_journal(self) -> None:
        """Begin a journal of this process's own before its first batch.

        What an earlier process was writing when the power went may have been dropped at recovery, and still be
        somewhere on the disk. In a new journal, which has a chain of its own, it can never be taken for a batch.
        """
        try:
            self._rotate()
        except OSError as error:
            if is_out_of_space(error):
                raise ReadOnlyError(f"cannot begin a journal in {self._directory.path}: {error.strerror}") from error
            raise JournalError(
                f"cannot begin a journal in {self._directory.path}: {error.strerror}; see to the disk, and start again"
            ) from error

    @property
    def wants_tick(self) -> bool:
        """See :meth:`Store.wants_tick`."""
        return (
            bool(self.read_only_reason)
            or self._compaction is not None
            or self._compaction_wanted
            or self._earlier_bytes + self._journal.size > self._compact_at
            or (self._fsync is Fsync.EVERYSEC and not self._journal.is_synced)
        )

    def tick(self) -> None:
        """See :meth:`Store.tick`: sync, look for room on a full disk, keep the journals from growing without end."""
        if self._fsync is Fsync.EVERYSEC and not self._journal.is_synced:
            self._journal.sync()
        # Who sends changes only to a server that takes them would otherwise never send one again.
        if self.read_only_reason and self._directory.has_room(self._journal.generation + 1, PROBE_BYTES):
            self._accept_changes()
        if self._compaction is not None:
            self._look_after_compaction(self._compaction)
        elif self._compaction_wanted or self.journal_bytes > self._compact_at:
            self._compact()

    def request_compaction(self) -> None:
        """Have the journals folded into a new snapshot soon, however small they are."""
        self._compaction_wanted = True

    def _compact(self) -> None:
        """Turn to a new journal, and have the ones before it compacted."""
        self._compaction_wanted = False
        if self._journal.head.number == self._snapshot_batch:
            log.info("nothing to compact: %(file)s holds everything", {"file": self.snapshot_path})
            return
        try:
            self._rotate()
            self._compaction = self._start_compaction(self._directory, self._journal.generation)
        except OSError as error:
            self._postpone_compaction(f"cannot begin: {error.filename or self._directory.path}: {error.strerror}")
            return
        snapshot = self._directory.file("snapshot", self._journal.generation)
        log.info("compaction into %(file)s has begun", {"file": snapshot})

    def _rotate(self) -> None:
        """Seal the journal for good, and begin that of the next generation. Raises OSError; then all is as before."""
        self._journal.sync()
        journal = Journal.create(self._directory, self._journal.generation + 1, self._journal.head, self._fsync)
        self._rotation_batch = journal.head.number
        self._earlier_bytes += self._journal.size
        self._journal.close()
        self._journal = journal
        self._is_resumed = False

    def _look_after_compaction(self, compaction: Compaction) -> None:
        status = compaction.poll()
        if status is None:
            return
        self._compaction = None
        if status:
            self._postpone_compaction(f"ended with status {status}")
            return
        try:
            self._adopt_snapshot()
        except OSError as error:
            self._postpone_compaction(f"left no readable {error.filename}: {error.strerror}")
            return
        log.info("compaction into %(file)s is complete", {"file": self.snapshot_path})

    def _adopt_snapshot(self) -> None:
        """Rely on the snapshot that the journal continues, and delete what it has made superfluous.

        Raises OSError where it is not there.
        """
        generation = self._journal.generation
        self._compact_at = max(self._directory.size("snapshot", generation), self._journal_bytes_min)
        self._snapshot_generation = generation
        self._snapshot_batch = self._rotation_batch
        self._earlier_bytes = 0
        try:
            self._directory.delete_before(generation)
        except OSError as error:
            log.warning(
                "cannot delete %(file)s, which is superfluous: %(why)s",
                {"file": error.filename, "why": error.strerror},
            )

    def _postpone_compaction(self, reason: str) -> None:
        self._compact_at = self.journal_bytes + self._journal_bytes_min
        log.error(
            "compaction %(problem)s; the journals go on, and it is tried again when they have grown",
            {"problem": reason},
        )

    # Closing

    def save(self, graph: DependencyGraph, progress: Callable[[str, int], None] = lambda _path, _done: None) -> None:
        """Write a snapshot of ``graph``, if anything has changed since the last one.

        ``progress`` is called with the path of the file that is being written, and how many bytes it has so far.
        Raises :exc:`~scoop_server.errors.DataDirectoryError` where it cannot be written; every
        committed change is in the journal then.
        """
        self._stop_compaction()
        try:
            if self._journal.head.number == self._snapshot_batch:
                self._directory.size("snapshot", self._snapshot_generation)  # it is still there
                log.info("nothing has changed since %(file)s", {"file": self.snapshot_path})
                return
            self._rotate()
            generation = self._journal.generation
            path = self._directory.file("snapshot", generation)
            self._directory.write("snapshot", generation, _told(encode_snapshot(graph), path, progress))
            self._adopt_snapshot()
        except OSError as error:
            raise DataDirectoryError(
                f"cannot save a snapshot in {self._directory.path}: {error.strerror}; {self._where_changes_are()}"
            ) from error
        log.info(
            f"saved %(packages)d {noun(len(graph), 'package')} in %(file)s",
            {"packages": len(graph), "file": self.snapshot_path},
        )

    def _where_changes_are(self) -> str:
        """Tell an operator what is left where no snapshot could be written."""
        try:
            self._directory.size("journal", self._journal.generation)
        except FileNotFoundError:
            return (
                f"its journal {self._journal.path} has been removed while the server ran, and the index with it; "
                "restore the directory from a backup"
            )
        except OSError:
            pass  # it is there, and cannot be opened now
        return "the journal holds every change, so see to the disk, and check the directory with: scoop-server check"

    def _stop_compaction(self) -> None:
        if self._compaction is not None:
            self._compaction.kill()
            self._compaction = None

    def close(self) -> None:
        """Let go of the files, as they are."""
        self._stop_compaction()
        self._journal.close()


def _told(chunks: Iterable[bytes], path: str, progress: Callable[[str, int], None]) -> Iterator[bytes]:
    """Yield ``chunks``, and tell how many bytes have been taken, before each of them and at their end."""
    done = 0
    for chunk in chunks:
        progress(path, done)
        yield chunk
        done += len(chunk)
    progress(path, done)
