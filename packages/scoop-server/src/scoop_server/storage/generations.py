"""The current generation of files: the snapshot and the journals that a recovery would read."""

from typing import Self

from scoop_core import DependencyGraph, RecoveredState, Seal, encode_snapshot

from scoop_server.config.settings import Fsync
from scoop_server.errors import DataDirectoryError, JournalError, ReadOnlyError
from scoop_server.storage.directory import DataDirectory, NameNotDurableError
from scoop_server.storage.files import is_temporary
from scoop_server.storage.history import NO_HISTORY, History
from scoop_server.storage.journal import Journal
from scoop_server.storage.trail import recover
from scoop_server.telemetry.logs import log


class Generations:
    """The newest snapshot and the journals that continue it, the last of which is being written.

    As it is made, ``journal`` is the first one, and continues a snapshot without batches.
    """

    def __init__(self, directory: DataDirectory, fsync: Fsync, journal: Journal, snapshot_bytes: int) -> None:
        self.directory = directory
        self.fsync = fsync
        self.history = History(directory, NO_HISTORY, lambda: 0)
        """Where superseded files go: nowhere, until the store replaces it."""
        self.journal = journal
        self.snapshot_bytes = snapshot_bytes
        self._unsynced: RecoveredState | None = None
        """The state that was read, until the last journal is known to be on disk."""
        self._snapshot_generation = journal.generation
        self._snapshot_batch = 0
        """The last batch that the snapshot includes."""
        self._rotation_batch = 0
        """The last batch before the journal that is being written."""
        self._earlier_bytes = 0
        """The size of the journals since the snapshot except ``journal``."""

    @classmethod
    def open(cls, directory: DataDirectory, fsync: Fsync) -> tuple[Self, DependencyGraph]:
        """Return the files of ``directory``, created if it has none, and the graph that they hold.

        The first :meth:`rotate` creates a journal that can be written. Raises :exc:`DataDirectoryError`.
        """
        state = recover(directory)
        if state is None:
            graph = DependencyGraph()
            return cls.create(directory, graph, fsync), graph
        read = state.journal
        journal = Journal(directory, read.generation, read.sealed_bytes, read.head)
        files = cls(directory, fsync, journal, state.snapshot_bytes)
        files._unsynced = state
        files._snapshot_generation = state.snapshot_generation
        files._snapshot_batch = files._rotation_batch = read.head.number - state.batches
        files._earlier_bytes = state.journal_bytes - read.sealed_bytes
        return files, state.graph

    @classmethod
    def create(cls, directory: DataDirectory, graph: DependencyGraph, fsync: Fsync = Fsync.ALWAYS) -> Self:
        """Write the first files of an empty ``directory``, so that it holds ``graph``.

        The journal comes last: a snapshot without a journal is refused unless it is empty, so an interrupted
        creation is never taken for a complete one. Raises :exc:`DataDirectoryError`.
        """
        try:
            snapshot_bytes = directory.write("snapshot", 1, encode_snapshot(graph))
            journal = Journal.create(directory, 1, Seal(0, directory.identity), fsync)
        except OSError as error:
            raise _cannot_write(directory, error) from error
        return cls(directory, fsync, journal, snapshot_bytes)

    @property
    def snapshot_path(self) -> str:
        """The path of the snapshot that a recovery would begin with. May be read in another thread."""
        return self.directory.file("snapshot", self._snapshot_generation)

    @property
    def journal_bytes(self) -> int:
        """The size of the journals since the snapshot."""
        return self._earlier_bytes + self.journal.size

    @property
    def is_unchanged(self) -> bool:
        """Return whether the snapshot holds everything."""
        return self.journal.head.number == self._snapshot_batch

    @property
    def has_just_rotated(self) -> bool:
        """Return whether this process has created the journal and written nothing to it."""
        return self.journal.is_writable and self.journal.head.number == self._rotation_batch

    def missing_file(self) -> str:
        """Return the path of a file that a recovery needs and that is not there; empty if all are. Raises OSError.

        It needs no descriptor: clients may hold them all.
        """
        journals = range(self._snapshot_generation, self.journal.generation + 1)
        for kind, generation in [("snapshot", self._snapshot_generation), *(("journal", each) for each in journals)]:
            try:
                self.directory.size(kind, generation)
            except FileNotFoundError as error:
                return str(error.filename)
        return ""

    def take_over(self) -> None:
        """Make the journal that was read durable, once: no batch may depend on one that is only in the page cache.

        After a sync that failed, some systems show bytes that they have not written and never will, and report the
        next sync as successful. Every other file was synced before it got its name, or before the next journal was
        created. So the last journal is written again, to new blocks, and replaces the old one when it is durable. That
        includes a journal without batches: a failed write that was cut off may return without the cut.

        Raises :exc:`ReadOnlyError` if that is impossible for now, :exc:`DataDirectoryError` if it failed.
        """
        if self._unsynced is None:
            return
        state, read = self._unsynced, self._unsynced.journal
        try:
            self.directory.sync()
            self.directory.write("journal", read.generation, [read.sealed])
            if read.unsealed_bytes:
                log.warning(
                    "dropped the last %(bytes)d bytes of %(file)s: %(why)s",
                    {"bytes": read.unsealed_bytes, "file": self.journal.path, "why": read.unsealed_reason},
                )
            self.history.supersede(state.snapshot_generation)
        except NameNotDurableError as error:
            raise JournalError(
                f"cannot sync {error.filename}: {error.strerror}; check the disk and start again"
            ) from error
        except OSError as error:
            if is_temporary(error):
                raise ReadOnlyError(f"cannot write {error.filename}: {error.strerror}") from error
            raise _cannot_write(self.directory, error) from error
        self._unsynced = None

    def rotate(self) -> None:
        """Seal the journal for good, and create the next one. Raises OSError or ReadOnlyError if nothing changed."""
        self.take_over()
        before = self.journal
        before.sync()
        self.journal = Journal.create(self.directory, before.generation + 1, before.head, self.fsync)
        self._rotation_batch = before.head.number
        self._earlier_bytes += before.size
        before.close()

    def adopt_snapshot(self) -> None:
        """Rely on the snapshot that the journal continues, and keep or delete the files that it makes superfluous.

        Raises OSError if it is not there, :exc:`ReadOnlyError` if the directory is no longer the one that was locked.
        """
        generation = self.journal.generation
        self.snapshot_bytes = self.directory.size("snapshot", generation)
        self._snapshot_generation = generation
        self._snapshot_batch = self._rotation_batch
        self._earlier_bytes = 0
        try:
            self.history.supersede(generation)
        except OSError as error:
            log.warning(
                "cannot delete or archive %(file)s, which a snapshot has superseded: %(why)s",
                {"file": error.filename, "why": error.strerror},
            )

    def write_snapshot(self, graph: DependencyGraph) -> None:
        """Rotate the journal, write a snapshot of ``graph``, and adopt it. Raises OSError or ReadOnlyError."""
        self.rotate()
        self.directory.write("snapshot", self.journal.generation, encode_snapshot(graph))
        self.adopt_snapshot()


def _cannot_write(directory: DataDirectory, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(
        f"cannot write {error.filename or directory.path}: {error.strerror}; check the disk, or name another "
        "directory with --data-dir"
    )
