"""The index in memory: a thread follows the source, any thread may ask."""

import asyncio
import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, TypeVar

from scoop_core import Authors, Changes, DependencyGraph, IndexedGraph, LoggedBatch, LoggedChange, Seal

from scoop_explorer.answers import Change, Status
from scoop_explorer.names import NameIndex
from scoop_explorer.sources import Source, SourceError
from scoop_server.ports import Loaded

T = TypeVar("T")

_log = logging.getLogger("scoop_explorer")

POLL_SECONDS: Final = 0.1
"""The interval of polls: short against a second of lag, and a few system calls each."""

CHANGES_KEPT: Final = 200
"""The latest changes that are shown."""

_ATTEMPTS: Final = 2
"""The attempts of a question beside changes, before they wait for it or it gets a copy."""

HELD_SECONDS_MAX: Final = 0.2
"""The processor time of a walk for which changes may wait: a copy of a million packages takes longer."""

_APPLYING_SECONDS: Final = 0.005
"""The time after which questions get their turn between two batches."""

_TURN_SECONDS: Final = 0.0005
"""Long enough for a thread that waits for the lock to take it."""

LONG_BATCH: Final = 131_072
"""Bytes of a batch for which pages wait without holding up everything else: some 5,000 changes, which take 30 ms."""

_LONG_BATCH_SECONDS: Final = 0.01
"""The interval at which waiting pages look whether such a batch has been applied."""

_ADDED_SHOWN: Final = 5
"""Dependencies shown for a change."""

LATE_SECONDS: Final = 1.0
"""The lag from which the time of a change is not known: it may have waited in the source."""


class LiveIndex:
    """Follows ``source`` from :meth:`start` to :meth:`stop`.

    ``on_change`` is called in the following thread after each poll that has changed something people see.
    ``is_served`` returns whether a server still changes the source, None if that is unknown.
    """

    def __init__(
        self,
        source: Source,
        on_change: Callable[[], None] = lambda: None,
        is_served: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self.on_change = on_change
        self.names = NameIndex()
        self.revision = 0
        """Even while the graph is at rest, odd while it changes."""
        self.epoch = 0
        """The number of times that the whole index was read: the numbers of batches start again with it."""
        self.loaded_batch = 0
        """The batch as of which the whole index was read."""
        self._source = source
        self._look_for_server = is_served
        self._is_served: bool | None = None
        self._graph = IndexedGraph()
        self._lock = threading.Lock()
        self._one_copy = threading.Lock()
        """Held by the long question that has a copy: two copies of a million packages would take half a gigabyte."""
        self._batch = 0
        self._is_loaded = False
        self._is_in_long_batch = False
        self._problem = ""
        self._current_at = self.polled_at = time.monotonic()
        """The time of which everything is shown, and that of the last poll."""
        self._read_at: float | None = None
        """The time at which the last poll has read everything that the source held, if it has."""
        self._changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no longer."""
        self._stopping.set()
        self._thread.join()
        self._source.close()

    # Asking

    def __len__(self) -> int:
        return len(self._graph)

    @property
    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_loaded(self) -> bool:
        """Return whether there is an index to show: the source has been read to its end."""
        return self._is_loaded

    @property
    def batch(self) -> int:
        """Return the number of the last batch that is shown."""
        return self._batch

    def history(self) -> Iterator[LoggedBatch] | None:
        """Return the changes that the source keeps, oldest first; None if it has no history."""
        return self._source.history()

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return the latest changes, the newest first."""
        return tuple(reversed(self._changes.copy()))

    def status(self) -> Status:
        """Return what each page tells about the source."""
        lag = time.monotonic() - self._current_at
        return Status(
            self._source.path,
            self._batch,
            len(self._graph),
            0.0 if lag < 3 * POLL_SECONDS else round(lag, 1),  # the polls themselves are no lag
            self._problem,
            self._is_loaded,
            self._is_served,
        )

    async def settle(self) -> None:
        """Wait while a long batch is applied: to ask during it would hold up the event loop."""
        while self._is_in_long_batch:
            await asyncio.sleep(_LONG_BATCH_SECONDS)

    def ask(self, question: Callable[[IndexedGraph], T]) -> T:
        """Ask a question of few look-ups, without waiting for the long ones.

        It is asked again if the graph has changed meanwhile, so that an answer never mixes two states.
        """
        for _ in range(_ATTEMPTS):
            revision = self._settled_revision()
            try:
                answer = question(self._graph)
            except (KeyError, RuntimeError):
                if self.revision == revision:
                    raise
            else:
                if self.revision == revision:
                    return answer
        with self._lock:
            return question(self._graph)

    def ask_at_length(self, question: Callable[[DependencyGraph, int], T]) -> T:
        """Ask a question that walks the graph, with the number of the batch.

        If the graph changes under it, it is asked again: once it has shown to be short, while changes wait, else on a
        copy, which takes longer, because that has no reverse index.
        """
        is_short = False
        for _ in range(_ATTEMPTS):
            revision, start = self._settled_revision(), time.thread_time()
            try:
                answer = question(self._graph, self._batch)
            except Exception:  # a walk over a graph that changes can fail in any way
                if self.revision == revision:
                    raise
            else:
                if self.revision == revision:
                    return answer
                is_short = time.thread_time() - start < HELD_SECONDS_MAX
        if is_short:
            with self._lock:
                return question(self._graph, self._batch)
        with self._one_copy:
            return question(*self.copy())

    def ask_beside_changes(self, question: Callable[[IndexedGraph, int], T]) -> T:
        """Ask a question that may meet changes: each look at the graph is true, but not all at the same time."""
        return question(self._graph, self._batch)

    def _settled_revision(self) -> int:
        """Return the revision, once no change is under way."""
        while (revision := self.revision) % 2:
            with self._lock:
                pass
        return revision

    def copy(self) -> tuple[DependencyGraph, int]:
        """Return a copy of the graph without its reverse index, and its batch."""
        with self._lock:
            return self._graph.to_graph(), self._batch

    # Following

    def _follow(self) -> None:
        while not self._stopping.is_set():
            start, pause = time.monotonic(), POLL_SECONDS
            before = self._problem
            try:
                delivered = self._source.poll()
            except SourceError as error:
                self._problem, self._read_at = str(error), None
                has_changed = self._problem != before
                if not before:
                    _log.warning("%s", self._problem)
            else:
                self._problem = ""
                self._apply_all(delivered)
                if before:
                    _log.warning("following %s again, at batch %d", self._source.path, self._batch)
                self._note_lag(start, has_delivered=bool(delivered))
                if delivered and self._source.has_more:
                    pause = 0.0
                has_changed = bool(delivered or before)
            is_served = self._look_for_server()
            has_changed |= is_served is not self._is_served
            self._is_served = is_served
            self.polled_at = time.monotonic()
            if has_changed:
                self.on_change()
            self._stopping.wait(pause)

    def _note_lag(self, start: float, *, has_delivered: bool) -> None:
        """Note how late the index is, after a poll that began at ``start``."""
        if self._source.is_current:
            self._current_at = time.monotonic()
            self._is_loaded = True
        elif has_delivered and not self._is_loaded:
            if not self._source.has_more:  # but the last batch of a server under load, which the next one proves
                self._is_loaded, self._current_at = True, start
        elif has_delivered and self._read_at is not None:
            # The last batch of a server under load is delivered once another one proves it, so each poll leaves one.
            self._current_at = self._read_at
        self._read_at = None if self._source.has_more else start

    def _apply_all(self, delivered: list[Loaded | LoggedBatch]) -> None:
        start = time.monotonic()
        for each in delivered:
            self._apply(each)
            if time.monotonic() - start > _APPLYING_SECONDS:
                time.sleep(_TURN_SECONDS)
                start = time.monotonic()
        self.names.merge(self._graph)

    def _apply(self, delivered: Loaded | LoggedBatch) -> None:
        if isinstance(delivered, Loaded):
            graph = IndexedGraph.from_graph(delivered.graph)
            names = NameIndex(graph)
            with self._lock:
                self.revision += 1
                self._graph, self.names, self._batch = graph, names, delivered.batch
                self._changes.clear()  # they are those of another index, or some after them are unknown
                self.epoch += 1
                self.loaded_batch = delivered.batch
                self.revision += 1
            gc.collect()
            gc.freeze()  # a collection need not walk a million packages
            return
        changes = Changes()
        self._is_in_long_batch = len(delivered.lines) > LONG_BATCH
        with self._lock:
            self.revision += 1
            try:
                authors: list[tuple[int, str]] = []
                for author, lines in delivered.parts():  # only the graph knows who of two made a change
                    before = len(changes)
                    self._graph.apply_lines(lines, changes)
                    authors += [(before, author)] * (len(changes) > before)
                self._note(changes, delivered.seal, authors)
                self._batch = delivered.seal.number  # last: a waiting reader may look at the rest
            finally:
                self.revision += 1
                self._is_in_long_batch = False

    def _note(self, changes: Changes, seal: Seal, authors: Authors) -> None:
        lines, previous = changes.lines, changes.previous
        self.names.update(
            line.split("|", 2)[1]
            for line, before in zip(lines, previous, strict=True)
            if before is None or line.startswith("REMOVE")
        )
        now = time_of(seal.time or time.time_ns() // 1_000_000)
        is_older = not seal.time and (not self._is_loaded or time.monotonic() - self._current_at > LATE_SECONDS)
        made = LoggedBatch("".join(f"{line}\n" for line in lines), seal, authors).changes()
        for change, before in zip(made[-CHANGES_KEPT:], previous[-CHANGES_KEPT:], strict=True):
            self._changes.append(shown_change(change, before, now, is_older=is_older))


def time_of(milliseconds: int) -> str:
    """Return a time since 1970 in UTC.

    >>> time_of(1_764_668_400_123)
    '2025-12-02T09:40:00Z'
    """
    return f"{datetime.fromtimestamp(milliseconds // 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown_change(change: LoggedChange, before: str | None, now: str, *, is_older: bool = False) -> Change:
    """Return what is shown of a change, which was seen ``now`` and replaced the dependencies ``before``."""
    batch, identity, line = change.batch, change.identity or "", change.line
    command, package, after = line.split("|")
    if command == "REMOVE":
        return Change(batch, now, is_older, package, "removed", (), (), identity=identity)
    old, new = (listed.split(",") if listed else [] for listed in (before, after))
    added = tuple(name for name in new if name not in old)
    dropped = tuple(name for name in old if name not in new)
    kind = "indexed" if before is None else "changed"
    shown, more = slice(_ADDED_SHOWN), slice(_ADDED_SHOWN, None)
    return Change(
        batch,
        now,
        is_older,
        package,
        kind,
        added[shown],
        dropped[shown],
        len(added[more]),
        len(dropped[more]),
        identity,
    )
