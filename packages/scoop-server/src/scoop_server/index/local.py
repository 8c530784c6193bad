"""The index of one server: a graph in memory, and a store that makes its changes durable."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import Final, Generic, TypeVar

from scoop_core import Authors, Changes, DependencyGraph
from scoop_core.compilation import mypyc_attr

from scoop_server.errors import ReadOnlyError
from scoop_server.ports import CallLater, ClientT, Request, Response
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.figures import Figure
from scoop_server.telemetry.health import READ_ONLY
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.statistics import Meter

T = TypeVar("T")


@mypyc_attr(allow_interpreted_subclasses=True)
class MemoryStore:
    """A store that keeps nothing."""

    commit_delay: float = 0.0
    place: str = "memory only"
    read_only_reason: str = ""

    def commit(self, changes: Changes, authors: Authors = ()) -> None:
        """Do nothing: nothing is durable."""

    def figures(self) -> Iterable[Figure]:
        """Return none."""
        return ()

    def tick(self) -> None:
        """Do nothing."""

    def request_compaction(self) -> None:
        """Log that an index in memory has no journal."""
        log.info("nothing to compact: the index is kept in memory only")

    def save(self, graph: DependencyGraph) -> None:
        """Save nothing."""

    def close(self) -> None:
        """Do nothing."""


Store = JournalStore | MemoryStore
"""Makes changes durable, or keeps none."""


@mypyc_attr(allow_interpreted_subclasses=True)
class LocalIndex(Generic[ClientT]):
    """Owns ``graph`` and answers every request immediately, so no client is ever parked.

    The requests of a turn are applied in order, and their changes are committed together. It satisfies
    :class:`~scoop_server.ports.OpenIndex`.
    """

    is_pending: bool = False
    tick_seconds_max: float = inf
    certificate_expires_at: float | None = None

    def __init__(self, graph: DependencyGraph, store: Store, meter: Meter | None = None) -> None:
        self._graph = graph
        self._store = store
        self._meter = meter or Meter()
        self._changes = Changes()
        self._authors: list[tuple[int, str]] = []
        self.identify: Callable[[ClientT], str] | None = None
        """Returns the identity of a client, to be stored with its changes; None if no one reads it."""
        # The store has the rest of the OpenIndex port.
        self.place: Final = store.place
        self.figures: Final = store.figures
        self.tick: Final = store.tick
        self.request_compaction: Final = store.request_compaction
        self.close: Final = store.close

    def execute(self, requests: Sequence[Request[ClientT]]) -> list[Response[ClientT]]:
        """Apply and commit the requests of one turn; return a response to each, in order."""
        changes, tally = self._changes, self._meter.tally
        if self.identify is not None:
            answers = []
            for client, lines in requests:
                before = len(changes)
                answers.append(self._graph.apply_lines(lines, changes, tally))
                self._note_author(client, before)
        elif len(requests) == 1:  # the most common turn of all if there are few clients
            client, lines = requests[0]
            answers = [self._graph.apply_lines(lines, changes, tally)]
            if not changes.lines:
                return [(client, lines, answers[0])]
        else:
            answers = self._graph.apply_batches([lines for _, lines in requests], changes, tally)
        if changes.lines and not self._commit():
            apply = self._graph.apply_lines
            return [(client, lines, self._answer_unchanged(partial(apply, lines))) for client, lines in requests]
        return [(client, lines, given) for (client, lines), given in zip(requests, answers)]  # noqa: B905  # strict costs 100 ns

    def _note_author(self, client: ClientT, before: int) -> None:
        """Note whose the changes after the first ``before`` are, unless the author of those is the same."""
        if self.identify is not None and len(self._changes) > before:
            name = self.identify(client)
            if name != (self._authors[-1][1] if self._authors else ""):
                self._authors.append((before, name))

    def _commit(self) -> bool:
        """Commit the changes of the turn; roll them back and return False if they cannot be stored."""
        changes, authors = self._changes, self._authors
        started = self._meter.clock()
        try:
            self._store.commit(changes, authors)
        except ReadOnlyError:
            self._graph.undo(changes)
            return False
        else:
            self._meter.commit_ended(started, changes)
            return True
        finally:
            changes.clear()
            authors.clear()

    def _answer_unchanged(self, apply: Callable[[Changes], T]) -> T | None:
        """Return the responses that are correct after a turn was rolled back.

        The lines are answered again by ``apply``, alone, by the graph as it was before the turn. A client that would
        change it is disconnected, because its change can be neither confirmed nor denied; the responses to the others
        reflect nothing that was undone.
        """
        refused = Changes()
        answers = apply(refused)
        self._graph.undo(refused)
        return None if refused else answers

    @property
    def write_delay(self) -> float:
        """The delay that the store asks for."""
        return self._store.commit_delay

    def completed(self) -> list[Response[ClientT]]:
        """Return nothing: :meth:`execute` returns every response."""
        return []

    def fileno(self) -> int | None:
        """Return None: there is nothing to wait for."""
        return None

    @property
    def not_ready_reason(self) -> str:
        """The reason for which changes are refused, in a few words; empty while they are accepted."""
        return READ_ONLY if self._store.read_only_reason else ""

    def package_count(self) -> int:
        """Return the number of packages."""
        return len(self._graph)

    def use_timer(self, call_later: CallLater) -> None:
        """Do nothing: there is nothing to wait for."""

    def save(self) -> None:
        """Write a snapshot, unless nothing has changed."""
        self._store.save(self._graph)
