"""The metrics, as Prometheus parses them."""

import os
import platform
import time
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from scoop_server import __version__, form
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.statistics import CloseReason, Stage, Statistics

from tests.support.admin import get, place_of
from tests.support.metrics import Certificates, complete_run, parsed, scraped
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
def health() -> Health:
    return Health(Statistics())


def test_a_value_that_is_not_known_yet_is_left_out(health: Health, tmp_path: Path) -> None:
    loading = names(samples_of(scraped(health)))
    with complete_run(tmp_path) as (known, _):
        complete = names(samples_of(scraped(known)))
    single = """
        last_reload_success certificate_expiry_timestamp_seconds connections_max slow_commit_seconds_total
        commit_longest_seconds packages dependency_edges recovery_seconds journal_bytes compaction_backlog_ratio
        commit_delay_seconds snapshot_bytes snapshot_timestamp_seconds compaction_threshold_bytes
        forbidden_requests_total
    """
    assert complete - loading == {f"scoop_{name}" for name in single.split()}
    assert {"process_resident_memory_bytes", "python_info"} <= loading


def test_every_combination_of_labels_is_zero_from_the_start(health: Health) -> None:
    samples = samples_of(scraped(health))
    for reason in CloseReason:
        assert value(samples, "scoop_connections_closed_total", reason=reason.value) == 0
    for command in ("INDEX", "REMOVE", "QUERY"):
        for response in ("OK", "FAIL", "ERROR"):
            assert value(samples, "scoop_requests_total", command=command, response=response) == 0
    assert value(samples, "scoop_requests_total", command="unknown", response="ERROR") == 0


def test_values_are_those_of_the_run(tmp_path: Path) -> None:
    with complete_run(tmp_path) as (health, store):
        statistics = health.statistics
        statistics.stage = Stage.SERVING
        DependencyGraph().apply_lines("INDEX|a|\n" * 7, tally=statistics.tally)
        statistics.connections_closed[CloseReason.IDLE] = 3
        statistics.connections_now, statistics.connections_accepted, statistics.handshakes_now = 2, 5, 1
        statistics.bytes_received, statistics.bytes_sent, statistics.dependency_edges = 2**60, 17, 7
        store.commit_delay = 0.25
        os.utime(tmp_path / "snapshot-1", (1_000_000.5, 1_000_000.5))
        samples = samples_of(scraped(health))
        expected = {
            "scoop_ready": 1,
            "scoop_read_only": 0,
            "scoop_connections": 2,
            "scoop_connections_max": 1_000,
            "scoop_handshakes": 1,
            "scoop_connections_accepted_total": 5,
            "scoop_received_bytes_total": 2**60,
            "scoop_sent_bytes_total": 17,
            "scoop_last_reload_success": 1,
            "scoop_certificate_expiry_timestamp_seconds": Certificates.expires_at,
            "scoop_log_lines_dropped_total": 0,
            "scoop_journal_bytes": store.journal_bytes,
            "scoop_compaction_backlog_ratio": store.backlog_ratio,
            "scoop_commit_delay_seconds": 0.25,
            "scoop_snapshot_bytes": os.path.getsize(tmp_path / "snapshot-1"),
            "scoop_snapshot_timestamp_seconds": 1_000_000.5,
            "scoop_compaction_threshold_bytes": 64,
            "scoop_packages": 0,
            "scoop_dependency_edges": 7,
        }
    assert {name: value(samples, name) for name in expected} == expected
    assert value(samples, "scoop_build_info", version=__version__, form=form(), python=platform.python_version()) == 1
    assert value(samples, "scoop_requests_total", command="INDEX", response="OK") == 7
    assert value(samples, "scoop_connections_closed_total", reason="idle") == 3


def test_a_run_that_refuses_changes_is_read_only_and_not_ready(tmp_path: Path) -> None:
    with complete_run(tmp_path) as (health, store):
        health.statistics.stage = Stage.SERVING
        store.read_only_reason = "the disk is full"
        samples = samples_of(scraped(health))
    assert (value(samples, "scoop_ready"), value(samples, "scoop_read_only")) == (0, 1)


def test_a_snapshot_that_was_just_replaced_is_left_out(tmp_path: Path) -> None:
    with complete_run(tmp_path) as (health, _):
        os.unlink(tmp_path / "snapshot-1")
        assert "scoop_snapshot_bytes" not in names(samples_of(scraped(health)))


def test_a_histogram_is_cumulative(health: Health) -> None:
    for changes in (1, 2, 2, 30_000):
        health.statistics.commit_changes.observe(changes)
    samples = samples_of(scraped(health))
    buckets = {
        float(dict(labels)["le"]): count
        for (name, labels), count in samples.items()
        if name == "scoop_commit_changes_bucket"
    }
    assert (buckets[1.0], buckets[2.0], buckets[20_000.0], buckets[float("inf")]) == (1, 3, 3, 4)
    assert (value(samples, "scoop_commit_changes_count"), value(samples, "scoop_commit_changes_sum")) == (4, 30_005)


def test_counters_end_in_total(tmp_path: Path) -> None:
    with complete_run(tmp_path) as (health, _):
        families = parsed(scraped(health))
    for family in families:
        if family.type == "counter" and family.name.startswith("scoop_"):
            assert {sample.name for sample in family.samples} == {f"{family.name}_total"}


# A server process


def settled(place: str, sent_bytes: int) -> str:
    """Return the metrics once ``sent_bytes`` are counted, which happens after the client has its response."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        text = get(place, "/metrics")[1]
        if value(samples_of(text), "scoop_sent_bytes_total") == sent_bytes:
            return text
        assert time.monotonic() < deadline, text


def test_a_server_counts_the_requests_of_its_clients(tmp_path: Path) -> None:
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
    with ServerProcess(*arguments) as server:
        samples = samples_of(get(place_of(server), "/metrics")[1])
        assert (value(samples, "scoop_packages"), value(samples, "scoop_dependency_edges")) == (3, 2)
        assert value(samples, "scoop_recovery_seconds") > 0
