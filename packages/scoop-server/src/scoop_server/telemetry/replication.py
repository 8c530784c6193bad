"""The state of a node of a replicated index, for probes and metrics in another thread."""

from collections.abc import Mapping
from typing import Protocol

from scoop_server.telemetry.statistics import COMMIT_SECONDS, Histogram


class ReplicationFigures:
    """Figures that a node counts."""

    def __init__(self) -> None:
        self.append_seconds = Histogram(COMMIT_SECONDS)
        """From sending an entry until it is known to be in the log."""
        self.barrier_seconds = Histogram(COMMIT_SECONDS)
        """The linearizable reads of barriers."""
        self.dependency_edges: int = 0
        """The number of dependencies of all packages."""
        self.expired: int = 0
        """Requests without a response in time."""
        self.late_duplicates: int = 0
        """Entries that were ignored."""


class Replication(Protocol):
    """A node of a replicated index. All of it may be read in any thread."""

    @property
    def figures(self) -> ReplicationFigures:
        """The counters."""

    @property
    def failure_counts(self) -> Mapping[str, int]:
        """Failed requests to etcd, by code."""

    @property
    def not_ready_reason(self) -> str:
        """The reason for which clients are not fully served; empty while they are."""

    @property
    def applied_revision(self) -> int:
        """The revision of the last entry applied."""

    @property
    def digest(self) -> int:
        """The digest of the graph."""

    @property
    def committed_revision(self) -> int:
        """The highest revision of an entry known to be in the log."""

    @property
    def lag_seconds(self) -> float:
        """The time for which nothing was applied although there are entries."""

    @property
    def pending(self) -> int:
        """The number of clients whose requests have no response yet."""

    @property
    def is_compactor(self) -> bool:
        """True if this node decides about compactions."""

    @property
    def log_bytes(self) -> int:
        """The size of the entries after the last snapshot."""
