"""The index of one server: loaded from the data directory, or empty in memory."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial

from scoop_core import DependencyGraph

from scoop_server.app.claims import Claims
from scoop_server.app.open_index import OpenIndex
from scoop_server.app.signals import SignalPipe
from scoop_server.config.settings import Settings
from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.index.sliced import SlicedIndex, SocketWakeup
from scoop_server.loop.client import Client
from scoop_server.storage.compaction import CompactionProcess
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.meter import CountingMeter, Meter
from scoop_server.telemetry.stalls import CommitWatch, WatchedStore


def load_index(
    settings: Settings,
    claims: Claims,
    health: Health,
    signals: SignalPipe,
    progress: Callable[[str, int, int], None],
    resources: ExitStack,
) -> OpenIndex:
    """Load the index of the directory that ``claims`` have locked, or make an empty one; show its state in ``health``.

    Raises DataDirectoryError; SystemExit if a signal stops the server meanwhile, since nothing has been changed yet.
    """
    started = time.monotonic()
    memory = MemoryStore()
    store: JournalStore | MemoryStore = memory
    committing: WatchedStore | MemoryStore = memory
    graph, place = DependencyGraph(), "memory only"
    if claims.directory is not None:
        store, graph = _open_store(claims.directory, settings, signals, progress)
        place = f"data directory {settings.data_dir}, fsync {settings.fsync}"
        committing = _watch_commits(resources.enter_context(closing(store)), health, resources)
    seconds = time.monotonic() - started
    health.package_count = graph.__len__
    graph.reject_cycles = settings.reject_cycles
    meter = Meter() if settings.admin is None else CountingMeter(health.statistics, time.monotonic, graph)
    if settings.reject_cycles:
        wakeup = resources.enter_context(closing(SocketWakeup()))
        index: LocalIndex[Client] = SlicedIndex(graph, committing, wakeup, meter)
    else:
        index = LocalIndex(graph, committing, meter)
    return OpenIndex(
        index=index,
        package_count=graph.__len__,
        place=place,
        recovery_seconds=seconds,
        meter=meter,
        tick=committing.tick,
        request_compaction=store.request_compaction,
        save=partial(store.save, graph),
    )


def _watch_commits(store: JournalStore, health: Health, resources: ExitStack) -> WatchedStore:
    """Show the state of ``store`` in ``health``, and return it with a watch that logs its slow commits."""
    health.storage = store
    health.commits = watch = resources.enter_context(closing(CommitWatch(time.monotonic)))
    watch.watch()
    return WatchedStore(store, watch)


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
