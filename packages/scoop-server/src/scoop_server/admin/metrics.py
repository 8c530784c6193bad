"""The metrics of a run for Prometheus. They need prometheus_client, which the extra ``scoop-server[metrics]`` installs.

docs/monitoring.md explains each of them. No label holds anything that a client has sent.
"""

import os
import platform
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from scoop_server import __version__
from scoop_server.telemetry.health import Health, Storage
from scoop_server.telemetry.log_writer import dropped_line_count
from scoop_server.telemetry.replication import Replication
from scoop_server.telemetry.statistics import CloseReason, Histogram, Statistics


def metrics_of(health: Health) -> tuple[str, Callable[[], bytes]]:
    """Return the media type of the metrics of a run, and a function that renders them."""
    registry = CollectorRegistry()
    registry.register(RunCollector(health))
    for process_collector in (ProcessCollector, PlatformCollector, GCCollector):
        process_collector(registry=registry)
    return CONTENT_TYPE_LATEST, lambda: generate_latest(registry)


_G: Final = GaugeMetricFamily
_C: Final = CounterMetricFamily

_Value: TypeAlias = tuple[type[GaugeMetricFamily | CounterMetricFamily], str, str, float]


def _values(health: Health) -> Iterator[_Value]:
    """Yield the metrics with a single value: type, name, documentation, value. One that is not known is left out."""
    yield _G, "scoop_ready", "1 while clients are served and may change the index.", not health.not_ready_reason
    yield _G, "scoop_read_only", "1 while changes are refused.", health.is_read_only
    yield _C, "scoop_log_lines_dropped", "Log lines that could not be written.", dropped_line_count()
    if health.last_reload_succeeded is not None:
        yield _G, "scoop_last_reload_success", "1 if the last reload succeeded.", health.last_reload_succeeded
    server_expiry = None if health.certificates is None else health.certificates.expires_at
    if known := [each for each in (server_expiry, health.etcd_certificate_expires_at) if each is not None]:
        yield _G, "scoop_certificate_expiry_timestamp_seconds", "Time of the first expiry of a certificate.", min(known)
    if health.connections_max is not None:
        yield _G, "scoop_connections_max", "Effective limit of connections.", health.connections_max
    yield from _statistics_values(health.statistics)
    if health.commits is not None:
        yield _C, "scoop_slow_commit_seconds", "Time spent in slow commits.", health.commits.slow_seconds
        yield _G, "scoop_commit_longest_seconds", "Longest commit of the last minute.", health.commits.longest_seconds
    if health.package_count is not None:
        yield _G, "scoop_packages", "Indexed packages.", health.package_count()
        edges = (health.replication.figures if health.replication else health.statistics).dependency_edges
        yield _G, "scoop_dependency_edges", "Dependencies of all packages.", edges
    if health.replication is not None:
        yield from _replication_values(health.replication)
    if health.storage is not None:
        yield from _storage_values(health.storage, health.journal_bytes_min)


def _statistics_values(statistics: Statistics) -> Iterator[_Value]:
    yield _C, "scoop_rejected_changes", "Changes rejected by read-only listeners.", statistics.changes_rejected
    yield _C, "scoop_received_bytes", "Bytes received from clients.", statistics.bytes_received
    yield _C, "scoop_sent_bytes", "Bytes sent to clients.", statistics.bytes_sent
    yield _G, "scoop_connections", "Connected clients.", statistics.connections_now
    yield _G, "scoop_handshakes", "TLS handshakes in progress.", statistics.handshakes_now
    yield _C, "scoop_connections_accepted", "Accepted connections.", statistics.connections_accepted
    if statistics.recovery_seconds is not None:
        yield _G, "scoop_recovery_seconds", "Duration of loading the index.", statistics.recovery_seconds


_EXACT_FLOATS: Final = 1 << 53
"""Prometheus stores numbers as floats; integers below this one are exact."""


def _replication_values(replication: Replication) -> Iterator[_Value]:
    figures, lag = replication.figures, replication.committed_revision - replication.applied_revision
    yield _G, "scoop_applied_revision", "Revision of the last entry applied.", replication.applied_revision
    yield _G, "scoop_replication_digest", "Digest of the graph, in part.", replication.digest % _EXACT_FLOATS
    yield _G, "scoop_committed_revision", "Revision of the last entry known.", replication.committed_revision
    yield _G, "scoop_replication_lag_entries", "Entries known and not applied, at most.", max(0, lag)
    yield _G, "scoop_replication_lag_seconds", "Time without progress while there are entries.", replication.lag_seconds
    yield _G, "scoop_replication_pending", "Clients that wait for etcd.", replication.pending
    yield _G, "scoop_compactor", "1 on the node that decides about compactions.", replication.is_compactor
    yield _G, "scoop_replication_log_bytes", "Size of the entries since the snapshot.", replication.log_bytes
    yield _C, "scoop_replication_timeouts", "Requests without a response in time.", figures.expired
    yield _C, "scoop_replication_late_duplicates", "Entries that were ignored.", figures.late_duplicates


def _storage_values(storage: Storage, journal_bytes_min: int) -> Iterator[_Value]:
    yield _G, "scoop_journal_bytes", "Size of the journals since the snapshot.", storage.journal_bytes
    yield _G, "scoop_compaction_backlog_ratio", "Size of the journals by their limit.", storage.backlog_ratio
    yield _G, "scoop_commit_delay_seconds", "Delay after each commit.", storage.commit_delay
    try:
        snapshot = os.stat(storage.snapshot_path)
    except OSError:  # a newer one has just replaced it
        return
    yield _G, "scoop_snapshot_bytes", "Size of the newest snapshot.", snapshot.st_size
    yield _G, "scoop_snapshot_timestamp_seconds", "Time of the newest snapshot.", snapshot.st_mtime
    threshold = max(snapshot.st_size, journal_bytes_min)
    yield _G, "scoop_compaction_threshold_bytes", "Size of the journals at which a compaction starts.", threshold


class RunCollector(Collector):
    """The metrics of one run. Collecting them costs the same for a few packages as for millions."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> list[Metric]:
        """Return nothing: no other collector of the registry has metrics with these names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a value."""
        statistics = self._health.statistics
        yield InfoMetricFamily(
            "scoop_build", "Version of the server.", {"version": __version__, "python": platform.python_version()}
        )
        for family, name, documentation, value in _values(self._health):
            yield family(name, documentation, value)
        requests = CounterMetricFamily("scoop_requests", "Requests, by answer.", labels=["command", "response"])
        for command, response, count in statistics.tally:
            requests.add_metric([command, response], count)
        yield requests
        closed = CounterMetricFamily("scoop_connections_closed", "Connections closed, by reason.", labels=["reason"])
        for reason in CloseReason:
            closed.add_metric([reason.value], statistics.connections_closed.get(reason, 0))
        yield closed
        yield _histogram("scoop_turn_duration_seconds", "Duration of a turn, without waiting.", statistics.turn_seconds)
        yield _histogram("scoop_commit_duration_seconds", "Duration of a commit.", statistics.commit_seconds)
        yield _histogram("scoop_commit_changes", "Changes in one commit.", statistics.commit_changes)
        if self._health.replication is not None:
            yield from _replication_metrics(self._health.replication)


def _replication_metrics(replication: Replication) -> Iterator[Metric]:
    figures = replication.figures
    failures = CounterMetricFamily("scoop_etcd_failures", "Failed requests to etcd, by code.", labels=["code"])
    for code, count in replication.failure_counts.items():
        failures.add_metric([code.replace(" ", "_")], count)
    yield failures
    yield _histogram("scoop_append_duration_seconds", "Duration of an append to the log.", figures.append_seconds)
    yield _histogram("scoop_barrier_duration_seconds", "Duration of a barrier.", figures.barrier_seconds)


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    buckets = []
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), total))
    return HistogramMetricFamily(name, documentation, buckets, histogram.sum)
