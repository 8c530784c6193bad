"""Applying entries: in the order of their revisions, some in each turn, and a long search for a cycle in slices.

So a node that catches up, or that has to search, serves its clients meanwhile.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from scoop_core import DependencyGraph

from scoop_etcd.client.api import KeyValue
from scoop_etcd.formats.entries import decode_entry
from scoop_etcd.replication.appender import Appender
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_etcd.replication.replica import EntryApplication, Replica
from scoop_server.ports import ClientT, Request, Response
from scoop_server.telemetry.meter import Meter


class Applier(Generic[ClientT]):
    """Applies entries to a replica, and answers those of this node.

    ``applied`` is called with each entry, when it and all before it have been applied.
    """

    def __init__(
        self,
        settings: NodeSettings,
        appender: Appender[ClientT],
        clock: Callable[[], float],
        meter: Meter,
        applied: Callable[[KeyValue], None],
    ) -> None:
        self._settings = settings
        self._appender = appender
        self._clock = clock
        self._meter = meter
        self._applied = applied
        self._entries: deque[KeyValue] = deque()
        """The next entries, the one in progress included."""
        self._moved_at = clock()
        self._application: EntryApplication | None = None
        """The first of them, applied in part."""
        self._requests: Sequence[Request[ClientT]] = ()
        """Those that it answers."""
        self.replica = Replica(DependencyGraph.empty(reject_cycles=settings.config.reject_cycles))
        self._was_fed = False
        self.has_loaded = False
        """True once the first entries have been applied, or there were none."""
        self.late_duplicates: int = 0
        """Entries that were ignored."""

    @property
    def is_pending(self) -> bool:
        """Return whether there are entries to apply."""
        return bool(self._entries)

    @property
    def behind_seconds(self) -> float:
        """The time for which no entry has been applied although there are some; otherwise 0."""
        return self._clock() - self._moved_at if self._entries else 0.0

    def replace(self, replica: Replica) -> None:
        """Continue from a snapshot, which holds all entries that have not been applied."""
        self._entries.clear()
        self._application, self._requests = None, ()
        self.replica = replica
        self._meter.index_opened(replica.graph.edge_count)
        replica.on_changes = self._meter.changed

    def add(self, entries: Sequence[KeyValue]) -> None:
        """Apply ``entries`` after those that are pending."""
        if not self._entries:
            self._moved_at = self._clock()
        self._entries += entries
        self._was_fed = True

    def advance(self) -> list[Response[ClientT]]:
        """Apply some entries; return the responses to those of this node."""
        responses: list[Response[ClientT]] = []
        bytes_left, visits_left = self._settings.turn_bytes_max, self._settings.turn_visits_max
        while self._entries and bytes_left > 0 and visits_left > 0:
            kv = self._entries[0]
            application = self._application or self._begin(kv)
            if application is not None:
                self._application = application
                visits_left -= application.advance(visits_left)
                if not application.is_complete:
                    break
                responses += [
                    (client, lines, given)
                    for (client, lines), given in zip(self._requests, application.answers, strict=False)
                ]
                self._application = None
            self._entries.popleft()
            self._moved_at = self._clock()
            bytes_left -= len(kv.value)
            self._applied(kv)
        self.has_loaded |= self._was_fed and not self._entries
        return responses

    def _begin(self, kv: KeyValue) -> EntryApplication | None:
        """Return the application of an entry; None for a late duplicate, which changes nothing."""
        node, seq = self._settings.keys.parse_entry(kv.key)
        # A late duplicate: etcd committed an attempt after a compaction had deleted the entry of an earlier one, and so
        # the condition held again. All nodes ignore it alike, by the sequence numbers in their state.
        if not self.replica.is_next(node, seq):
            self.late_duplicates += node == self._settings.node
            self.replica.revision = kv.mod_revision
            return None
        lines = decode_entry(node, seq, kv.value)
        # An entry of this node is applied with the plain queries of its clients, which are not in the entry log.
        self._requests = self._appender.delivered(seq) if node == self._settings.node else ()
        texts = [each for _, each in self._requests] or [lines]
        tally = self._meter.tally if self._requests else None
        return EntryApplication(self.replica, node, seq, kv.mod_revision, texts, tally)
