"""The index of a run: loaded from the data directory or empty in memory, compacted on request, saved at the end."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from scoop_core import DependencyGraph

from scoop_server.app.claims import Claims
from scoop_server.app.signals import SignalPipe
from scoop_server.config.settings import Settings
from scoop_server.storage.compaction import CompactionProcess
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.logs import log


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A graph and the store that keeps it."""

    graph: DependencyGraph
    store: JournalStore | None
    """None for an index in memory only."""
    place: str
    """The place of the index, for the log."""
    recovery_seconds: float

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
