"""Metrics of a run, parsed by the library of Prometheus."""

from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from scoop_server.admin.metrics import metrics_of
from scoop_server.telemetry.health import Health


def parsed(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def scraped(run: Health) -> str:
    _, render = metrics_of(run)
    return render().decode()


class Files:
    """Storage with a journal of known size and a real snapshot."""

    read_only_reason = ""
    journal_bytes = 123

    def __init__(self, snapshot: Path) -> None:
        self.snapshot_path = str(snapshot)
