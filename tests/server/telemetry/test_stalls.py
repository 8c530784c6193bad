"""Slow commits: their log lines while they last, and their figures."""

import logging

import pytest

from scoop_core import Changes

from scoop_server.errors import ReadOnlyError
from scoop_server.telemetry.logs import REPEAT_SECONDS
from scoop_server.telemetry.stalls import CommitWatch, WatchedStore

from tests.support.event_loop import Clock


class Watched:
    """A watch whose commits a test times."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = CommitWatch(self.clock)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.watch.look()

    def commit(self, seconds: float) -> None:
        self.watch.started()
        self.clock.now += seconds
        self.watch.ended()


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.INFO, logger="scoop_server")
    return Watched()


def test_a_stall_is_logged_after_1_s_and_after_10_s_while_it_lasts_and_at_its_end(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.watch.started()
    for seconds in (0.9, 0.2, 0.5, 8.0, 0.5, 5.0):
        watched.pass_time(seconds)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "a commit has been waiting for the disk for 1.1 s, and all clients with it"),
        ("ERROR", "a commit has been waiting for the disk for 10.1 s, and all clients with it"),
    ]
    watched.pass_time(1_036)
    watched.watch.ended()
    watched.watch.look()
    assert caplog.messages[2:] == ["a commit took 1051.1 s"]


def test_repeated_stalls_share_lines(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(8):
        watched.commit(1.5)
        watched.watch.look()
    assert caplog.messages == [
        "a commit took 1.5 s",
        "a commit took 1.5 s (and 6 more like it in the last 10 s)",
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
    watched.watch.started()
    watched.pass_time(2)
    assert watched.watch.slow_seconds == pytest.approx(6)
    watched.watch.ended()
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
    watched.watch.started()
    watched.pass_time(30)
    assert watched.watch.longest_seconds == pytest.approx(30)


def test_a_commit_that_fails_ends(watched: Watched) -> None:
    class FullStore:
        def commit(self, changes: Changes) -> None:
            del changes
            watched.clock.now += 2
            raise ReadOnlyError

    with pytest.raises(ReadOnlyError):
        WatchedStore(FullStore(), watched.watch).commit(Changes())
    watched.pass_time(100)
    assert watched.watch.slow_seconds == pytest.approx(2)
