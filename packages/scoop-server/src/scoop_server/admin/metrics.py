"""The metrics of a run for Prometheus. They need prometheus_client, which the extra ``scoop-server[metrics]`` installs.

docs/monitoring.md explains each of them. No label holds anything that a client has sent.
"""

import os
import platform
from collections.abc import Callable, Iterator

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
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.log_writer import dropped_line_count
from scoop_server.telemetry.stalls import SLOW_COMMIT_SECONDS
from scoop_server.telemetry.statistics import CloseReason, Histogram


def metrics_of(health: Health) -> tuple[str, Callable[[], bytes]]:
    """Return the media type of the metrics of a run, and a function that renders them."""
    registry = CollectorRegistry()
    registry.register(RunCollector(health))
    for process_collector in (ProcessCollector, PlatformCollector, GCCollector):
        process_collector(registry=registry)
    return CONTENT_TYPE_LATEST, lambda: generate_latest(registry)


class RunCollector(Collector):
    """The metrics of one run. Collecting them costs the same for a few packages as for millions."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._statistics = health.statistics

    def describe(self) -> list[Metric]:
        """Return nothing: no other collector of the registry has metrics with these names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. One whose value is not known yet is left out."""
        yield from self._process()
        yield from self._requests()
        yield from self._connections()
        yield from self._times()
        yield from self._storage()

    def _process(self) -> Iterator[Metric]:
        health = self._health
        yield InfoMetricFamily(
            "scoop_build", "Version of the server.", {"version": __version__, "python": platform.python_version()}
        )
        yield _gauge("scoop_ready", "1 while clients are served and may change the index.", not health.not_ready_reason)
        yield _gauge("scoop_read_only", "1 while changes are refused.", health.is_read_only)
        if health.last_reload_succeeded is not None:
            yield _gauge("scoop_last_reload_success", "1 if the last reload succeeded.", health.last_reload_succeeded)
        if health.certificates is not None:
            yield _gauge(
                "scoop_certificate_expiry_timestamp_seconds",
                "Time at which the certificate expires.",
                health.certificates.expires_at,
            )
        yield _counter(
            "scoop_log_lines_dropped", "Log lines dropped because the log could not be written.", dropped_line_count()
        )

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("scoop_requests", "Requests, by answer.", labels=["command", "response"])
        for command, response, count in self._statistics.tally:
            requests.add_metric([command, response], count)
        yield requests
        yield _counter("scoop_received_bytes", "Bytes received from clients.", self._statistics.bytes_received)
        yield _counter("scoop_sent_bytes", "Bytes sent to clients.", self._statistics.bytes_sent)

    def _connections(self) -> Iterator[Metric]:
        statistics = self._statistics
        yield _gauge("scoop_connections", "Connected clients.", statistics.connections_now)
        yield _gauge("scoop_handshakes", "TLS handshakes in progress.", statistics.handshakes_now)
        if self._health.connections_max is not None:
            yield _gauge("scoop_connections_max", "Effective limit of connections.", self._health.connections_max)
        yield _counter("scoop_connections_accepted", "Accepted connections.", statistics.connections_accepted)
        closed_by_reason = dict(statistics.connections_closed)
        closed = CounterMetricFamily("scoop_connections_closed", "Connections closed, by reason.", labels=["reason"])
        for reason in CloseReason:
            closed.add_metric([reason.value], closed_by_reason.get(reason, 0))
        yield closed

    def _times(self) -> Iterator[Metric]:
        statistics = self._statistics
        yield _histogram(
            "scoop_turn_duration_seconds",
            "Duration of a turn of the event loop, without waiting.",
            statistics.turn_seconds,
        )
        yield _histogram("scoop_commit_duration_seconds", "Duration of a commit.", statistics.commit_seconds)
        yield _histogram("scoop_commit_changes", "Changes in one commit.", statistics.commit_changes)
        if self._health.commits is not None:
            yield _counter(
                "scoop_slow_commit_seconds",
                f"Time spent in commits longer than {SLOW_COMMIT_SECONDS} s.",
                self._health.commits.slow_seconds,
            )
            yield _gauge(
                "scoop_commit_longest_seconds",
                "Duration of the longest commit of the last minute.",
                self._health.commits.longest_seconds,
            )

    def _storage(self) -> Iterator[Metric]:
        if self._health.index is not None:
            yield _gauge("scoop_packages", "Indexed packages.", len(self._health.index))
            yield _gauge(
                "scoop_dependency_edges", "Dependencies of all indexed packages.", self._statistics.dependency_edges
            )
        if self._statistics.recovery_seconds is not None:
            yield _gauge(
                "scoop_recovery_seconds",
                "Duration of loading the index at the start.",
                self._statistics.recovery_seconds,
            )
        storage = self._health.storage
        if storage is None:
            return
        yield _gauge("scoop_journal_bytes", "Size of the journals since the snapshot.", storage.journal_bytes)
        try:
            status = os.stat(storage.snapshot_path)
        except OSError:  # a newer one has just replaced it
            return
        yield _gauge("scoop_snapshot_bytes", "Size of the newest snapshot.", status.st_size)
        yield _gauge("scoop_snapshot_timestamp_seconds", "Time of the newest snapshot.", status.st_mtime)
        yield _gauge(
            "scoop_compaction_threshold_bytes",
            "Size of the journals at which a compaction starts.",
            max(status.st_size, self._health.journal_bytes_min),
        )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value)


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(name, documentation, value)


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    buckets = []
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), list(histogram.counts), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), total))
    return HistogramMetricFamily(name, documentation, buckets, histogram.sum)
