"""A short soak run passes on a correct server and fails on one with a planted fault."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.crash.load_client import NotAsPromisedError
from tests.soak import run
from tests.soak.soak import Record, Sample, Soak
from tests.soak.visits import VISITS
from tests.support import unsound_server

pytestmark = pytest.mark.any_python

SECONDS = 4.0


@pytest.mark.campaign
def test_a_correct_server_passes(tmp_path: Path) -> None:
    # Other tests run at the same time, and in a few seconds their load is not evenly distributed.
    limits = ("--latency-growth-ms", "5000")
    assert run.main(["--seconds", str(SECONDS), "--out", str(tmp_path / "out"), *limits]) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["samples"]
    assert record["visits"].keys() == {visit.__name__ for visit, _ in VISITS}
    ET.parse(tmp_path / "out" / "record.svg")


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("leak-descriptors", "descriptors are open"),
        ("leak-memory", "memory has grown"),
        ("leak-threads", "threads have grown"),
        ("slow-down", r"a response took [\d.]+ ms early, and [\d.]+ ms late"),
        ("miscount", "expected 'scoop_connections 1.0'"),
        ("answer-wrongly-at-times", "a visit failed|the probe ended"),
        ("forget", "was found|after a restart differ"),
    ],
)
def test_a_fault_that_shows_over_time_is_found(tmp_path: Path, fault: str, message: str) -> None:
    with pytest.raises(NotAsPromisedError, match=message):
        Soak(tmp_path, 1, command=unsound_server.command(fault)).run(SECONDS)


@pytest.mark.parametrize(
    ("early_ms", "late_ms", "is_flat"),
    [(2.0, 2.0, True), (10.0, 1.0, True), (0.1, 49.0, True), (10.0, 79.0, True), (10.0, 81.0, False)],
)
def test_answers_may_become_somewhat_slower(early_ms: float, late_ms: float, *, is_flat: bool) -> None:
    record = Record()
    for second in range(100):
        p50_ms = early_ms if second < 50 else late_ms
        record.samples.append(Sample(second, 1_000_000, 10, 2, 50, p50_ms, p50_ms))
    if is_flat:
        record.check()
    else:
        with pytest.raises(NotAsPromisedError, match=r"a response took 10\.0 ms early, and 81\.0 ms late"):
            record.check()


def test_a_busy_machine_may_take_few_samples() -> None:
    for count in range(1, 9):
        Record([Sample(1.0 + number, 1_000_000, 10, 2, 50, 1.0, 1.0) for number in range(count)]).check()
