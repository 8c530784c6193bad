"""A data directory on which faults are injected, and a store on it, for the tests of storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scoop_core import Authors, Changes, DependencyGraph, encode_snapshot

from scoop_server.config.limits import COMPACTION_BYTES_MIN
from scoop_server.config.settings import Fsync
from scoop_server.storage.compaction import compact
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.history import NO_HISTORY, Retention
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.workers import Task

from tests.support.faulty_files import FaultyFiles


class PlannedCompaction:
    """A compaction that a test moves."""

    def __init__(self, directory: DataDirectory, generation: int, niceness: int) -> None:
        self.generation = generation
        self.niceness = niceness
        self.status: int | None = None
        self.is_killed = False
        self._directory = directory

    def complete(self) -> None:
        """Do the work."""
        compact(self._directory, self.generation)
        self.status = 0

    def poll(self) -> int | None:
        return self.status

    def kill(self) -> None:
        self.is_killed = True


@dataclass
class Opened:
    """An open store with the graph that was recovered."""

    store: JournalStore
    graph: DependencyGraph

    def commit(self, *lines: str, authors: Authors = ()) -> None:
        """Apply requests and commit what they change, as one turn does; roll back if that is refused."""
        changes = Changes()
        answers = self.graph.apply_lines("".join(f"{line}\n" for line in lines), changes)
        assert answers == "OK\n" * len(lines)
        try:
            self.store.commit(changes, authors)
        except Exception:
            self.graph.undo(changes)
            raise

    def tick(self) -> None:
        self.store.tick()

    def reason(self) -> str:
        """Return the reason for which changes are refused."""
        return self.store.read_only_reason

    def save(self) -> None:
        self.store.save(self.graph)


class Bench:
    """A data directory and everything around it that a test moves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = FaultyFiles()
        self.now = 1_000.0
        self.set_back = 0.0
        """The seconds by which the clock that tells the time of day is behind."""
        self.compactions: list[PlannedCompaction] = []
        """The compactions that stores have started, in order."""
        self.start_error: OSError | None = None
        """Prevents a compaction from starting."""

    def clock(self) -> float:
        return self.now

    def _start_compaction(self, directory: DataDirectory, generation: int, niceness: int) -> Task:
        if self.start_error is not None:
            raise self.start_error
        self.compactions.append(PlannedCompaction(directory, generation, niceness))
        return self.compactions[-1]

    def milliseconds(self) -> int:
        return round(1_000 * (self.now - self.set_back))

    @contextmanager
    def open(
        self,
        fsync: Fsync = Fsync.ALWAYS,
        journal_bytes_min: int = COMPACTION_BYTES_MIN,
        retention: Retention = NO_HISTORY,
    ) -> Iterator[Opened]:
        """Lock the directory and open a store on it, as a process does, and leave no descriptor open at its end."""
        with DataDirectory.lock(str(self.path), self.files) as directory:
            self.files.calls.clear()
            files, graph = Generations.open(directory, fsync)
            store = JournalStore(
                files, self.clock, self._start_compaction, journal_bytes_min, self.milliseconds, retention
            )
            try:
                yield Opened(store, graph)
            finally:
                store.close()
        assert self.files.open_files == {}

    def compact_on_request(self, opened: Opened) -> PlannedCompaction:
        """Request a compaction; return it once it has begun."""
        opened.store.request_compaction()
        opened.store.tick()
        return self.compactions[-1]


def snapshot_of(graph: DependencyGraph) -> bytes:
    """Return the snapshot of ``graph``."""
    return b"".join(encode_snapshot(graph))


def graph_of(*packages: str) -> DependencyGraph:
    """Return a graph of packages without dependencies."""
    return DependencyGraph.from_mapping(dict.fromkeys(packages, ()))
