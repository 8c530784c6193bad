"""Slow commits: their log lines while they last, and their figures."""

import logging
import os
from pathlib import Path

import pytest

from scoop_server.telemetry.logs import REPEAT_SECONDS
from scoop_server.telemetry.stalls import CommitWatch

from tests.support.event_loop import Clock
from tests.support.process import ServerProcess
from tests.support.slow_disk import hanging_disk


class Watched:
    """A watch whose commits a test times."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = CommitWatch(self.clock)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.watch.look()

    def commit(self, seconds: float) -> None:
        with self.watch:
            self.clock.now += seconds


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.INFO, logger="scoop_server")
    return Watched()


def test_a_stall_is_logged_after_1_s_and_10_s_and_each_minute_while_it_lasts_and_at_its_end(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    with watched.watch:
        for seconds in (0.9, 0.2, 0.5, 8.0, 0.5, 5.0):
            watched.pass_time(seconds)
        assert [(record.levelname, record.message) for record in caplog.records] == [
            ("WARNING", "the disk has not responded for 1.1 s, and all clients wait"),
            ("ERROR", "the disk has not responded for 10.1 s, and all clients wait"),
        ]
        for seconds in (50.0, 50.0, 10.0):
            watched.pass_time(seconds)
    watched.watch.look()
    assert caplog.messages[2:] == [
        "the disk has not responded for 65.1 s, and all clients wait",
        "the disk has not responded for 125.1 s, and all clients wait",
        "the disk responded after 125.1 s",
    ]


def test_repeated_stalls_share_lines(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(8):
        watched.commit(1.5)
        watched.watch.look()
    assert caplog.messages == [
        "the disk responded after 1.5 s",
        "the disk responded after 1.5 s (and 6 more like it in the last 10 s)",
    ]
    watched.pass_time(REPEAT_SECONDS)
    assert len(caplog.messages) == 2


def test_fast_commits_are_not_logged(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        watched.commit(0.5)
        watched.pass_time(1)
    assert not caplog.messages


def test_slow_time_includes_the_commit_in_progress_and_no_fast_ones(watched: Watched) -> None:
    watched.commit(0.05)
    watched.commit(4.0)
    assert watched.watch.slow_seconds == pytest.approx(4)
    with watched.watch:
        watched.pass_time(2)
        assert watched.watch.slow_seconds == pytest.approx(6)
    assert watched.watch.slow_seconds == pytest.approx(6)


def test_the_longest_commit_is_that_of_the_last_minute(watched: Watched) -> None:
    assert watched.watch.longest_seconds == 0
    watched.commit(4.0)
    assert watched.watch.longest_seconds == pytest.approx(4)
    for _ in range(59):
        watched.commit(0.01)
        watched.pass_time(1)
    assert watched.watch.longest_seconds == pytest.approx(4)
    for _ in range(15):
        watched.commit(0.01)
        watched.pass_time(1)
    assert watched.watch.longest_seconds == pytest.approx(0.01)
    with watched.watch:
        watched.pass_time(30)
        assert watched.watch.longest_seconds == pytest.approx(30)


def test_a_long_commit_is_forgotten_although_no_other_follows(watched: Watched) -> None:
    watched.commit(4.0)
    watched.pass_time(71)
    assert watched.watch.longest_seconds == 0


def test_a_server_logs_that_its_disk_does_not_respond(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    arguments = ("--data-dir", str(tmp_path / "data"))
    with ServerProcess(*arguments, command=hanging_disk(fifo)) as server, server.connect() as client:
        os.mkfifo(fifo)
        client.send(b"INDEX|a|\n")
        server.wait_for_log(r"WARNING the disk has not responded for \d+\.\d s, and all clients wait")
        with fifo.open("wb"):
            fifo.unlink()
        assert client.read_answers(1) == ["OK"]
        server.wait_for_log(r"WARNING the disk responded after \d+\.\d s")
