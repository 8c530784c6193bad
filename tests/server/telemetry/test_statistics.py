"""What a run counts."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import Changes, DependencyGraph

from scoop_server.config.limits import Limits
from scoop_server.errors import ReadOnlyError
from scoop_server.telemetry.statistics import (
    BATCH_CHANGES,
    COMMIT_SECONDS,
    TURN_SECONDS,
    Histogram,
    Stage,
    Statistics,
    added_dependencies,
)

from tests.support.event_loop import Loop


def test_a_histogram_counts_what_equals_a_bound_under_it() -> None:
    histogram = Histogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 7.5


def test_bounds_ascend() -> None:
    for bounds in (TURN_SECONDS, COMMIT_SECONDS, BATCH_CHANGES):
        assert list(bounds) == sorted(set(bounds))


def test_a_run_begins_by_loading_and_has_counted_nothing() -> None:
    statistics = Statistics()
    assert statistics.stage is Stage.LOADING
    assert statistics.recovery_seconds is None
    assert not any(count for _, _, count in statistics.tally)
    assert sum(statistics.turn_seconds.counts) == 0


LINES = st.lists(
    st.builds(
        lambda command, package, names: f"{command}|{package}|{','.join(names)}\n",
        st.sampled_from(["INDEX", "INDEX", "INDEX", "REMOVE", "QUERY", "WHAT"]),
        st.sampled_from("abcd"),
        st.lists(st.sampled_from("abcd"), max_size=4),
    ),
    max_size=30,
)


@given(st.lists(LINES, max_size=5))
def test_dependencies_are_counted_change_by_change_as_they_are_all_at_once(batches: list[list[str]]) -> None:
    graph = DependencyGraph()
    total = 0
    for lines in batches:
        changes = Changes()
        graph.apply_lines("".join(lines), changes)
        total += added_dependencies(changes)
        assert total == graph.edge_count()


def test_the_event_loop_counts_dependencies_that_are_kept() -> None:
    with Loop(counts=True) as loop:
        _count_dependencies(loop)


def _count_dependencies(loop: Loop) -> None:
    peer = loop.connect()
    peer.send(b"INDEX|a|\nINDEX|b|a\nINDEX|c|a,b\nREMOVE|b|\n")
    loop.turn()
    assert loop.statistics.dependency_edges == 3

    def fail() -> None:
        raise ReadOnlyError

    loop.store.on_commit = fail
    peer.send(b"REMOVE|c|\n")
    loop.turn()
    assert loop.statistics.dependency_edges == 3


# What the event loop counts of connections


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop(Limits(clients_max=1, idle_seconds_max=60)) as each:
        yield each


def closed(loop: Loop) -> dict[str, int]:
    """Return the connections closed by reason, and have it hold that none is lost or counted twice."""
    statistics = loop.statistics
    still_open = statistics.connections_now + statistics.handshakes_now
    assert statistics.connections_accepted == still_open + sum(statistics.connections_closed.values())
    return {str(reason): count for reason, count in statistics.connections_closed.items()}


def test_a_connection_is_counted_while_it_lasts(loop: Loop) -> None:
    loop.connect()
    assert (loop.statistics.connections_accepted, loop.statistics.connections_now, closed(loop)) == (1, 1, {})


def test_a_connection_that_its_client_ends(loop: Loop) -> None:
    peer = loop.connect()
    peer.socket.close()
    loop.turn(2)
    assert closed(loop) == {"ended": 1}


def test_a_connection_that_breaks(loop: Loop) -> None:
    peer, near = loop.connect_counting()
    near.error = ConnectionResetError()
    peer.send(b"QUERY|a|\n")
    loop.turn()
    assert closed(loop) == {"broken": 1}


def test_a_connection_that_is_one_too_many(loop: Loop) -> None:
    loop.connect()
    loop.connect()
    assert closed(loop) == {"too_many_clients": 1}


def test_a_connection_that_is_idle(loop: Loop) -> None:
    loop.connect()
    loop.pass_time(60)
    assert closed(loop) == {"idle": 1}


def test_a_connection_whose_line_does_not_end(loop: Loop) -> None:
    loop.connect().send(b"QUERY")
    loop.turn()
    loop.pass_time(30)
    assert closed(loop) == {"incomplete_line": 1}


def test_a_connection_whose_change_finds_no_space(loop: Loop) -> None:
    def fail() -> None:
        raise ReadOnlyError

    loop.store.on_commit = fail
    loop.connect().send(b"INDEX|a|\n")
    loop.turn()
    assert closed(loop) == {"out_of_space": 1}


def test_a_connection_that_a_shutdown_ends(loop: Loop) -> None:
    loop.connect()
    loop.signal()
    loop.turn(2)
    assert loop.statistics.stage is Stage.DRAINING
    loop.run_down()
    loop.server.close()
    assert closed(loop) == {"shutdown": 1}
