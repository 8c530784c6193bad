"""The scheduler: compared with graphlib on constant graphs, and on graphs that change."""

import graphlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph, IndexedGraph, Scheduler, UnknownPackage

from tests.support.graph_strategies import NAMES, Edges, edges, graphs


def run(scheduler: Scheduler) -> list[tuple[str, ...]]:
    """Return what becomes ready in each step, if every package that is ready is done at once."""
    steps = []
    while scheduler.is_active():
        steps.append(scheduler.get_ready())
        assert steps[-1], "nothing is ready, and nothing is running"
        scheduler.done(*steps[-1])
    return steps


@given(edges(acyclic=True), st.data())
def test_it_hands_out_the_same_packages_as_graphlib(edges: Edges, data: st.DataObject) -> None:
    oracle = graphlib.TopologicalSorter(edges)
    oracle.prepare()
    scheduler, running = Scheduler(IndexedGraph.from_mapping(edges)), list[str]()
    while oracle.is_active():
        ready = scheduler.get_ready()
        assert ready == tuple(sorted(oracle.get_ready()))
        running += ready
        finished = running.pop(data.draw(st.integers(0, len(running) - 1)))
        scheduler.done(finished)
        oracle.done(finished)
        assert scheduler.is_active() == oracle.is_active()
    assert not scheduler.is_active()


@given(graphs())
def test_it_hands_out_the_layers_of_a_graph_with_cycles(graph: DependencyGraph) -> None:
    steps = run(Scheduler(IndexedGraph.from_graph(graph)))
    assert sorted(name for step in steps for name in step) == sorted(graph)
    components = {name: group for group in graph.strongly_connected_components() for name in group}
    handed_out: set[str] = set()
    for step in steps:
        for name in step:
            assert set(graph.dependencies(name)) - set(components[name]) <= handed_out
            assert set(components[name]) <= set(step)
        handed_out.update(step)


def test_only_the_chosen_packages_are_scheduled_and_all_others_count_as_done() -> None:
    graph = IndexedGraph.from_mapping({"a": ["b"], "b": ["c"], "c": ["d"], "d": []})
    scheduler = Scheduler(graph, ["a", "c"])
    graph.index("e")
    assert run(scheduler) == [("a", "c")]
    assert run(Scheduler(graph, ["a", "b"])) == [("b",), ("a",)]
    with pytest.raises(UnknownPackage):
        Scheduler(graph, ["missing"])


def test_a_string_is_not_a_list_of_packages() -> None:
    with pytest.raises(TypeError, match="got the string 'gmp'"):
        Scheduler(IndexedGraph(), "gmp")


def test_only_packages_that_were_handed_out_can_be_done() -> None:
    scheduler = Scheduler(IndexedGraph.from_mapping({"a": ["b"], "b": []}))
    for wrong in ("a", "b", "missing"):
        with pytest.raises(ValueError, match=f"cannot mark '{wrong}' as done: it has not been handed out"):
            scheduler.done(wrong)
    scheduler.done(*scheduler.get_ready() * 2)  # a package counts once
    with pytest.raises(ValueError, match="cannot mark 'b' as done"):
        scheduler.done("b")


class TestLiveGraph:
    def test_a_new_package_is_scheduled(self) -> None:
        graph = IndexedGraph.from_mapping({"a": []})
        scheduler = Scheduler(graph)
        assert scheduler.get_ready() == ("a",)
        graph.apply_lines("INDEX|b|a\nINDEX|c|\n")
        assert scheduler.get_ready() == ("c",)
        scheduler.done("a", "c")
        assert scheduler.get_ready() == ("b",)

    def test_a_package_waits_for_the_dependencies_that_it_has_now(self) -> None:
        graph = IndexedGraph.from_mapping({"a": ["b"], "b": [], "c": []})
        scheduler = Scheduler(graph)
        scheduler.get_ready()
        graph.index("a", ["b", "c"])
        scheduler.done("b")
        assert scheduler.get_ready() == ()
        graph.index("a", ["b"])
        assert scheduler.get_ready() == ("a",)

    def test_a_package_that_is_ready_waits_if_it_gets_a_dependency_before_it_is_handed_out(self) -> None:
        graph = IndexedGraph.from_mapping({"a": [], "b": []})
        scheduler = Scheduler(graph)
        graph.index("a", ["b"])
        assert run(scheduler) == [("b",), ("a",)]

    def test_a_removed_package_is_no_longer_scheduled(self) -> None:
        graph = IndexedGraph.from_mapping({"a": ["b"], "b": [], "c": []})
        scheduler = Scheduler(graph)
        assert scheduler.get_ready() == ("b", "c")
        graph.remove("a")
        graph.remove("b")
        graph.remove("c")
        scheduler.done("b", "c")
        assert not scheduler.is_active()
        for _ in range(2):
            graph.index("b")
            assert run(scheduler) == [("b",)]
            graph.remove("b")

    def test_a_package_that_was_handed_out_is_not_handed_out_again(self) -> None:
        graph = IndexedGraph.from_mapping({"a": [], "b": []})
        scheduler = Scheduler(graph)
        scheduler.get_ready()
        scheduler.done("a")
        graph.apply_lines("INDEX|a|b\nINDEX|b|a\n")
        assert scheduler.get_ready() == ()
        scheduler.done("b")
        assert not scheduler.is_active()

    def test_a_closed_scheduler_no_longer_follows_the_graph(self) -> None:
        graph = IndexedGraph()
        with Scheduler(graph) as scheduler:
            pass
        graph.index("a")
        assert not scheduler.is_active()

    @given(edges(), st.lists(st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3))))
    def test_every_package_is_handed_out_once_whatever_changes(
        self, edges: Edges, changes: list[tuple[str, list[str]]]
    ) -> None:
        graph = IndexedGraph.from_mapping(edges)
        scheduler, handed_out = Scheduler(graph), list[str]()
        for package, names in changes:
            ready = scheduler.get_ready()
            handed_out += ready
            graph.index(package, names)
            scheduler.done(*ready)
        handed_out += [name for step in run(scheduler) for name in step]
        assert sorted(handed_out) == sorted(graph)
