"""Metrics of a run, parsed by the library of Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from scoop_core import DependencyGraph

from scoop_server.admin.metrics import metrics_of
from scoop_server.index.local import LocalIndex
from scoop_server.storage.store import JournalStore
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.statistics import Statistics

from tests.support.storage import Bench


def parsed(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def scraped(health: Health) -> str:
    _, render = metrics_of(health)
    return render().decode()


class Certificates:
    """Certificates that expire at a known time."""

    expires_at = 2_000_000_000.0


@contextmanager
def complete_run(directory: Path) -> Iterator[tuple[Health, JournalStore]]:
    """Give the health of a run of which everything is known, and its store."""
    with Bench(directory).open(journal_bytes_min=64) as opened:
        index = LocalIndex[object](DependencyGraph(), opened.store)
        health = Health(Statistics(), Certificates(), index, connections_max=1_000, last_reload_succeeded=True)
        health.statistics.recovery_seconds = 1.0
        health.statistics.requests_forbidden["team-a",] += 1
        yield health, opened.store
