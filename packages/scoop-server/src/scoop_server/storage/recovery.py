"""Reading a data directory: the newest snapshot and the journals that continue it.

Nothing here writes. A server that starts and an operator's command replay every request by the rules; a compaction
folds the journals, which the server has validated, so that it costs little more than the packages that changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from scoop_core import (
    NO_BATCH,
    Changes,
    DependencyGraph,
    JournalReader,
    Response,
    Seal,
    TranscriptError,
    UnsupportedFormat,
    decode_snapshot,
    encode_response,
)

from scoop_server.errors import DataDirectoryError
from scoop_server.storage.directory import DataDirectory

Progress = Callable[[str, int, int], None]
"""Called with the path of the file that is being read, how many of its bytes are done, and its size."""

_WAY_OUT: Final = "restore the directory from a backup, or inspect it with: scoop-server check"

_OK: Final = encode_response(Response.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredState:
    """The content of a data directory."""

    graph: DependencyGraph
    snapshot_generation: int
    snapshot_bytes: int
    journal_generation: int
    """The generation of the last journal."""
    head: Seal
    """The seal of the last batch."""
    batches: int
    """The number of batches after the snapshot."""
    journal_bytes: int
    """The size of all journals after the snapshot, up to the last seal."""
    last_journal: bytes
    """The last journal up to its last seal, as it was read."""
    unsealed_bytes: int
    """The size of the tail behind the last seal, without zeros at its end; it is to be dropped."""
    unsealed_reason: str
    """The evidence of the seals about that tail."""

    @property
    def sealed_bytes(self) -> int:
        """The end of the last sealed batch in the last journal."""
        return len(self.last_journal)


def recover(
    directory: DataDirectory,
    *,
    progress: Progress = lambda _path, _done, _total: None,
) -> RecoveredState | None:
    """Return the content of ``directory``, None if nothing was ever kept in it.

    Raises :exc:`DataDirectoryError`, which names the file and the byte, if something cannot be read: a server never
    starts without acknowledged changes.
    """
    return _read(directory, _Replay(), None, progress)


def fold(
    directory: DataDirectory,
    before: int,
    *,
    progress: Progress = lambda _path, _done, _total: None,
) -> DependencyGraph:
    """Return the graph that the snapshot and the journals of the generations before ``before`` lead to.

    Each journal must be sealed to its end. Raises :exc:`DataDirectoryError`.
    """
    state = _read(directory, _Fold(), before, progress)
    if state is None or state.journal_generation != before - 1:
        raise DataDirectoryError(f"the files before {directory.file('snapshot', before)} are missing")
    return state.graph


class _Target(Protocol):
    """The index that journals are read into."""

    def start(self, graph: DependencyGraph) -> None:
        """Start with the graph of the snapshot."""

    def apply(self, text: str) -> bool:
        """Apply the requests of one batch; return whether each of them has changed something, as it must."""

    def finish(self) -> DependencyGraph | None:
        """Return the graph, None if the requests contradict each other."""


class _Replay:
    """Applies each request by the rules for live requests."""

    def __init__(self) -> None:
        self._graph = DependencyGraph()
        self._changes = Changes()

    def start(self, graph: DependencyGraph) -> None:
        self._graph = graph

    def apply(self, text: str) -> bool:
        self._graph.apply_lines(text, self._changes)
        changed_each_time = len(self._changes) == text.count("\n")
        self._changes.clear()
        return changed_each_time

    def finish(self) -> DependencyGraph:
        return self._graph


class _Fold:
    """Keeps the last request for each package, and applies only these: a tenth of the time of a replay per request."""

    def __init__(self) -> None:
        self._graph = DependencyGraph()
        self._latest: dict[str, str] = {}

    def start(self, graph: DependencyGraph) -> None:
        self._graph = graph

    def apply(self, text: str) -> bool:
        packages = text.replace("\n", "|").split("|")[1::3]
        self._latest.update(zip(packages, text.split("\n"), strict=False))  # behind the last newline is nothing
        return True

    def finish(self) -> DependencyGraph | None:
        # Without dependencies among the changed packages, removals and then the final lists succeed in any order.
        cleared = [f"INDEX|{package}|" for package in self._latest]
        removed = [line for line in self._latest.values() if line.startswith("REMOVE")]
        indexed = [line for line in self._latest.values() if line.startswith("INDEX")]
        for lines in (cleared, removed, indexed):
            text = "".join(f"{line}\n" for line in lines)
            if self._graph.apply_lines(text) != _OK * len(lines):
                return None
        return self._graph


def _read(directory: DataDirectory, target: _Target, before: int | None, progress: Progress) -> RecoveredState | None:
    try:
        snapshots, journals = directory.generations("snapshot"), directory.generations("journal")
        if not snapshots and not journals:
            return None
        if not snapshots:
            raise _missing(directory, "snapshot", journals[0])
        base = snapshots[-1]
        reading = _Reading(directory, target, progress)
        is_empty = reading.read_snapshot(base)
        if base == 1 and not journals and is_empty:
            return None  # created, and interrupted before its journal was there
        wanted = [number for number in journals if number >= base and (before is None or number < before)]
        for generation in range(base, max(wanted, default=base) + 1):
            if generation not in wanted:
                raise _missing(directory, "journal", generation)
        return reading.read_journals(base, wanted, must_end_sealed=before is not None)
    except OSError as error:
        raise DataDirectoryError(
            f"cannot read {error.filename or directory.path}: {error.strerror}; {_WAY_OUT} {directory.path}"
        ) from error


def _missing(directory: DataDirectory, kind: str, generation: int) -> DataDirectoryError:
    return DataDirectoryError(f"{directory.file(kind, generation)} is missing; {_WAY_OUT} {directory.path}")


def _unreadable(directory: DataDirectory, kind: str, generation: int, error: TranscriptError) -> DataDirectoryError:
    way_out = f"{_WAY_OUT} {directory.path}"
    if isinstance(error, UnsupportedFormat):
        way_out = "start the version that wrote it, or a later one"
    return DataDirectoryError(f"cannot read {directory.file(kind, generation)}: {error}; {way_out}")


class _Reading:
    """One reading of a directory into ``target``."""

    def __init__(self, directory: DataDirectory, target: _Target, progress: Progress) -> None:
        self._directory = directory
        self._target = target
        self._progress = progress
        self._head = NO_BATCH
        self._batches = 0
        self._snapshot_bytes = 0

    def read_snapshot(self, generation: int) -> bool:
        """Read the graph of a snapshot; return whether it is empty."""
        path = self._directory.file("snapshot", generation)
        data = self._directory.read("snapshot", generation)
        self._progress(path, 0, len(data))
        try:
            graph = decode_snapshot(data, trust_checksum=True)  # in half of the time
        except TranscriptError as error:
            raise _unreadable(self._directory, "snapshot", generation, error) from error
        self._progress(path, len(data), len(data))
        self._snapshot_bytes = len(data)
        self._target.start(graph)
        return not graph

    def read_journals(self, base: int, journals: list[int], *, must_end_sealed: bool) -> RecoveredState:
        """Read the journals in order; return what they lead to."""
        earlier_bytes = 0
        for generation in journals[:-1]:
            _, reader = self._read_journal(generation, base, may_break_off=False)
            earlier_bytes += reader.sealed_bytes
        data, reader = self._read_journal(journals[-1], base, may_break_off=not must_end_sealed)
        graph = self._target.finish()
        if graph is None:
            raise _unreadable(
                self._directory, "journal", journals[-1], TranscriptError(0, "its requests contradict each other")
            )
        return RecoveredState(
            graph=graph,
            snapshot_generation=base,
            snapshot_bytes=self._snapshot_bytes,
            journal_generation=journals[-1],
            head=self._head,
            batches=self._batches,
            journal_bytes=earlier_bytes + reader.sealed_bytes,
            last_journal=data[: reader.sealed_bytes],
            unsealed_bytes=reader.unsealed_bytes,
            unsealed_reason=_unsealed_reason(reader),
        )

    def _read_journal(self, generation: int, base: int, *, may_break_off: bool) -> tuple[bytes, JournalReader]:
        """Read one journal; return its bytes and its reader, which is at its end."""
        data = self._directory.read("journal", generation)
        try:
            reader = self._read_header(data, generation, is_base=generation == base)
            self._read_batches(self._directory.file("journal", generation), reader, may_break_off=may_break_off)
        except TranscriptError as error:
            raise _unreadable(self._directory, "journal", generation, error) from error
        return data, reader

    def _read_header(self, data: bytes, generation: int, *, is_base: bool) -> JournalReader:
        reader = JournalReader(data)
        if reader.generation != generation:
            raise TranscriptError(0, f"the header is that of generation {reader.generation}")
        if is_base:
            self._head = reader.after  # a snapshot does not have it
        if reader.after != self._head:
            raise TranscriptError(
                0, f"it continues batch {reader.after.number}, but the files before it end with {self._head.number}"
            )
        return reader

    def _read_batches(self, path: str, reader: JournalReader, *, may_break_off: bool) -> None:
        start = reader.sealed_bytes
        size = start + reader.unsealed_bytes
        for text in reader:
            if not self._target.apply(text):
                raise TranscriptError(start, f"batch {reader.head.number} holds a request that changes nothing")
            start = reader.sealed_bytes
            self._batches += 1
            self._progress(path, start, size)
        if reader.unsealed_bytes and not may_break_off:
            raise TranscriptError(start, "a batch is damaged, and another journal follows")
        self._head = reader.head


def _unsealed_reason(reader: JournalReader) -> str:
    """Return the evidence of the seals: whether the batch at the start of the tail is known not to be durable."""
    number = reader.head.number + 1
    if reader.later_batch is not None:
        return f"batch {number} is damaged, and the seal of batch {reader.later_batch} proves that it was not synced"
    return f"batch {number} was interrupted while it was written, or the file was cut short since; no seal tells which"
