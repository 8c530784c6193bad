"""Reading a data directory: the newest snapshot and the journals that continue it. Nothing here writes.

A server that starts, an operator's command and a compaction read the same way: every request is applied by the rules
for live requests, and must change something. So files that do not belong together are detected.
"""

import contextlib
from collections.abc import Iterator
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
from scoop_server.storage.files import way_out

_WAY_OUT: Final = "restore the directory from a backup, or inspect it with: scoop-server check"


@dataclass(slots=True, kw_only=True)
class RecoveredState:
    """The content of a data directory, up to the last journal that was read."""

    graph: DependencyGraph
    snapshot_generation: int
    snapshot_bytes: int
    journal_generation: int
    """The generation of the last journal."""
    head: Seal = NO_BATCH
    """The seal of the last batch."""
    batches: int = 0
    """The number of batches after the snapshot."""
    journal_bytes: int = 0
    """The size of all journals after the snapshot, up to the last seal."""
    last_journal: bytes = b""
    """The last journal up to its last seal, as it was read."""
    unsealed_bytes: int = 0
    """The size of the tail behind the last seal, without zeros at its end; it is to be dropped."""
    unsealed_reason: str = ""
    """The evidence of the seals about that tail."""

    @property
    def sealed_bytes(self) -> int:
        """The end of the last sealed batch in the last journal."""
        return len(self.last_journal)


def recover(directory: DataDirectory) -> RecoveredState | None:
    """Return the content of ``directory``, None if nothing was ever kept in it.

    Raises :exc:`DataDirectoryError`, which names the file and the byte, if something cannot be read: a server never
    starts without acknowledged changes.
    """
    with _naming_errors(directory):
        snapshots, journals = directory.generations("snapshot"), directory.generations("journal")
        if not snapshots and not journals:
            return None
        if not snapshots:
            raise _missing(directory, "snapshot", journals[0])
        state = _read_snapshot(directory, snapshots[-1])
        # A new directory gets its snapshot first: an empty one without a journal is an interrupted creation.
        if snapshots == [1] and not journals and not state.graph:
            return None
        _read_journals(directory, state, max(journals, default=0), may_break_off=True)
        return state


def recover_before(directory: DataDirectory, generation: int) -> RecoveredState:
    """Return what the files of the generations before ``generation`` lead to, which the server no longer changes.

    Raises :exc:`DataDirectoryError` if one of them is missing, or is not sealed to its end.
    """
    with _naming_errors(directory):
        snapshots = [number for number in directory.generations("snapshot") if number < generation]
        if not snapshots:
            raise _missing(directory, "snapshot", min(directory.generations("journal"), default=generation - 1))
        state = _read_snapshot(directory, snapshots[-1])
        _read_journals(directory, state, generation - 1, may_break_off=False)
        return state


@contextlib.contextmanager
def _naming_errors(directory: DataDirectory) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = way_out(error, directory.path, f"{_WAY_OUT} {directory.path}")
        raise DataDirectoryError(
            f"cannot read {error.filename or directory.path}: {error.strerror}; {advice}"
        ) from error


def _missing(directory: DataDirectory, kind: str, generation: int) -> DataDirectoryError:
    return DataDirectoryError(f"{directory.file(kind, generation)} is missing; {_WAY_OUT} {directory.path}")


def _unreadable(directory: DataDirectory, kind: str, generation: int, error: TranscriptError) -> DataDirectoryError:
    way_out = f"{_WAY_OUT} {directory.path}"
    if isinstance(error, UnsupportedFormat):
        way_out = "start the version that wrote it, or a later one"
    return DataDirectoryError(f"cannot read {directory.file(kind, generation)}: {error}; {way_out}")


def open_journal(data: bytes, generation: int, after: Seal | None) -> JournalReader:
    """Return the reader of a journal. Raises TranscriptError if it is another one, or does not continue ``after``."""
    reader = JournalReader(data)
    if reader.generation != generation:
        raise TranscriptError(0, f"the header is that of generation {reader.generation}")
    if after is not None and reader.after != after:
        raise TranscriptError(
            0, f"it continues batch {reader.after.number}, but the files before it end with {after.number}"
        )
    return reader


def _read_snapshot(directory: DataDirectory, generation: int) -> RecoveredState:
    """Return what a snapshot holds."""
    data = directory.read("snapshot", generation)
    try:
        graph = decode_snapshot(data, trust_checksum=True)  # in half of the time
    except TranscriptError as error:
        raise _unreadable(directory, "snapshot", generation, error) from error
    return RecoveredState(
        graph=graph, snapshot_generation=generation, snapshot_bytes=len(data), journal_generation=generation
    )


def _read_journals(directory: DataDirectory, state: RecoveredState, last: int, *, may_break_off: bool) -> None:
    """Add to ``state`` all journals after its snapshot up to ``last``, which alone may end within a batch."""
    last = max(last, state.snapshot_generation)  # the journal of the newest snapshot is always there
    for generation in range(state.snapshot_generation, last + 1):
        try:
            data = directory.read("journal", generation)
            # A snapshot does not have the seal that its journal continues.
            reader = open_journal(data, generation, state.head if generation > state.snapshot_generation else None)
            _apply(reader, state)
        except FileNotFoundError as error:
            raise _missing(directory, "journal", generation) from error
        except TranscriptError as error:
            raise _unreadable(directory, "journal", generation, error) from error
        # Only the last journal may end within a batch: the server syncs a journal before it creates the next one.
        if reader.unsealed_bytes and not (may_break_off and generation == last):
            damage = TranscriptError(reader.sealed_bytes, "a batch is damaged, and another journal follows")
            raise _unreadable(directory, "journal", generation, damage)
        state.journal_generation, state.head = generation, reader.head
        state.journal_bytes += reader.sealed_bytes
        state.last_journal = data[: reader.sealed_bytes]
        state.unsealed_bytes, state.unsealed_reason = reader.unsealed_bytes, _unsealed_reason(reader)


def _apply(reader: JournalReader, state: RecoveredState) -> None:
    """Apply the batches of a journal."""
    changes, start = Changes(), reader.sealed_bytes
    for text in reader:
        state.graph.apply_lines(text, changes)
        if len(changes) != text.count("\n"):
            raise TranscriptError(start, f"batch {reader.head.number} holds a request that changes nothing")
        changes.clear()
        start = reader.sealed_bytes
        state.batches += 1


def _unsealed_reason(reader: JournalReader) -> str:
    """Return the evidence of the seals: whether the batch at the start of the tail is known not to be durable."""
    number = reader.head.number + 1
    if reader.later_batch is not None:
        return f"batch {number} is damaged, and the seal of batch {reader.later_batch} proves that it was not synced"
    return f"batch {number} was interrupted while it was written, or the file was cut short since; no seal tells which"
