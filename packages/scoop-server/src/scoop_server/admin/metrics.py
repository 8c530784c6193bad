"""The metrics of a run for Prometheus. They need prometheus_client, which the extra ``scoop-server[metrics]`` installs.

docs/monitoring.md explains each of them. No label holds anything that a client has sent.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from scoop_server.telemetry.figures import Figure, Histogram
from scoop_server.telemetry.health import Health


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

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a value."""
        return map(_metric, self._health.figures())


def _metric(figure: Figure) -> Metric:
    if isinstance(figure.value, Histogram):
        return _histogram(figure.name, figure.meaning, figure.value)
    family = CounterMetricFamily if figure.is_counter else GaugeMetricFamily
    metric = family(figure.name, figure.meaning, labels=figure.labels)
    values = {(): figure.value} if isinstance(figure.value, (int, float)) else figure.value
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    bounds = [*(repr(float(bound)) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(list(histogram.counts)), strict=True))
    return HistogramMetricFamily(name, documentation, buckets, histogram.sum)
