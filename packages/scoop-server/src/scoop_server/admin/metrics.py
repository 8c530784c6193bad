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
from scoop_server.telemetry.statistics import CloseReason, Histogram


def metrics_of(run: Health) -> tuple[str, Callable[[], bytes]]:
    """Return the media type of the metrics of ``run``, and a function that renders them."""
    registry = CollectorRegistry()
    registry.register(RunCollector(run))
    for process_collector in (ProcessCollector, PlatformCollector, GCCollector):
        process_collector(registry=registry)
    return CONTENT_TYPE_LATEST, lambda: generate_latest(registry)


class RunCollector(Collector):
    """The metrics of one run. Collecting them costs the same for a few packages as for millions."""

    def __init__(self, run: Health) -> None:
        self._run = run

    def describe(self) -> list[Metric]:
        """Return nothing: no other collector of the registry has metrics with these names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        run, statistics = self._run, self._run.statistics
        yield InfoMetricFamily(
            "scoop_build", "Version of the server.", {"version": __version__, "python": platform.python_version()}
        )
        yield _gauge("scoop_ready", "1 while clients are served and may change the index.", not run.not_ready_reason)
        yield _gauge("scoop_read_only", "1 while changes are refused.", run.is_read_only)
        if run.index is not None:
            yield _gauge("scoop_packages", "Indexed packages.", len(run.index))
            yield _gauge(
                "scoop_dependency_edges",
                "Dependencies of all indexed packages.",
                statistics.dependency_edges,
            )
        if statistics.recovery_seconds is not None:
            yield _gauge(
                "scoop_recovery_seconds", "Duration of loading the index at the start.", statistics.recovery_seconds
            )
        yield self._requests()
        yield _counter("scoop_received_bytes", "Bytes received from clients.", statistics.bytes_received)
        yield _counter("scoop_sent_bytes", "Bytes sent to clients.", statistics.bytes_sent)
        yield _gauge("scoop_connections", "Connected clients.", statistics.connections_now)
        yield _gauge("scoop_handshakes", "TLS handshakes in progress.", statistics.handshakes_now)
        yield _counter("scoop_connections_accepted", "Accepted connections.", statistics.connections_accepted)
        yield self._closed_connections()
        yield _histogram(
            "scoop_turn_duration_seconds",
            "Duration of a turn of the event loop, without waiting.",
            statistics.turn_seconds,
        )
        yield _histogram(
            "scoop_commit_duration_seconds",
            "Duration of a commit.",
            statistics.commit_seconds,
        )
        yield _histogram("scoop_commit_changes", "Changes in one commit.", statistics.commit_changes)
        yield _counter(
            "scoop_log_lines_dropped", "Log lines dropped because the log could not be written.", dropped_line_count()
        )
        yield from self._storage()

    def _requests(self) -> Metric:
        family = CounterMetricFamily("scoop_requests", "Requests, by answer.", labels=["command", "response"])
        for command, response, count in self._run.statistics.tally:
            family.add_metric([command, response], count)
        return family

    def _closed_connections(self) -> Metric:
        closed = dict(self._run.statistics.connections_closed)
        family = CounterMetricFamily("scoop_connections_closed", "Connections closed, by reason.", labels=["reason"])
        for reason in CloseReason:
            family.add_metric([reason.value], closed.get(reason, 0))
        return family

    def _storage(self) -> Iterator[Metric]:
        storage = self._run.storage
        if storage is None:
            return
        yield _gauge("scoop_journal_bytes", "Size of the journals since the snapshot.", storage.journal_bytes)
        try:
            status = os.stat(storage.snapshot_path)
        except OSError:  # a newer one has just replaced it
            return
        yield _gauge("scoop_snapshot_bytes", "Size of the newest snapshot.", status.st_size)
        yield _gauge("scoop_snapshot_timestamp_seconds", "Time of the newest snapshot.", status.st_mtime)


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
