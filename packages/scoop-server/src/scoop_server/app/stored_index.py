"""The index of one server: loaded from the data directory, or empty in memory."""

import time
from contextlib import ExitStack, closing
from functools import partial

from scoop_core import DependencyGraph

from scoop_server.app.claims import Claims
from scoop_server.app.signals import SignalPipe
from scoop_server.config.settings import Settings
from scoop_server.index.local import LocalIndex, MemoryStore, Store
from scoop_server.index.sliced import SlicedIndex, SocketWakeup
from scoop_server.loop.client import Client
from scoop_server.storage.compaction import start_compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.meter import Meter
from scoop_server.telemetry.stalls import CommitWatch, WatchedStore


def load_index(
    settings: Settings,
    claims: Claims,
    health: Health,
    meter: Meter,
    signals: SignalPipe,
    resources: ExitStack,
) -> LocalIndex[Client]:
    """Load the index of the directory that ``claims`` have locked, or make an empty one; show its state in ``health``.

    Raises DataDirectoryError; SystemExit if a signal stops the server meanwhile, since nothing has been changed yet.
    """
    store: Store = MemoryStore()
    graph = DependencyGraph()
    if claims.directory is not None:
        journals, graph = _open_store(claims.directory, settings, signals)
        store = _watch_commits(journals, health, resources)
    meter.index_opened(graph.edge_count)
    graph.reject_cycles = settings.reject_cycles
    return (
        SlicedIndex(graph, store, SocketWakeup(), meter) if settings.reject_cycles else LocalIndex(graph, store, meter)
    )


def _watch_commits(store: JournalStore, health: Health, resources: ExitStack) -> WatchedStore:
    """Show the state of ``store`` in ``health``, and return it with a watch that logs its slow commits."""
    health.storage = store
    health.commits = watch = resources.enter_context(closing(CommitWatch(time.monotonic)))
    watch.watch()
    return WatchedStore(store, watch)


def _open_store(
    directory: DataDirectory, settings: Settings, signals: SignalPipe
) -> tuple[JournalStore, DependencyGraph]:
    try:
        with signals.interrupting():
            return JournalStore.open(
                directory,
                settings.fsync,
                time.monotonic,
                partial(start_compaction, log_format=settings.log_format),
                settings.limits.journal_bytes_min,
            )
    except KeyboardInterrupt:
        log.info(
            "a signal stopped the server while it loaded %(path)s; nothing was changed", {"path": settings.data_dir}
        )
        raise SystemExit from None
