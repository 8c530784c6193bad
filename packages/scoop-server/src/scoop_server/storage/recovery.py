"""Reading a data directory: the newest snapshot, and the journals that continue it.

Nothing here writes, so it serves a server that starts, a compaction, and an operator who looks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scoop_core import (
    NO_BATCH,
    Changes,
    DependencyGraph,
    JournalReader,
    Seal,
    TranscriptError,
    UnsupportedFormat,
    decode_snapshot,
)

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory

Progress = Callable[[str, int, int], None]
"""Is called with the path of the file that is being read, how many of its bytes have been dealt with, and its size."""

_WAY_OUT: Final = "restore the directory from a backup, or see what is left with: scoop-server check"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredState:
    """What a data directory holds."""

    graph: DependencyGraph
    snapshot_generation: int
    snapshot_bytes: int
    journal_generation: int
    """The last journal's."""
    head: Seal
    """The last batch's."""
    batches: int
    """How many batches follow the snapshot."""
    journal_bytes: int
    """The size of all journals that follow the snapshot, up to the last seal."""
    sealed_bytes: int
    """Where the last sealed batch of the last journal ends."""
    unsealed_bytes: int
    """What stands behind that: the rest of an interrupted write, never acknowledged, to be dropped."""


def recover(
    directory: DataDirectory,
    *,
    before: int | None = None,
    progress: Progress = lambda _path, _done, _total: None,
) -> RecoveredState | None:
    """Return what ``directory`` holds, None where nothing has ever been kept in it.

    With ``before``, only journals of earlier generations are read, and each must be sealed to its end.
    ``progress`` is told how far it has come.
    Raises :exc:`DataDirectoryError`, which names the file and the place, where something cannot be read: a
    server never starts with less than it had.
    """
    try:
        snapshots, journals = directory.generations("snapshot"), directory.generations("journal")
        if not snapshots and not journals:
            return None
        if not snapshots:
            raise _missing(directory, "snapshot", journals[0])
        base = snapshots[-1]
        reading = _Recovery(directory, progress)
        snapshot_bytes = reading.read_snapshot(base)
        if base == 1 and not journals and not reading.graph:
            return None  # begun, and interrupted before its journal was there
        wanted = [number for number in journals if number >= base and (before is None or number < before)]
        for generation in range(base, max(wanted, default=base) + 1):
            if generation not in wanted:
                raise _missing(directory, "journal", generation)
        return reading.read_journals(base, snapshot_bytes, wanted, must_end_sealed=before is not None)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot read {error.filename or directory.path}: {error.strerror}; {_WAY_OUT} {directory.path}"
        ) from error


def _missing(directory: DataDirectory, kind: str, generation: int) -> DataDirectoryError:
    return DataDirectoryError(f"{directory.file(kind, generation)} is missing; {_WAY_OUT} {directory.path}")


def _read_journal_header(directory: DataDirectory, generation: int) -> JournalReader:
    try:
        reader = JournalReader(directory.read("journal", generation))
    except TranscriptError as error:
        raise _unreadable(directory, "journal", generation, error) from error
    if reader.generation != generation:
        raise _unreadable(
            directory,
            "journal",
            generation,
            TranscriptError(0, f"the header is that of generation {reader.generation}"),
        )
    return reader


def _unreadable(directory: DataDirectory, kind: str, generation: int, error: TranscriptError) -> DataDirectoryError:
    way_out = f"{_WAY_OUT} {directory.path}"
    if isinstance(error, UnsupportedFormat):
        way_out = "start the version that wrote it, or a later one"
    return DataDirectoryError(f"cannot read {directory.file(kind, generation)}: {error}; {way_out}")


class _Recovery:
    """One reading of a directory."""

    def __init__(self, directory: DataDirectory, progress: Progress) -> None:
        self.graph = DependencyGraph()
        self._directory = directory
        self._progress = progress
        self._changes = Changes()
        self._head = NO_BATCH
        self._batches = 0

    def read_snapshot(self, generation: int) -> int:
        """Read the graph from a snapshot; return the snapshot's size in bytes."""
        path = self._directory.file("snapshot", generation)
        data = self._directory.read("snapshot", generation)
        self._progress(path, 0, len(data))
        try:
            self.graph = decode_snapshot(data)
        except TranscriptError as error:
            raise _unreadable(self._directory, "snapshot", generation, error) from error
        self._progress(path, len(data), len(data))
        return len(data)

    def read_journals(
        self, base: int, snapshot_bytes: int, journals: list[int], *, must_end_sealed: bool
    ) -> RecoveredState:
        """Replay the journals in order; return what they lead to."""
        journal_bytes = sealed_bytes = unsealed_bytes = 0
        for generation in journals:
            reader = _read_journal_header(self._directory, generation)
            if generation == base:
                self._head = reader.after  # the snapshot does not hold it, so that equal graphs have equal snapshots
            try:
                may_break_off = generation == journals[-1] and not must_end_sealed
                self._replay(self._directory.file("journal", generation), reader, may_break_off=may_break_off)
            except TranscriptError as error:
                raise _unreadable(self._directory, "journal", generation, error) from error
            journal_bytes += reader.sealed_bytes
            sealed_bytes, unsealed_bytes = reader.sealed_bytes, reader.unsealed_bytes
        return RecoveredState(
            graph=self.graph,
            snapshot_generation=base,
            snapshot_bytes=snapshot_bytes,
            journal_generation=journals[-1],
            head=self._head,
            batches=self._batches,
            journal_bytes=journal_bytes,
            sealed_bytes=sealed_bytes,
            unsealed_bytes=unsealed_bytes,
        )

    def _replay(self, path: str, reader: JournalReader, *, may_break_off: bool) -> None:
        """Apply the batches of a journal by the rules that live requests are answered by."""
        if reader.after != self._head:
            raise TranscriptError(
                0, f"it continues batch {reader.after.number}, and what comes before it ends with {self._head.number}"
            )
        start = reader.sealed_bytes
        size = start + reader.unsealed_bytes
        changes = self._changes
        for text in reader:
            self.graph.apply_lines(text, changes)
            if len(changes) != text.count("\n"):
                raise TranscriptError(start, f"batch {reader.head.number} holds a request that changes nothing")
            changes.clear()
            start = reader.sealed_bytes
            self._batches += 1
            self._progress(path, start, size)
        if reader.unsealed_bytes and not may_break_off:
            raise TranscriptError(start, "a batch is broken, and another journal follows")
        self._head = reader.head
