"""The health of a run, for probes and metrics in another thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from scoop_server.telemetry.replication import Replication
from scoop_server.telemetry.stalls import CommitWatch
from scoop_server.telemetry.statistics import Stage, Statistics

STUCK_SECONDS: Final = 10.0
"""Without a tick for this long, the event loop counts as stuck: ten tick intervals, and longer than a turn takes even
on a busy disk. A client that has waited longer has most often given up."""


class Storage(Protocol):
    """The files of an index. All of it may be read in any thread."""

    @property
    def read_only_reason(self) -> str:
        """The reason for which changes are refused; empty while they are accepted."""

    @property
    def journal_bytes(self) -> int:
        """The size of the journals that a recovery would read."""

    @property
    def backlog_ratio(self) -> float:
        """The size of the journals relative to the one at which a compaction starts."""

    @property
    def commit_delay(self) -> float:
        """The delay after each commit, in seconds, so that a compaction keeps up."""

    @property
    def snapshot_path(self) -> str:
        """The path of the newest snapshot."""


class Certificates(Protocol):
    """The certificates of the server. May be read in any thread."""

    @property
    def expires_at(self) -> float:
        """The time at which the first of them expires, in Unix time."""


@dataclass(slots=True)
class Health:
    """A run as seen from another thread: a few numbers, never a package."""

    statistics: Statistics
    package_count: Callable[[], int] | None = None
    """Returns the number of packages; None until the index has been read."""
    storage: Storage | None = None
    """None until the index has been read, and for an index in memory only."""
    replication: Replication | None = None
    """None unless the index is replicated, and until it has been read."""
    commits: CommitWatch | None = None
    """The watch on the commits; None for an index in memory only."""
    certificates: Certificates | None = None
    """None without TLS."""
    etcd_certificate_expires_at: float | None = None
    """The Unix time at which the client certificate for etcd expires; None without one."""
    connections_max: int | None = None
    """The effective limit of connections: ``--max-clients``, or what the limit of open files allows."""
    journal_bytes_min: int = 0
    """The size of the journals below which no compaction starts by itself."""
    last_reload_succeeded: bool | None = None
    """None before the first reload."""
    clock: Callable[[], float] = time.monotonic
    """The clock of the event loop."""

    @property
    def is_stuck(self) -> bool:
        """Return whether the event loop should take turns and has not for long. Loading and saving may take long."""
        if self.statistics.stage not in {Stage.SERVING, Stage.DRAINING} or self.statistics.last_tick is None:
            return False
        return self.clock() - self.statistics.last_tick > STUCK_SECONDS

    @property
    def is_read_only(self) -> bool:
        """Return whether changes are refused while queries are answered."""
        return self.storage is not None and bool(self.storage.read_only_reason)

    @property
    def not_ready_reason(self) -> str:
        """A few words for why clients are not fully served; empty while they are."""
        if self.is_stuck:
            return "stuck"
        if self.statistics.stage is not Stage.SERVING:
            return self.statistics.stage.value
        if self.replication is not None and self.replication.not_ready_reason:
            return self.replication.not_ready_reason
        return "read-only" if self.is_read_only else ""
