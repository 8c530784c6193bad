"""The index of one server: loaded from the data directory, or empty in memory."""

import time
from functools import partial

from scoop_core import DependencyGraph

from scoop_server.config.peer import quote_name
from scoop_server.config.settings import Settings
from scoop_server.index.local import LocalIndex, MemoryStore, Store
from scoop_server.index.sliced import SlicedIndex
from scoop_server.loop.client import Client
from scoop_server.storage.compaction import start_compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.generations import Generations
from scoop_server.storage.history import Retention
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.statistics import Meter


def load_index(settings: Settings, directory: DataDirectory | None, meter: Meter) -> LocalIndex[Client]:
    """Load the index of ``directory``, or make an empty one in memory. Raises DataDirectoryError."""
    store: Store = MemoryStore()
    graph = DependencyGraph()
    if directory is not None:
        compact = partial(start_compaction, log_format=settings.log_format)
        limits = settings.limits
        files, graph = Generations.open(directory, settings.fsync)
        retention = Retention(limits.history_seconds, limits.history_bytes_max)
        store = JournalStore(files, time.monotonic, compact, limits.compaction_bytes_min, retention=retention)
        store.watch.start()
    meter.index_opened(graph.edge_count)
    graph.reject_cycles = settings.reject_cycles
    kind = SlicedIndex[Client] if settings.reject_cycles else LocalIndex[Client]
    index = kind(graph, store, meter)
    if settings.limits.history_seconds:
        index.identify = _identity
    return index


def _identity(client: Client) -> str:
    return quote_name(client.peer.identities[0])
