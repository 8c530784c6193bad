"""Applying entries: in the order of their revisions, some in each turn, so that a node serves clients meanwhile."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from scoop_etcd.client.api import KeyValue
from scoop_etcd.formats.entries import decode_entry
from scoop_etcd.replication.appender import Appender, Entry, LoggedRequests
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_etcd.replication.parts import Parted, delete_plain_queries, response_to
from scoop_etcd.replication.replica import Applied, Replica
from scoop_server.ports import ClientT, Response
from scoop_server.telemetry.statistics import Meter


class Applier(Generic[ClientT]):
    """Applies entries to a replica, and answers those of this node.

    ``applied`` is called with each entry, when it and all before it have been applied.
    """

    def __init__(
        self,
        settings: NodeSettings,
        appender: Appender[ClientT | Parted[ClientT]],
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
        """The next entries."""
        self._moved_at = clock()
        self.replica = Replica.empty(settings.config)
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
            kv = self._entries.popleft()
            visits_left -= self._apply(kv, responses)
            self._moved_at = self._clock()
            bytes_left -= len(kv.value)
            self._applied(kv)
        self.has_loaded |= self._was_fed and not self._entries
        return responses

    def _apply(self, kv: KeyValue, responses: list[Response[ClientT]]) -> int:
        """Apply an entry, unless it is a late duplicate; add its responses, and return what searches have visited."""
        node, seq = self._settings.keys.parse_entry(kv.key)
        # A late duplicate: etcd committed an attempt after a compaction had deleted the entry of an earlier one, and so
        # the condition held again. All nodes ignore it alike, by the sequence numbers in their state.
        if not self.replica.is_next(node, seq):
            self.late_duplicates += node == self._settings.node
            self.replica.revision = kv.mod_revision
            return 0
        lines = decode_entry(node, seq, kv.value).lines
        if node != self._settings.node:
            return self.replica.apply(node, seq, kv.mod_revision, [lines]).visits
        entry = self._appender.delivered(seq)
        # An entry of this node is applied with the plain queries of its clients, which are not in the entry log.
        texts = [lines for _, lines in entry.requests] or [lines]
        tally = self._meter.tally if entry.requests else None
        applied = self.replica.apply(node, seq, kv.mod_revision, texts, tally)
        self._answer(entry, applied, responses)
        self._appender.finish(entry, applied.visits)
        return applied.visits

    def _answer(
        self, entry: Entry[ClientT | Parted[ClientT]], applied: Applied, responses: list[Response[ClientT]]
    ) -> None:
        """Add the responses to the requests of ``entry``, and append again what was not applied of it."""
        again: list[LoggedRequests[ClientT | Parted[ClientT]]] = []
        last = len(applied.answers) - 1
        for number, request in enumerate(entry.requests):
            client, lines = request
            given = applied.answers[number] if number <= last else ""
            if not given:
                again.append(LoggedRequests((request,), delete_plain_queries("", lines), entry.deadline))
                continue
            unanswered = applied.rest if number == last else ""
            if unanswered and not isinstance(client, Parted):
                client = Parted(client, lines, entry.deadline)
            part = client.take(given, unanswered) if isinstance(client, Parted) else None
            if part is None:
                responses.append(response_to((client, lines), given))
            else:
                self._appender.add_last(LoggedRequests((part,), delete_plain_queries("", part[1]), part[0].deadline))
        self._appender.add_again(again)
