"""The index of one server: loaded from the data directory, or empty in memory."""

import time
from functools import partial

from scoop_core import DependencyGraph

from scoop_server.config.settings import Settings
from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.index.sliced import SlicedIndex, SocketWakeup
from scoop_server.loop.client import Client
from scoop_server.storage.compaction import start_compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.meter import Meter


def load_index(
    settings: Settings,
    directory: DataDirectory | None,
    meter: Meter,
) -> LocalIndex[Client]:
    """Load the index of ``directory``, or make an empty one in memory. Raises DataDirectoryError."""
    store: JournalStore | MemoryStore = MemoryStore()
    graph = DependencyGraph()
    if directory is not None:
        compact = partial(start_compaction, log_format=settings.log_format)
        bytes_min = settings.limits.compaction_bytes_min
        store, graph = JournalStore.open(directory, settings.fsync, time.monotonic, compact, bytes_min)
        store.watch.start()
    meter.index_opened(graph.edge_count)
    graph.reject_cycles = settings.reject_cycles
    return (
        SlicedIndex(graph, store, SocketWakeup(), meter) if settings.reject_cycles else LocalIndex(graph, store, meter)
    )
