"""The history that a simulated server keeps, compared with what was acknowledged: states, times and authors."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final, NamedTuple
from unittest.mock import patch

from scoop_core import Authors, Changes, DependencyGraph, HistoryError, Moment, Trail

from scoop_server.loop.client import Client
from scoop_server.ports import Request
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.history import NO_HISTORY, History, Retention, _Segment
from scoop_server.storage.store import JournalStore
from scoop_server.storage.trail import open_trail

from tests.simulation.disk import DIRECTORY, SimulatedDisk, SimulatedProcess
from tests.simulation.observer import State, state_of

_BYTES_MAX: Final = 700
"""A few segments of a simulated history."""

_RETENTIONS: Final = (NO_HISTORY, Retention(1e9), NO_HISTORY, Retention(1e9, _BYTES_MAX))


class _Acknowledged(NamedTuple):
    """What the trail must say of a batch."""

    state: State
    """That of the index after it."""
    time: int
    changes: list[tuple[str, str]]
    """The author and the request of each."""


class HistoryWitness:
    """Records each acknowledged batch of all lives of a seed, and checks that the trail in its directory has it."""

    def __init__(self, disk: SimulatedDisk, seed: int) -> None:
        self.retention = _RETENTIONS[seed % len(_RETENTIONS)]
        self._disk = disk
        self._random = Random(seed)  # of its own, so that seeds without a history live as before
        self._batches: dict[int, _Acknowledged] = {}
        self._wall_time = 0
        self._may_begin_late = False
        """True once a part of the history may have been deleted, to save space."""
        self._has_failed_sync = False
        """True once names in the history may be lost without a later sync that tells."""

    def forget(self) -> None:
        """Expect no batch: the index was lost."""
        self._batches.clear()
        self._may_begin_late = False

    def wall_clock(self, clock: Callable[[], float]) -> int:
        """Return the milliseconds of a clock that is set back now and then."""
        self._wall_time = round(1_000 * (clock() + self._random.choice((1, 1, 1, 0))))
        return self._wall_time

    def record(
        self, store: JournalStore, graph: DependencyGraph, turn: Callable[[], Iterable[Request[Client]]]
    ) -> None:
        """Record each batch of ``store``. ``turn`` returns the requests that cause the next one."""
        commit = store.commit

        def recording_commit(changes: Changes, authors: Authors = ()) -> None:
            before = store._files.journal.head
            expected = _authors_of(changes.lines, authors)
            if self.retention.seconds:
                _check_authors(expected, turn())
            commit(changes, authors)
            time = max(before.time, self._wall_time)
            self._batches[before.number + 1] = _Acknowledged(state_of(graph), time, expected)

        vars(store).update(commit=recording_commit)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check what is deleted until the end of the block."""
        prune, delete, sync = History._prune, History._delete, DataDirectory.sync
        bytes_max = self.retention.bytes_max
        is_pruning = False

        def checked_prune(history: History, archive: DataDirectory) -> None:
            nonlocal is_pruning
            is_pruning = True
            try:
                prune(history, archive)
            finally:
                is_pruning = False
            if bytes_max and _bytes(archive) > bytes_max:
                raise AssertionError(f"a history of {_bytes(archive)} bytes is kept")

        def checked_delete(history: History, archive: DataDirectory, segment: _Segment) -> None:
            if is_pruning and not (bytes_max and _bytes(archive) > bytes_max):
                raise AssertionError(f"a part of a history of {_bytes(archive)} bytes is deleted")
            self._may_begin_late = True  # in any case: it may be interrupted
            delete(history, archive, segment)

        def watched_sync(directory: DataDirectory) -> None:
            try:
                sync(directory)
            except OSError:
                self._has_failed_sync |= directory.path.endswith("/history")
                raise

        with (
            patch.multiple(History, _prune=checked_prune, _delete=checked_delete),
            patch.object(DataDirectory, "sync", watched_sync),
        ):
            yield

    def check(self, graph: DependencyGraph) -> None:
        """Check that the trail has no gap, and leads to ``graph`` by way of all that was acknowledged."""
        if not self.retention.seconds or self._has_failed_sync:
            return
        process = SimulatedProcess(self._disk)
        with open_trail(DIRECTORY, process) as trail:
            batches = {batch.seal.number: batch for batch in trail.batches()}
            first, last = min(batches, default=1), max(batches, default=0)
            if [*batches] != [*range(first, last + 1)] or (first > 1 and not self._may_begin_late):
                raise AssertionError(f"the trail holds the batches {[*batches]}")
            if batches and trail.graph_at(Moment(batch=last)) != graph:
                raise AssertionError("the trail does not lead to the index")
            # Without a sync of each commit, a power failure loses the last batches, whose numbers are used again.
            self._batches = {number: each for number, each in self._batches.items() if first <= number <= last}
            for number, (_, time, changes) in self._batches.items():
                if batches[number].seal.time != time:
                    raise AssertionError(f"batch {number} has the time {batches[number].seal.time}, expected {time}")
                if (found := [(each.identity or "", each.line) for each in batches[number].changes()]) != changes:
                    raise AssertionError(f"batch {number} holds {found}, expected {changes}")
            for number in self._random.sample(sorted(self._batches), min(3, len(self._batches))):
                self._check_state(trail, number)
        process.end()

    def _check_state(self, trail: Trail, number: int) -> None:
        try:
            found = state_of(trail.graph_at(Moment(batch=number)))
        except HistoryError as error:
            if "before the oldest state" in str(error) and self._may_begin_late:
                return
            raise
        if found != self._batches[number].state:
            raise AssertionError(f"the trail shows {dict(found)} after batch {number}")


def _bytes(archive: DataDirectory) -> int:
    assert isinstance(archive.files, SimulatedProcess)
    return sum(len(file.content) for file in archive.files._opened(archive.descriptor).names.values())


def identity_of(client: Client) -> str:
    """Return the name under which the changes of a simulated client are stored."""
    return client.peer.identities[0]


def _authors_of(lines: list[str], authors: Authors) -> list[tuple[str, str]]:
    """Return author and request of each change."""
    starts, author, found = dict(authors), "", []
    for number, line in enumerate(lines):
        author = starts.get(number, author)
        found.append((author, line))
    return found


def _check_authors(changes: list[tuple[str, str]], requests: Iterable[Request[Client]]) -> None:
    """Check that each author has sent such a request."""
    sent = {
        (identity_of(client), *line.rstrip("\r").split("|")[:2])
        for client, lines in requests
        for line in lines.split("\n")
    }
    for author, line in changes:
        if (author, *line.split("|")[:2]) not in sent:
            raise AssertionError(f"{line} is stored as a change of {author!r}, who has not sent it")
