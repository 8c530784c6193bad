"""Metrics of the explorer, in the text format of Prometheus."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0)
"""Upper bounds of the durations of requests, in seconds."""

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Gauge = tuple[str, str, Callable[[], float]]
"""Name, help text and value."""


class Metrics:
    """Counts requests, and reports them with the values of ``gauges``."""

    def __init__(self, *gauges: Gauge) -> None:
        self._gauges = gauges
        self._by_status: dict[int, int] = {}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def request_has_ended(self, status: int, seconds: float) -> None:
        """Count a request."""
        self._by_status[status] = self._by_status.get(status, 0) + 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self) -> str:
        """Return all metrics."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for name, help_text, value in (*self._gauges, _MEMORY):
            yield f"# HELP {name} {help_text}"
            yield f"# TYPE {name} gauge"
            yield f"{name} {value():g}"
        name = "scoop_explorer_requests_total"
        yield f"# HELP {name} Requests by status, without event streams."
        yield f"# TYPE {name} counter"
        for status, count in sorted(self._by_status.items()):
            yield f'{name}{{status="{status}"}} {count}'
        name = "scoop_explorer_request_seconds"
        yield f"# HELP {name} Time from a request to the end of its response."
        yield f"# TYPE {name} histogram"
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._seconds:.6f}"
        yield f"{name}_count {total}"


def _resident_bytes() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0


_MEMORY: Final[Gauge] = ("process_resident_memory_bytes", "Resident memory size in bytes.", _resident_bytes)
