"""The counters of a run."""

from hypothesis import given
from hypothesis import strategies as st

from scoop_core import Changes, DependencyGraph

from scoop_server.errors import ReadOnlyError
from scoop_server.telemetry.statistics import BATCH_CHANGES, DURATION_SECONDS, added_dependencies

from tests.support.event_loop import Loop


def test_bounds_ascend() -> None:
    for bounds in (DURATION_SECONDS, BATCH_CHANGES):
        assert list(bounds) == sorted(set(bounds))


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
