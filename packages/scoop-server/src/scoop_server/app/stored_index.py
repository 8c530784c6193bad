"""The index of a run: loaded from the data directory or empty in memory, compacted on request, saved at the end."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from scoop_core import DependencyGraph

from scoop_server.app.claims import Claims
from scoop_server.app.serving import Serving
from scoop_server.app.signals import SignalPipe
from scoop_server.config.settings import Settings
from scoop_server.index.local import LocalIndex, MemoryStore, Store
from scoop_server.index.sliced import SlicedIndex, SocketWakeup
from scoop_server.loop.client import Client
from scoop_server.loop.ports import Index
from scoop_server.storage.compaction import CompactionProcess
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.meter import CountingMeter, Meter
from scoop_server.telemetry.stalls import CommitWatch, WatchedStore


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A graph and the store that makes its changes durable."""

    graph: DependencyGraph
    store: JournalStore | None
    """None for an index in memory only."""
    place: str
    """The place of the index, for the log."""
    recovery_seconds: float

    def __len__(self) -> int:
        return len(self.graph)

    def serve(self, settings: Settings, health: Health, resources: ExitStack) -> Serving:
        """See :meth:`~scoop_server.app.serving.OpenIndex.serve`."""
        health.index, health.storage = self.graph, self.store
        statistics = health.statistics
        meter = Meter() if settings.admin is None else CountingMeter(statistics, time.monotonic, self.graph)
        if self.store is None:
            return Serving(self._answering(settings, MemoryStore(), meter, resources), meter, lambda: None)
        store = _watch_commits(self.store, health, resources)
        return Serving(self._answering(settings, store, meter, resources), meter, store.tick)

    def _answering(self, settings: Settings, store: Store, meter: Meter, resources: ExitStack) -> Index[Client]:
        if not settings.reject_cycles:
            return LocalIndex(self.graph, store, meter)
        wakeup = resources.enter_context(closing(SocketWakeup()))
        return SlicedIndex(self.graph, store, wakeup, meter)

    def request_compaction(self) -> None:
        """Write a new snapshot soon."""
        if self.store is None:
            log.info("nothing to compact: the index is kept in memory only")
        else:
            self.store.request_compaction()

    def save(self, progress: Callable[[str, int], None]) -> None:
        """Write a snapshot, unless nothing has changed; ``progress`` may raise to interrupt it."""
        if self.store is not None:
            self.store.save(self.graph, progress)


def _watch_commits(store: JournalStore, health: Health, resources: ExitStack) -> WatchedStore:
    """Return ``store`` with a watch that logs its slow commits."""
    health.commits = watch = resources.enter_context(closing(CommitWatch(time.monotonic)))
    watch.watch()
    return WatchedStore(store, watch)


def load_index(
    settings: Settings,
    claims: Claims,
    signals: SignalPipe,
    progress: Callable[[str, int, int], None],
    resources: ExitStack,
) -> StoredIndex:
    """Load the index of the directory that ``claims`` have locked, or make an empty one.

    Raises DataDirectoryError; SystemExit if a signal stops the server meanwhile, since nothing has been changed yet.
    """
    started = time.monotonic()
    store: JournalStore | None = None
    if claims.directory is None:
        graph, place = DependencyGraph(), "memory only"
    else:
        store, graph = _open_store(claims.directory, settings, signals, progress)
        resources.enter_context(closing(store))
        place = f"data directory {settings.data_dir}, fsync {settings.fsync}"
    graph.reject_cycles = settings.reject_cycles
    return StoredIndex(graph, store, place, time.monotonic() - started)


def _open_store(
    directory: DataDirectory, settings: Settings, signals: SignalPipe, progress: Callable[[str, int, int], None]
) -> tuple[JournalStore, DependencyGraph]:
    try:
        with signals.interrupting():
            return JournalStore.open(
                directory,
                settings.fsync,
                time.monotonic,
                partial(CompactionProcess, log_format=settings.log_format),
                settings.limits.journal_bytes_min,
                progress,
            )
    except KeyboardInterrupt:
        log.info(
            "a signal stopped the server while it loaded %(path)s; nothing was changed", {"path": settings.data_dir}
        )
        raise SystemExit from None
