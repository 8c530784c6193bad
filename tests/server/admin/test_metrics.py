"""The metrics, read as Prometheus reads them, against what has happened."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from scoop_core import DependencyGraph

from scoop_server import __version__
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.statistics import CloseReason, Stage, Statistics

from tests.support.admin import get, place_of
from tests.support.metrics import Files, parsed, scraped
from tests.support.process import WAIT_SECONDS, ServerProcess

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """Return each sample by its name and its labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


@pytest.fixture
def run() -> Health:
    return Health(Statistics())


# A run that is made up


def test_build_info(run: Health) -> None:
    [(_, labels)] = [key for key in samples_of(scraped(run)) if key[0] == "scoop_build_info"]
    assert dict(labels)["version"] == __version__


def test_what_is_not_known_yet_is_not_there(run: Health) -> None:
    loading = names(samples_of(scraped(run)))
    assert not loading & {"scoop_packages", "scoop_dependency_edges", "scoop_recovery_seconds", "scoop_journal_bytes"}
    assert {"scoop_ready", "scoop_connections", "process_resident_memory_bytes", "python_info"} <= loading


def test_every_count_that_may_come_is_there_from_the_beginning_as_zero(run: Health) -> None:
    samples = samples_of(scraped(run))
    for reason in CloseReason:
        assert value(samples, "scoop_connections_closed_total", reason=reason.value) == 0
    for command in ("INDEX", "REMOVE", "QUERY"):
        for response in ("OK", "FAIL", "ERROR"):
            assert value(samples, "scoop_requests_total", command=command, response=response) == 0
    assert value(samples, "scoop_requests_total", command="unknown", response="ERROR") == 0


def test_counts(run: Health) -> None:
    statistics = run.statistics
    DependencyGraph().apply_lines("INDEX|a|\n" * 7, tally=statistics.tally)
    statistics.connections_closed[CloseReason.IDLE] = 3
    statistics.connections_now, statistics.connections_accepted = 2, 5
    statistics.handshakes_now = 1
    statistics.bytes_received, statistics.bytes_sent = 2**60, 17
    samples = samples_of(scraped(run))
    assert value(samples, "scoop_requests_total", command="INDEX", response="OK") == 7
    assert value(samples, "scoop_connections_closed_total", reason="idle") == 3
    assert value(samples, "scoop_connections") == 2
    assert value(samples, "scoop_handshakes") == 1
    assert value(samples, "scoop_connections_accepted_total") == 5
    assert value(samples, "scoop_received_bytes_total") == 2**60
    assert value(samples, "scoop_sent_bytes_total") == 17


def test_a_histogram_is_cumulative(run: Health) -> None:
    for changes in (1, 2, 2, 30_000):
        run.statistics.commit_changes.observe(changes)
    samples = samples_of(scraped(run))
    buckets = {
        float(dict(labels)["le"]): count
        for (name, labels), count in samples.items()
        if name == "scoop_commit_changes_bucket"
    }
    assert (buckets[1.0], buckets[2.0], buckets[20_000.0], buckets[float("inf")]) == (1, 3, 3, 4)
    assert (value(samples, "scoop_commit_changes_count"), value(samples, "scoop_commit_changes_sum")) == (4, 30_005)


def test_a_run_is_ready_and_writable(run: Health, tmp_path: Path) -> None:
    files = Files(tmp_path / "snapshot-1")
    run.statistics.stage, run.storage = Stage.SERVING, files
    samples = samples_of(scraped(run))
    assert (value(samples, "scoop_ready"), value(samples, "scoop_read_only")) == (1, 0)
    files.read_only_reason = "no space left"
    samples = samples_of(scraped(run))
    assert (value(samples, "scoop_ready"), value(samples, "scoop_read_only")) == (0, 1)


def test_a_run_that_is_stuck_is_not_ready(run: Health) -> None:
    run.statistics.stage = Stage.SERVING
    run.clock, run.statistics.last_tick = (lambda: 1_000.0), 1.0
    assert value(samples_of(scraped(run)), "scoop_ready") == 0


def test_files(run: Health, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot-7"
    snapshot.write_bytes(b"x" * 1_000)
    os.utime(snapshot, (1_000_000.5, 1_000_000.5))
    run.storage = Files(snapshot)
    samples = samples_of(scraped(run))
    assert value(samples, "scoop_journal_bytes") == 123
    assert value(samples, "scoop_snapshot_bytes") == 1_000
    assert value(samples, "scoop_snapshot_timestamp_seconds") == 1_000_000.5
    snapshot.unlink()  # as when a newer one takes its place at this very moment
    assert "scoop_snapshot_bytes" not in names(samples_of(scraped(run)))


METRICS = {
    "scoop_build_info": "gauge",
    "scoop_ready": "gauge",
    "scoop_read_only": "gauge",
    "scoop_packages": "gauge",
    "scoop_dependency_edges": "gauge",
    "scoop_recovery_seconds": "gauge",
    "scoop_requests": "counter",
    "scoop_received_bytes": "counter",
    "scoop_sent_bytes": "counter",
    "scoop_connections": "gauge",
    "scoop_handshakes": "gauge",
    "scoop_connections_accepted": "counter",
    "scoop_connections_closed": "counter",
    "scoop_turn_duration_seconds": "histogram",
    "scoop_commit_duration_seconds": "histogram",
    "scoop_commit_changes": "histogram",
    "scoop_log_lines_dropped": "counter",
    "scoop_journal_bytes": "gauge",
    "scoop_snapshot_bytes": "gauge",
    "scoop_snapshot_timestamp_seconds": "gauge",
}


def test_names_and_types_stay_as_dashboards_know_them(run: Health, tmp_path: Path) -> None:
    (tmp_path / "snapshot-1").touch()
    run.index, run.storage, run.statistics.recovery_seconds = [], Files(tmp_path / "snapshot-1"), 1.0
    families = [family for family in parsed(scraped(run)) if family.name.startswith("scoop_")]
    assert {family.name: family.type for family in families} == METRICS
    for family in families:
        if family.type == "counter":
            assert {sample.name for sample in family.samples} == {f"{family.name}_total"}


def labels_of(families: Iterable[Metric]) -> set[str]:
    return {label for family in families for sample in family.samples for label in sample.labels}


# A real one


def settled(place: str, sent_bytes: int) -> str:
    """Return the metrics once ``sent_bytes`` are counted: that comes last in a turn, when the client has its answer."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        text = get(place, "/metrics")[1]
        if value(samples_of(text), "scoop_sent_bytes_total") == sent_bytes:
            return text
        assert time.monotonic() < deadline, text


def test_what_a_client_did(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"), "--admin", "127.0.0.1:0")
    conversation = {
        "INDEX|a|": "OK",
        "INDEX|b|a": "OK",
        "INDEX|c|a,b,b": "OK",
        "INDEX|d|x": "FAIL",
        "INDEX|e|x y": "ERROR",
        "REMOVE|a|": "FAIL",
        "REMOVE|c|": "OK",
        "REMOVE||": "ERROR",
        "QUERY|x|": "FAIL",
        "QUERY|a|": "OK",
        "QUERY|a,b|": "ERROR",
        "WHAT|a|": "ERROR",
        "INDEX|secret-name|a": "OK",
    }
    with ServerProcess(*arguments) as server, server.connect() as client:
        place = place_of(server)
        assert client.ask_one_by_one(*conversation) == list(conversation.values())
        with server.connect() as another:
            assert another.ask("QUERY|a|", "QUERY|b|") == ["OK", "OK"]
        text = settled(place, sum(len(answer) + 1 for answer in conversation.values()) + 2 * len("OK\n"))
        samples = samples_of(text)
        requests = {
            (dict(labels)["command"], dict(labels)["response"]): int(count)
            for (name, labels), count in samples.items()
            if name == "scoop_requests_total"
        }
        assert requests == {
            ("INDEX", "OK"): 4,
            ("INDEX", "FAIL"): 1,
            ("INDEX", "ERROR"): 1,
            ("REMOVE", "OK"): 1,
            ("REMOVE", "FAIL"): 1,
            ("REMOVE", "ERROR"): 1,
            ("QUERY", "OK"): 3,
            ("QUERY", "FAIL"): 1,
            ("QUERY", "ERROR"): 1,
            ("unknown", "ERROR"): 1,
        }
        received = sum(len(request) + 1 for request in conversation) + 2 * len("QUERY|a|\n")
        assert value(samples, "scoop_received_bytes_total") == received
        assert value(samples, "scoop_commit_duration_seconds_count") == 5
        assert value(samples, "scoop_commit_changes_count") == value(samples, "scoop_commit_changes_sum") == 5
        assert value(samples, "scoop_turn_duration_seconds_count") >= len(conversation)
        assert value(samples, "scoop_packages") == 3
        assert value(samples, "scoop_dependency_edges") == 2
        assert value(samples, "scoop_connections_accepted_total") == 2
        assert value(samples, "scoop_ready") == 1
        snapshot = (tmp_path / "data" / "snapshot-1").stat()
        assert value(samples, "scoop_snapshot_bytes") == snapshot.st_size
        assert value(samples, "scoop_snapshot_timestamp_seconds") == snapshot.st_mtime
        journal = (tmp_path / "data" / "journal-1").read_bytes()
        assert value(samples, "scoop_journal_bytes") == len(journal.rstrip(b"\0")), "without the room set aside"
        assert "secret-name" not in text
        assert labels_of(parsed(text)) <= {
            *("command", "response", "reason", "le", "version"),
            *("python", "implementation", "major", "minor", "patchlevel", "generation"),
        }
    with ServerProcess(*arguments) as server:
        samples = samples_of(get(place_of(server), "/metrics")[1])
        assert (value(samples, "scoop_packages"), value(samples, "scoop_dependency_edges")) == (3, 2)
        assert value(samples, "scoop_recovery_seconds") > 0
