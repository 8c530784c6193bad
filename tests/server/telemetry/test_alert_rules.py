"""The alert rules under Prometheus: each fires for the series that it is about, and stays quiet for healthy ones.

promtool evaluates them; a campaign runs a server with a slow disk under a real Prometheus.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.support.admin import get, place_of
from tests.support.process import WAIT_SECONDS, ServerProcess, free_port
from tests.support.prometheus import ALERTS, INHIBITION, rules
from tests.support.slow_disk import slow_disk

pytestmark = pytest.mark.any_python

TARGET: Final = 'job="scoop", team="a", instance="a:1"'
"""The labels of a target: those of Prometheus, and one of its configuration, by which alerts are routed."""


class Case(NamedTuple):
    """Values once a minute of the series of an alert, in the notation of promtool: ``0+5x10`` is 0, 5, 10 ... 50."""

    alert: str
    minutes: int
    """The time at which it fires."""
    series: dict[str, tuple[str, str]]
    """For each series, the values for which it fires and those for which it stays quiet; none if it is empty."""


CASES: Final = [
    Case("ScoopDown", 5, {"up": ("1 1 0x10", "1x20")}),
    Case("ScoopAbsent", 6, {"up": ("", "1x20")}),
    Case("ScoopFlapping", 12, {"up": ("0 0 1 0 0 1 0 0 1 0 0 1 0 0 1", "1 1 1 0 1x20")}),
    Case("ScoopRestarting", 10, {"process_start_time_seconds": ("1 1 1 2 2 2 3 3 3 4x20", "1 1 1 2x20")}),
    Case("ScoopReadOnly", 5, {"scoop_read_only": ("0 1x10", "0x20")}),
    Case("ScoopNotReady", 10, {"scoop_ready": ("0x20", "0x20"), "scoop_read_only": ("0x20", "1x20")}),
    Case("ScoopDiskStalled", 3, {"scoop_commit_longest_seconds": ("0.005 4x10", "0.5x20")}),
    Case("ScoopSlowCommits", 15, {"scoop_slow_commit_seconds_total": ("0+17x30", "0+2x30")}),
    Case(
        "ScoopSlowTurns",
        20,
        {
            'scoop_turn_duration_seconds_bucket{le="0.5"}': ("0+90x30", "0+100x30"),
            'scoop_turn_duration_seconds_bucket{le="1.0"}': ("0+100x30", ""),
            'scoop_turn_duration_seconds_bucket{le="+Inf"}': ("0+100x30", "0+100x30"),
        },
    ),
    Case(
        "ScoopCompactionBehind",
        40,
        {"scoop_journal_bytes": ("3000x60", "1500x60"), "scoop_compaction_threshold_bytes": ("1000x60", "1000x60")},
    ),
    Case("ScoopWritersSlowed", 15, {"scoop_commit_delay_seconds": ("0.05x30", "0 0.1 0x30")}),
    Case(
        "ScoopSnapshotOld",
        40,
        {
            "scoop_snapshot_timestamp_seconds": ("-2600000x60", "-2600000x60"),
            "scoop_commit_changes_sum": ("0+1x60", "5x60"),
        },
    ),
    Case("ScoopClientsRefused", 20, {'scoop_connections_closed_total{reason="too_many_clients"}': ("0+3x60", "3x60")}),
    Case(
        "ScoopConnectionsNearLimit",
        10,
        {"scoop_connections": ("950x20", "900x20"), "scoop_connections_max": ("1000x20", "1000x20")},
    ),
    Case("ScoopHandshakeFailures", 20, {'scoop_connections_closed_total{reason="handshake"}': ("0+120x60", "0+10x60")}),
    Case("ScoopCertificateExpires", 5, {"scoop_certificate_expiry_timestamp_seconds": ("1000000x10", "2000000x10")}),
    Case("ScoopCertificateExpired", 5, {"scoop_certificate_expiry_timestamp_seconds": ("80000x10", "1000000x10")}),
    Case("ScoopReloadFailed", 5, {"scoop_last_reload_success": ("1 0x10", "1x10")}),
    Case("ScoopReplicaLags", 5, {"scoop_replication_lag_seconds": ("0 8x10", "0x20")}),
    Case("ScoopEtcdUnavailable", 10, {'scoop_etcd_failures_total{code="unavailable"}': ("0+60x20", "0 0 5x20")}),
    Case("ScoopEtcdNoSpace", 6, {'scoop_etcd_failures_total{code="no_space"}': ("0 0 3+10x20", "3x20")}),
    Case("ScoopAnswersTimeOut", 14, {"scoop_replication_timeouts_total": ("0+60x20", "0 0 5x20")}),
    Case("ScoopNoCompactor", 10, {"scoop_compactor": ("0x20", "1x20")}),
    Case(
        "ScoopNodesDiverge",
        10,
        {
            "scoop_replication_digest": ("5x20", "5x20"),
            'scoop_replication_digest{instance="b:1"}': ("6x20", "6x20"),
            "scoop_applied_revision": ("9x20", "9x20"),
            'scoop_applied_revision{instance="b:1"}': ("9x20", "8x20"),
        },
    ),
    Case(
        "ScoopManyProtocolErrors",
        20,
        {'scoop_requests_total{command="unknown", response="ERROR"}': ("0+120x60", "0+10x60")},
    ),
    Case(
        "ScoopManyRefusals",
        60,
        {
            'scoop_requests_total{command="INDEX", response="FAIL"}': ("0+60x90", "0+40x90"),
            'scoop_requests_total{command="INDEX", response="OK"}': ("0+40x90", "0+60x90"),
        },
    ),
    Case("ScoopLogLinesDropped", 5, {"scoop_log_lines_dropped_total": ("0 5x30", "5x30")}),
]


def promtool(*arguments: str) -> str:
    """Run promtool; return its output, and fail the test if it fails."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; Debian's package prometheus has it")
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_promtool_accepts_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(ALERTS))


def test_every_alert_has_a_case() -> None:
    assert [case.alert for case in CASES] == [rule["alert"] for rule in rules()]


def selector(name: str) -> str:
    """Return the series ``name`` with the labels of the target, or with its own instance."""
    metric, brace, labels = name.partition("{")
    target = TARGET.rpartition(",")[0] if "instance=" in labels else TARGET
    return f"{metric}{{{target}, {labels}" if brace else f"{metric}{{{TARGET}}}"


def rule_test(case: Case, *, fires: bool) -> dict[str, object]:
    """Return promtool's test that the alert of ``case`` fires or not."""
    series = {name: firing if fires else quiet for name, (firing, quiet) in case.series.items()}
    labels = 'team="a"' if any(firing for firing, _ in case.series.values()) else ""  # none if there is no target
    return {
        "name": f"{case.alert} {'fires' if fires else 'stays quiet'}",
        "interval": "1m",
        "input_series": [{"series": selector(name), "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{case.alert}", alertstate="firing", {labels}}}) or vector(0)',
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


def test_alerts_fire_for_the_series_they_are_about_and_for_no_others(tmp_path: Path) -> None:
    tests = [rule_test(case, fires=fires) for fires in (True, False) for case in CASES]
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(file))


class Outage(NamedTuple):
    """Something that makes several alerts fire, of which one is enough to call a person."""

    series: dict[str, str]
    minutes: int
    alerts: set[str]
    """All that fire."""
    notified: set[str]
    """Those that the inhibition rules leave."""


OUTAGES: Final = [
    Outage({"up": "1 1 0 1 0 0x20"}, 8, {"ScoopDown", "ScoopFlapping"}, {"ScoopDown"}),
    Outage({"up": "1x10 0x5 1x20"}, 19, set(), set()),  # a single outage is not announced again after its end
    Outage(
        {"up": "1x10", "scoop_certificate_expiry_timestamp_seconds": "80000x10"},
        5,
        {"ScoopCertificateExpires", "ScoopCertificateExpired"},
        {"ScoopCertificateExpired"},
    ),
    Outage(
        {
            "up": "1x20",
            'scoop_etcd_failures_total{code="unavailable"}': "0+60x20",
            "scoop_replication_timeouts_total": "0+60x20",
            "scoop_replication_lag_seconds": "0 8x20",
            "scoop_compactor": "0x20",
        },
        15,
        {"ScoopEtcdUnavailable", "ScoopAnswersTimeOut", "ScoopReplicaLags", "ScoopNoCompactor"},
        {"ScoopEtcdUnavailable"},
    ),
]


def test_the_alerts_of_an_outage_fire(tmp_path: Path) -> None:
    tests = [
        {
            "name": f"{sorted(outage.alerts)} and no others",
            "interval": "1m",
            "input_series": [{"series": selector(name), "values": values} for name, values in outage.series.items()],
            "promql_expr_test": [
                {
                    "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{outage.minutes}m",
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in outage.alerts],
                }
            ],
        }
        for outage in OUTAGES
    ]
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(file))


def request_json(place: str, path: str, body: object = None) -> Any:
    """Request a path of an HTTP API, with a body by POST, and return the decoded response."""
    with closing(HTTPConnection(place, timeout=WAIT_SECONDS)) as connection:
        sent = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, sent, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read() or "null")


@contextmanager
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Give HOST:PORT of an Alertmanager with the inhibition rules, once it answers."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("alertmanager is not installed; Debian's package prometheus-alertmanager has it")
    place = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={INHIBITION}", f"--storage.path={tmp_path}", f"--web.listen-address={place}"]
    with subprocess.Popen([*command, "--cluster.listen-address="], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "Listening on" not in (line := process.stderr.readline()):
                assert line, "alertmanager has ended"
            yield place
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_SECONDS)


def test_one_alert_of_each_outage_is_notified(tmp_path: Path) -> None:
    expected = {
        (name, str(number)): "active" if name in outage.notified else "suppressed"
        for number, outage in enumerate(OUTAGES)
        for name in outage.alerts
    }
    expected["ScoopFlapping", "another target"] = "active"
    labels = [{"alertname": name, "job": "scoop", "instance": instance} for name, instance in expected]
    with alertmanager(tmp_path) as place:
        request_json(place, "/api/v2/alerts", [{"labels": each} for each in labels])
        deadline = time.monotonic() + WAIT_SECONDS
        # An alert may be active until those that inhibit it have taken effect. Alertmanager offers no event for that.
        while expected != (
            states := {
                (alert["labels"]["alertname"], alert["labels"]["instance"]): alert["status"]["state"]
                for alert in request_json(place, "/api/v2/alerts")
            }
        ):
            assert time.monotonic() < deadline, states
            time.sleep(0.05)


@contextmanager
def prometheus(tmp_path: Path, target: str) -> Iterator[str]:
    """Give HOST:PORT of a Prometheus that scrapes ``target`` and evaluates the rules each second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed; Debian's package prometheus has it")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "scoop", "static_configs": [{"targets": [target]}]}],
    }
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(config))
    place = f"127.0.0.1:{free_port()}"
    with subprocess.Popen(
        [
            program,
            f"--config.file={file}",
            f"--storage.tsdb.path={tmp_path / 'prometheus'}",
            f"--web.listen-address={place}",
        ],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield place
        finally:
            process.terminate()


def states(place: str) -> dict[str, str]:
    """Return the state of each alert that is pending or firing; none while Prometheus starts."""
    try:
        _, body = get(place, "/api/v1/alerts")
    except OSError:
        return {}
    if not body.startswith("{"):
        return {}
    return {alert["labels"]["alertname"]: alert["state"] for alert in json.loads(body)["data"]["alerts"]}


@pytest.mark.campaign
def test_a_slow_disk_fires_under_a_real_prometheus(tmp_path: Path) -> None:
    arguments = ("--data-dir", str(tmp_path / "data"), "--admin", "127.0.0.1:0")
    with (
        ServerProcess(*arguments, command=slow_disk(2.0)) as server,
        prometheus(tmp_path, place_of(server)) as place,
        server.connect() as client,
    ):
        expected = {"ScoopDiskStalled": "firing", "ScoopSlowCommits": "pending"}
        deadline = time.monotonic() + WAIT_SECONDS
        number = 0
        while not expected.items() <= (seen := states(place)).items():
            assert time.monotonic() < deadline, seen
            number += 1
            assert client.ask(f"INDEX|{number}|") == ["OK"]
