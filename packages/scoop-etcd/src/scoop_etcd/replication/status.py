"""The state of a node, for probes and metrics."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic

from scoop_etcd.client.api import ErrorCode
from scoop_etcd.client.calls import Calls
from scoop_etcd.replication.appender import Appender
from scoop_etcd.replication.applier import Applier
from scoop_etcd.replication.barrier import Barrier
from scoop_etcd.replication.compactor import Compactor
from scoop_etcd.replication.entry_feed import EntryFeed
from scoop_etcd.replication.membership import Membership
from scoop_etcd.replication.parts import Parted
from scoop_server.ports import ClientT
from scoop_server.telemetry.figures import Figure, Histogram, counter
from scoop_server.telemetry.statistics import DURATION_SECONDS

SILENT_SECONDS: Final = 3.0
"""Without a response of etcd for this long, a node is not ready: three surveys, and longer than a change of leader."""

LAG_SECONDS_MAX: Final = 5.0
"""A node that has applied nothing for this long, while there are entries, is not ready."""


_EXACT_FLOATS: Final = 1 << 53
"""Prometheus stores numbers as floats; integers below this one are exact."""


class NodeCounters:
    """The counters of a node."""

    def __init__(self) -> None:
        self.append_seconds = Histogram(DURATION_SECONDS)
        """From sending an entry until it is known to be in the entry log."""
        self.barrier_seconds = Histogram(DURATION_SECONDS)
        """The linearizable reads of barriers."""
        self.expired: int = 0
        """Requests without a response in time."""


@dataclass(frozen=True, slots=True)
class NodeStatus(Generic[ClientT]):
    """The state of a node. Any thread may read it."""

    _clock: Callable[[], float]
    _calls: Calls
    _applier: Applier[ClientT]
    _feed: EntryFeed
    _appender: Appender[ClientT | Parted[ClientT]]
    _barrier: Barrier[ClientT]
    _membership: Membership
    _compactor: Compactor
    _counters: NodeCounters

    @property
    def not_ready_reason(self) -> str:
        """The reason for which clients are not fully served; empty while they are."""
        if self.is_loading:
            return "loading"
        if self._clock() - self._calls.last_answer > SILENT_SECONDS:
            return "etcd does not answer"
        if self._appender.waiting_seconds > SILENT_SECONDS:
            failure = self._appender.failure
            return f"etcd accepts no changes: {failure.code.value}" if failure else "etcd accepts no changes"
        if self.lag_seconds > LAG_SECONDS_MAX:
            return "lagging"
        return ""

    @property
    def is_loading(self) -> bool:
        """Return whether the node has not read the snapshot and the entry log yet."""
        return not self._applier.has_loaded

    @property
    def applied_revision(self) -> int:
        """The revision of the last entry applied."""
        return self._applier.replica.revision

    @property
    def lag_seconds(self) -> float:
        """The time for which nothing was received or applied although there are entries."""
        return max(self._feed.behind_seconds, self._applier.behind_seconds)

    @property
    def committed_revision(self) -> int:
        """The highest revision of an entry known to be in the entry log."""
        return max(self._feed.committed, self.applied_revision)

    @property
    def digest(self) -> int:
        """The digest of the graph."""
        return self._applier.replica.digest

    @property
    def pending(self) -> int:
        """The number of clients that wait for a response."""
        return self._appender.pending + self._barrier.pending

    @property
    def is_compactor(self) -> bool:
        """Return whether this node decides about compactions."""
        return self._membership.fence is not None

    def figures(self) -> Iterator[Figure]:
        """Yield the figures of the node."""
        applied, committed, counters = self.applied_revision, self.committed_revision, self._counters
        digest = self.digest % _EXACT_FLOATS
        entry_bytes = self._compactor.entry_bytes
        failures: dict[tuple[str, ...], float] = {
            (code.value.replace(" ", "_"),): self._calls.failures[code] for code in ErrorCode
        }
        yield Figure("scoop_applied_revision", "Revision of the last entry applied.", applied)
        yield Figure("scoop_replication_digest", "Digest of the graph, in part.", digest)
        yield Figure("scoop_committed_revision", "Revision of the last entry known.", committed)
        yield Figure("scoop_replication_lag_entries", "Entries known and not applied, at most.", committed - applied)
        yield Figure(
            "scoop_replication_lag_seconds", "Time without progress while there are entries.", self.lag_seconds
        )
        yield Figure("scoop_replication_pending", "Clients that wait for etcd.", self.pending)
        yield Figure("scoop_compactor", "1 on the node that decides about compactions.", self.is_compactor)
        yield Figure("scoop_replication_log_bytes", "Size of the entries since the snapshot.", entry_bytes)
        yield counter("scoop_replication_timeouts", "Requests without a response in time.", counters.expired)
        refused = self._applier.replica.graph.refused_searches
        yield counter("scoop_replication_refused_searches", "INDEX requests whose search was too long.", refused)
        yield counter("scoop_replication_late_duplicates", "Entries that were ignored.", self._applier.late_duplicates)
        yield counter("scoop_etcd_failures", "Failed requests to etcd, by code.", failures, "code")
        yield Figure("scoop_append_duration_seconds", "Duration of an append.", counters.append_seconds)
        yield Figure("scoop_barrier_duration_seconds", "Duration of a barrier.", counters.barrier_seconds)
