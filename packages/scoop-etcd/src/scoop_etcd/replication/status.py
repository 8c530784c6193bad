"""The state of a node, for probes and metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic

from scoop_etcd.client.api import ErrorCode
from scoop_etcd.client.calls import Calls
from scoop_etcd.replication.appender import Appender
from scoop_etcd.replication.barrier import Barrier
from scoop_etcd.replication.compactor import Compactor
from scoop_etcd.replication.follower import Follower
from scoop_etcd.replication.membership import Membership
from scoop_etcd.replication.replica import Replica
from scoop_server.ports import ClientT
from scoop_server.telemetry.replication import ReplicationFigures

SILENT_SECONDS: Final = 3.0
"""Without a response of etcd for this long, a node is not ready: three surveys, and longer than a change of leader."""

LAG_SECONDS_MAX: Final = 5.0
"""A node that has applied nothing for this long, while there are entries, is not ready."""


@dataclass(frozen=True, slots=True)
class NodeStatus(Generic[ClientT]):
    """The state of a node. It satisfies ``Replication`` of telemetry, so any thread may read it."""

    _clock: Callable[[], float]
    _calls: Calls
    _replica: Callable[[], Replica]
    _follower: Follower
    _appender: Appender[ClientT]
    _barrier: Barrier[ClientT]
    _membership: Membership
    _compactor: Compactor
    figures: ReplicationFigures

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
        if self._follower.behind_seconds > LAG_SECONDS_MAX:
            return "lagging"
        return ""

    @property
    def is_loading(self) -> bool:
        """Return whether the node has not read the snapshot and the log yet."""
        return self._follower.position is None

    @property
    def failure_counts(self) -> Mapping[str, int]:
        """Failed requests to etcd, by code."""
        return {code.value: self._calls.failures[code] for code in ErrorCode}

    @property
    def applied_revision(self) -> int:
        """The revision of the last entry applied."""
        return self._replica().revision

    @property
    def digest(self) -> int:
        """The digest of the graph."""
        return self._replica().digest

    @property
    def committed_revision(self) -> int:
        """The highest revision of an entry known to be in the log."""
        return max(self._follower.committed, self.applied_revision)

    @property
    def lag_seconds(self) -> float:
        """The time for which nothing was applied although there are entries."""
        return self._follower.behind_seconds

    @property
    def pending(self) -> int:
        """The number of clients' batches without a response."""
        return self._appender.pending + self._barrier.pending

    @property
    def is_compactor(self) -> bool:
        """Return whether this node decides about compactions."""
        return self._membership.fence is not None

    @property
    def log_bytes(self) -> int:
        """The size of the entries after the last snapshot."""
        return self._compactor.log_bytes
