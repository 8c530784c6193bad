"""The counters of a run."""

from hypothesis import given
from hypothesis import strategies as st

from scoop_core import Changes, DependencyGraph

from scoop_server.errors import ReadOnlyError
from scoop_server.telemetry.figures import Histogram
from scoop_server.telemetry.statistics import BATCH_CHANGES, DURATION_SECONDS, Stage, Statistics, added_dependencies

from tests.support.event_loop import Loop


def test_a_value_equal_to_a_bound_is_counted_under_it() -> None:
    histogram = Histogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 7.5


def test_bounds_ascend() -> None:
    for bounds in (DURATION_SECONDS, BATCH_CHANGES):
        assert list(bounds) == sorted(set(bounds))


def test_a_run_starts_in_the_stage_loading_with_all_counters_zero() -> None:
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


def test_the_event_loop_counts_the_dependencies_of_committed_changes() -> None:
    def refuse() -> None:
        raise ReadOnlyError

    with Loop(counts=True) as loop:
        peer = loop.connect()
        assert loop.exchange(peer, b"INDEX|a|\nINDEX|b|a\nINDEX|c|a,b\nREMOVE|b|\n") == b"OK\nOK\nOK\nFAIL\n"
        assert loop.statistics.dependency_edges == 3
        loop.store.on_commit = refuse
        peer.send(b"REMOVE|c|\n")
        loop.turn()
        assert loop.statistics.dependency_edges == 3
