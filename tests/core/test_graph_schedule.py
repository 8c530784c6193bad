"""The scheduler: compared with graphlib on constant graphs, and on graphs that change."""

import graphlib
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph, IndexedGraph, Scheduler, UnknownPackage, encode_request

from tests.support.graph_strategies import NAMES, Edges, edges, graphs, requests


def run(scheduler: Scheduler) -> list[tuple[str, ...]]:
    """Return what becomes ready in each step, if every package that is ready is done at once."""
    steps = []
    while scheduler.is_active():
        steps.append(scheduler.get_ready())
        assert steps[-1], "nothing is ready, and nothing is running"
        scheduler.done(steps[-1])
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
def test_in_rounds_it_hands_out_the_layers(graph: DependencyGraph) -> None:
    assert run(Scheduler(IndexedGraph.from_graph(graph))) == list(graph.layers())


def test_the_packages_of_a_cycle_are_a_unit_that_starts_as_soon_as_it_can() -> None:
    graph = IndexedGraph.from_mapping(
        {"gcc": ["glibc", "make"], "glibc": ["gcc"], "make": [], "slow": [], "vim": ["glibc"]}
    )
    scheduler = Scheduler(graph)
    assert scheduler.get_ready_components() == (("make",), ("slow",))
    scheduler.done("make")
    assert scheduler.get_ready_components() == (("gcc", "glibc"),)  # while slow is running
    scheduler.done("glibc")
    assert scheduler.get_ready() == ()  # what vim needs needs gcc
    scheduler.done("gcc")
    assert scheduler.get_ready_components() == (("vim",),)


class NaiveScheduler:
    """The same by definition: nothing is kept but what has been handed out, and what is finished."""

    def __init__(self, graph: DependencyGraph) -> None:
        self.graph = graph
        self.running: list[tuple[set[str], set[str]]] = []  # the members of each unit, and those that are not done
        self.finished: set[str] = set()

    def get_ready_components(self) -> tuple[tuple[str, ...], ...]:
        self.finished &= set(self.graph)
        begun = self.finished.union(*(members for members, _ in self.running))
        waiting = self.graph.subgraph(set(self.graph) - begun)
        ready = [
            group
            for group in waiting.strongly_connected_components()
            if all(set(self.graph.dependencies(name)) <= self.finished.union(group) for name in group)
        ]
        self.running += [(set(group), set(group)) for group in ready]
        return tuple(sorted(ready))

    def done(self, package: str) -> None:
        for unit in self.running:
            unit[1].discard(package)
        for members, _ in [unit for unit in self.running if not unit[1]]:
            self.finished |= members & set(self.graph)
        self.running = [unit for unit in self.running if unit[1]]


def test_only_the_chosen_packages_are_scheduled_and_all_others_count_as_done() -> None:
    graph = IndexedGraph.from_mapping({"a": ["b"], "b": ["c"], "c": ["d"], "d": []})
    scheduler = Scheduler(graph, ["a", "c"])
    graph.index("e")
    assert run(scheduler) == [("a", "c")]
    assert run(Scheduler(graph, ["a", "b"])) == [("b",), ("a",)]
    with pytest.raises(UnknownPackage):
        Scheduler(graph, ["missing"])


def test_a_graph_without_a_reverse_index_is_rejected() -> None:
    with pytest.raises(TypeError, match=r"expected an IndexedGraph, got a DependencyGraph; IndexedGraph.from_graph"):
        Scheduler(cast("IndexedGraph", DependencyGraph()))


def test_packages_are_one_name_or_any_iterable() -> None:
    graph = IndexedGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    for packages in ("gmp", ["gmp"], iter(["gmp", "gmp"])):
        scheduler = Scheduler(graph, packages)
        scheduler.done(iter(scheduler.get_ready()))
        assert not scheduler.is_active()


def test_only_packages_that_were_handed_out_can_be_done() -> None:
    scheduler = Scheduler(IndexedGraph.from_mapping({"a": ["b"], "b": []}))
    for wrong in ("a", "b", "missing"):
        with pytest.raises(ValueError, match=f"cannot mark '{wrong}' as done: it has not been handed out"):
            scheduler.done(wrong)
    scheduler.done(scheduler.get_ready() * 2)  # a package counts once
    with pytest.raises(ValueError, match="cannot mark 'b' as done"):
        scheduler.done("b")


class TestLiveGraph:
    def test_a_new_package_is_scheduled(self) -> None:
        graph = IndexedGraph.from_mapping({"a": []})
        scheduler = Scheduler(graph)
        assert scheduler.get_ready() == ("a",)
        graph.apply_lines("INDEX|b|a\nINDEX|c|\n")
        assert scheduler.get_ready() == ("c",)
        scheduler.done(["a", "c"])
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
        scheduler.done(["b", "c"])
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

    @given(edges(), st.data())
    def test_it_does_what_the_definition_says_whatever_changes(self, edges: Edges, data: st.DataObject) -> None:
        graph = IndexedGraph.from_mapping(edges)
        scheduler, naive, handed_out = Scheduler(graph), NaiveScheduler(graph), set[str]()
        for _ in range(data.draw(st.integers(1, 12))):
            match data.draw(st.sampled_from(["ready", "done", "index", "remove", "both"])):
                case "ready":
                    ready = scheduler.get_ready_components()
                    assert ready == naive.get_ready_components()
                    handed_out.update(*ready)
                case "done" if handed_out:
                    package = data.draw(st.sampled_from(sorted(handed_out)))
                    handed_out.remove(package)
                    scheduler.done(package)
                    naive.done(package)
                case "index":
                    names = st.sampled_from(NAMES)
                    graph.index(data.draw(names), data.draw(st.lists(names, max_size=3)))
                case "remove":
                    package = data.draw(st.sampled_from(NAMES))
                    if package not in handed_out:
                        graph.remove(package)
                        naive.finished &= set(graph)
                case "both":  # several changes at once, which may remove a package and index it again
                    begun = naive.finished.union(*(members for members, _ in naive.running))
                    lines = data.draw(st.lists(requests(), max_size=4))
                    graph.apply_lines("".join(encode_request(each) for each in lines if each.package not in begun))
            assert scheduler.is_active() == bool(set(graph) - naive.finished)
