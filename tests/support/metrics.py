"""Metrics of a run, parsed by the library of Prometheus."""

import time
from pathlib import Path
from typing import ClassVar

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from scoop_etcd.client.api import ErrorCode
from scoop_server.admin.metrics import metrics_of
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.replication import ReplicationFigures
from scoop_server.telemetry.stalls import CommitWatch
from scoop_server.telemetry.statistics import Statistics


def parsed(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def scraped(health: Health) -> str:
    _, render = metrics_of(health)
    return render().decode()


class Files:
    """Storage with a journal of known size and a real snapshot."""

    read_only_reason = ""
    journal_bytes = 123
    backlog_ratio = 0.5
    commit_delay = 0.0

    def __init__(self, snapshot: Path) -> None:
        self.snapshot_path = str(snapshot)


class Certificates:
    """Certificates that expire at a known time."""

    expires_at = 2_000_000_000.0


class Node:
    """A node of a replicated index with known figures."""

    figures: ReplicationFigures
    failure_counts: ClassVar[dict[str, int]] = {code.value: 3 * (code is ErrorCode.NO_SPACE) for code in ErrorCode}
    not_ready_reason = ""
    applied_revision, committed_revision = 40, 42
    digest = (1 << 63) + 5
    lag_seconds = 0.5
    pending = 2
    is_compactor = True
    log_bytes = 1_000

    def __init__(self) -> None:
        self.figures = ReplicationFigures()
        self.figures.append_seconds.observe(0.001)
        self.figures.expired = 4
        self.figures.dependency_edges = 7


def complete_health(tmp_path: Path) -> Health:
    """Return the health of a run of which everything is known."""
    (tmp_path / "snapshot-1").touch()
    health = Health(Statistics(), lambda: 0, Files(tmp_path / "snapshot-1"))
    health.statistics.recovery_seconds = 1.0
    health.commits = CommitWatch(time.monotonic)
    health.certificates = Certificates()
    health.replication = Node()
    health.connections_max, health.journal_bytes_min, health.last_reload_succeeded = 1_000, 64, True
    return health
