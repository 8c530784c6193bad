"""Cycles in detail, the transitive reduction and the critical path: by example, and on random graphs by definition."""

import itertools
import math
import random
from collections.abc import Iterator
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import (
    CriticalPath,
    DependencyGraph,
    IndexedGraph,
    UnknownPackage,
    critical_path,
    elementary_cycles,
    feedback_edges,
    transitive_reduction,
)

from tests.support.graph_strategies import NAMES, Edges, closure, edges, graph_of, graphs


def without(graph: DependencyGraph, removed: tuple[tuple[str, str], ...]) -> DependencyGraph:
    """Return the graph without some of its edges."""
    return DependencyGraph.from_mapping(
        {name: [each for each in names if (name, each) not in removed] for name, names in graph.to_mapping().items()}
    )


def edges_of(graph: DependencyGraph) -> Edges:
    return {name: frozenset(names) for name, names in graph.to_mapping().items()}


def dense_graphs() -> Iterator[DependencyGraph]:
    """Yield graphs of six packages with many cycles; a few graphs of a random search have as many."""
    chance = random.Random(6)
    for count in range(6, 21):
        for _ in range(12):
            chosen = chance.sample(list(itertools.permutations(NAMES[:6], 2)), count)
            yield DependencyGraph.from_mapping({name: [b for a, b in chosen if a == name] for name in NAMES[:6]})


def cycles_of(graph: DependencyGraph) -> list[tuple[str, ...]]:
    """Return each elementary cycle, from its first name, by trying all paths."""

    def cycles_from(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name in graph.dependencies(path[-1]):
            if name == path[0]:
                yield path
            elif name > path[0] and name not in path:
                yield from cycles_from((*path, name))

    return sorted(cycle for name in graph for cycle in cycles_from((name,)))


def test_a_duration_of_an_unknown_package_is_an_error() -> None:
    with pytest.raises(UnknownPackage, match="package 'gpm' is not indexed"):
        critical_path(DependencyGraph.from_mapping({"gmp": []}), {"gpm": 5.0})


def greedy_feedback(graph: DependencyGraph) -> tuple[tuple[str, str], ...]:
    """Return the edges that lead backward in the greedy order of a strongly connected graph and could not stay."""
    remaining, first, last = set(graph), list[str](), list[str]()
    while remaining:
        part = graph.subgraph(remaining)

        def rank(name: str, part: DependencyGraph = part) -> tuple[bool, int, str]:
            outs, ins = part.dependency_count(name), part.dependent_count(name)
            return (True, ins - outs, name) if outs and ins else (False, 0, name)

        chosen = min(remaining, key=rank)
        (first if part.dependency_count(chosen) else last).append(chosen)
        remaining.remove(chosen)
    order = [*first, *reversed(last)]
    removed = tuple(sorted((a, b) for a, b in graph.edges() if order.index(b) < order.index(a)))
    for edge in removed:
        fewer = tuple(each for each in removed if each != edge)
        if not without(graph, fewer).cyclic_components():
            removed = fewer
    return removed


class TestCycles:
    def test_each_cycle_is_found_once_and_begins_with_its_first_name(self) -> None:
        graph = graph_of("d:a a:bc b:ab c:db e:ae f:g g:f")
        assert sorted(elementary_cycles(graph)) == [
            ("a", "b"),
            ("a", "c", "b"),
            ("a", "c", "d"),
            ("b",),
            ("e",),
            ("f", "g"),
        ]

    @given(graphs())
    def test_all_cycles_are_found(self, graph: DependencyGraph) -> None:
        assert sorted(elementary_cycles(graph)) == cycles_of(graph)

    def test_all_cycles_of_dense_graphs_are_found(self) -> None:
        for graph in dense_graphs():
            assert sorted(elementary_cycles(graph)) == cycles_of(graph)

    def test_a_package_that_was_blocked_is_searched_again_once_a_cycle_through_it_is_possible(self) -> None:
        graph = graph_of("a:b b:cd c:d d:ce e:a")
        assert sorted(map("".join, elementary_cycles(graph))) == ["abcde", "abde", "cd"]

    def test_cycles_are_yielded_one_by_one_even_if_there_are_too_many_to_list(self) -> None:
        names = [f"p{number:02}" for number in range(40)]
        graph = DependencyGraph.from_mapping({name: [each for each in names if each != name] for name in names})
        some = list(itertools.islice(elementary_cycles(graph), 1_000))
        assert len(set(some)) == 1_000
        assert len(feedback_edges(graph)) == math.comb(40, 2)

    @given(graphs())
    def test_without_the_feedback_edges_there_is_no_cycle_and_none_of_them_could_stay(
        self, graph: DependencyGraph
    ) -> None:
        removed = feedback_edges(graph)
        assert set(removed) <= set(graph.edges())
        assert without(graph, removed).cyclic_components() == ()
        for edge in removed:
            others = tuple(each for each in removed if each != edge)
            assert without(graph, others).cyclic_components() != ()

    def test_the_feedback_edges_are_those_of_the_greedy_order(self) -> None:
        components = [graph for graph in dense_graphs() if len(graph.strongly_connected_components()) == 1]
        assert len(components) > 50
        for graph in components:
            assert feedback_edges(graph) == greedy_feedback(graph)

    def test_an_edge_of_the_greedy_order_that_could_stay_does(self) -> None:
        assert feedback_edges(graph_of("a:ad b:ad c:bd d:ca")) == (("a", "a"), ("d", "a"), ("d", "c"))

    def test_a_ring_is_broken_by_one_edge(self) -> None:
        names = [f"p{number}" for number in range(1_000)]
        ring = DependencyGraph.from_mapping(dict(zip(names, [[each] for each in [*names[1:], names[0]]], strict=True)))
        assert len(feedback_edges(ring)) == 1
        assert len(list(elementary_cycles(ring))) == 1

    def test_a_large_component_is_broken_without_a_search_for_edges_that_could_stay(self) -> None:
        chance, names = random.Random(5), [f"p{number}" for number in range(4_000)]
        graph = DependencyGraph.from_mapping({name: chance.sample(names, 4) for name in names})
        assert len(graph.cyclic_components()[0]) > 3_000
        removed = feedback_edges(graph)
        assert len(removed) < graph.edge_count() / 2
        assert without(graph, removed).cyclic_components() == ()


class TestTransitiveReduction:
    @given(graphs())
    def test_it_keeps_reachability_and_drops_every_redundant_edge(self, graph: DependencyGraph) -> None:
        reduced = transitive_reduction(graph)
        before, after = edges_of(graph), edges_of(reduced)
        assert {name: closure(before, name) for name in before} == {name: closure(after, name) for name in after}
        assert set(reduced.edges()) <= set(graph.edges())
        components = {name: group for group in graph.strongly_connected_components() for name in group}
        for edge in reduced.edges():
            if components[edge[0]] != components[edge[1]]:
                less = edges_of(without(reduced, (edge,)))
                assert edge[1] not in closure(less, edge[0])

    def test_a_dependency_that_follows_from_others_is_dropped(self) -> None:
        reduced = transitive_reduction(graph_of("a:bcde b:d c:d d: e:"))
        assert reduced.to_mapping() == graph_of("a:bce b:d c:d d: e:").to_mapping()

    def test_it_is_a_graph_of_the_same_kind(self) -> None:
        graph = IndexedGraph.from_graph(graph_of("a:cb b:c c:", reject_cycles=True))
        reduced = transitive_reduction(graph)
        assert type(reduced) is IndexedGraph
        assert reduced.reject_cycles
        assert reduced.dependents("c") == ("b",)


class TestCriticalPath:
    @pytest.mark.parametrize(
        ("text", "durations", "packages"),
        [
            ("", {}, ""),
            ("a:", {"a": 2}, "a"),
            ("a:bc b:d c:d d:", {"a": 1, "b": 3, "c": 2, "d": 1}, "dba"),
            ("a:b b:ac c: d:a", {"a": 1, "b": 2, "c": 1, "d": 1}, "cabd"),
            ("a:b b:", {"b": 7}, "b"),
        ],
    )
    def test_the_longest_chain_is_found(self, text: str, durations: dict[str, float], packages: str) -> None:
        path = critical_path(graph_of(text), durations)
        assert path == CriticalPath(tuple(packages), sum(durations[name] for name in packages))

    @given(edges(acyclic=True), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9)), st.integers(0, 3))
    def test_no_chain_has_a_longer_duration(self, edges: Edges, durations: dict[str, float], default: int) -> None:
        graph = DependencyGraph.from_mapping(edges)
        durations = {name: duration for name, duration in durations.items() if name in graph}
        path = critical_path(graph, durations, default=default)
        assert path.duration == sum(durations.get(name, default) for name in path.packages)
        assert all(name in edges[other] for name, other in itertools.pairwise(path.packages))
        finish: dict[str, float] = {}
        for name in graph.topological_order():
            before = reduce(max, (finish[each] for each in edges[name]), 0.0)
            finish[name] = durations.get(name, default) + before
        assert path.duration == max(finish.values(), default=0)

    def test_a_negative_duration_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="expected durations of at least 0, got -1"):
            critical_path(graph_of("a:"), {"a": -1})
