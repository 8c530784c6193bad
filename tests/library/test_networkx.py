"""The graph's queries against networkx, on random graphs, the Homebrew list and a large random graph with cycles."""

import itertools
import random
from collections.abc import Callable
from functools import cache

import networkx as nx  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from hypothesis import given

from scoop_core import DependencyGraph, Response

from tests.support.graph_strategies import graphs
from tests.support.homebrew import packages


@cache
def homebrew() -> DependencyGraph:
    return DependencyGraph.from_mapping(packages())


@cache
def large_with_cycles() -> DependencyGraph:
    """Return 4,000 packages with many cycles, small ones and large ones."""
    chance = random.Random(4_000)
    names = [f"p{number}" for number in range(4_000)]
    mapping = {
        name: chance.sample(names[max(0, number - 60) : number], min(number, chance.randrange(5)))
        for number, name in enumerate(names)
    }
    for _ in range(400):  # an edge to a later package often closes a cycle
        number = chance.randrange(len(names) - 60)
        mapping[names[number]].append(names[number + chance.randrange(60)])
    return DependencyGraph.from_mapping(mapping)


LARGE_GRAPHS = pytest.mark.parametrize("graph_of", [homebrew, large_with_cycles], ids=lambda each: each.__name__)


def oracle_of(graph: DependencyGraph) -> "nx.DiGraph":
    """Return the same graph: an edge leads from a package to its dependency."""
    oracle = nx.DiGraph(dict(graph.to_mapping()))
    assert set(oracle) == set(graph)
    return oracle


def assert_agrees(graph: DependencyGraph, oracle: "nx.DiGraph", sample: list[str]) -> None:
    for name in sample:
        assert set(graph.dependencies(name)) == set(oracle.successors(name))
        assert set(graph.dependents(name)) == set(oracle.predecessors(name))
        assert set(graph.transitive_dependencies(name)) == nx.descendants(oracle, name) - {name}
        assert set(graph.transitive_dependents(name)) == nx.ancestors(oracle, name) - {name}
    for start, goal in itertools.pairwise(sample):
        path = graph.find_path(start, goal)
        if path:
            assert nx.is_path(oracle, path)
            assert len(path) - 1 == nx.shortest_path_length(oracle, start, goal)
        else:
            assert not nx.has_path(oracle, start, goal)
    components = [set(group) for group in nx.strongly_connected_components(oracle)]
    cyclic = sorted(tuple(sorted(group)) for group in components if len(group) > 1)
    assert [group for group in graph.cyclic_components() if len(group) > 1] == cyclic
    assert {group[0] for group in graph.cyclic_components() if len(group) == 1} == {
        name for name in nx.nodes_with_selfloops(oracle) if {name} in components
    }
    assert_layers_agree(graph, oracle, components)


def assert_layers_agree(graph: DependencyGraph, oracle: "nx.DiGraph", components: list[set[str]]) -> None:
    condensed = nx.condensation(oracle, components).reverse()
    generations = [
        sorted(name for component in generation for name in components[component])
        for generation in nx.topological_generations(condensed)
    ]
    assert [list(layer) for layer in graph.layers()] == generations
    place = {name: number for number, name in enumerate(graph.topological_order())}
    component_of = {name: number for number, group in enumerate(components) for name in group}
    for name, dependency in oracle.edges:
        assert place[dependency] < place[name] or component_of[name] == component_of[dependency]


@given(graphs())
def test_on_random_graphs(graph: DependencyGraph) -> None:
    assert_agrees(graph, oracle_of(graph), list(graph))


@LARGE_GRAPHS
def test_on_large_graphs(graph_of: Callable[[], DependencyGraph]) -> None:
    graph = graph_of()
    assert_agrees(graph, oracle_of(graph), random.Random(1).sample(sorted(graph), 50))


def test_the_large_graph_is_what_it_is_made_for() -> None:
    sizes = sorted(map(len, large_with_cycles().cyclic_components()))
    assert len(sizes) > 10
    assert sizes[0] == 1
    assert sizes[-1] > 50


@LARGE_GRAPHS
def test_a_diff_leads_from_one_large_graph_to_another(graph_of: Callable[[], DependencyGraph]) -> None:
    chance = random.Random(2)
    target = graph_of()
    mapping = {name: list(names) for name, names in target.to_mapping().items()}
    for name in chance.sample(sorted(mapping), len(mapping) // 3):
        del mapping[name]
    for name, names in mapping.items():
        mapping[name] = [each for each in names if each in mapping and chance.random() < 0.9]
    for name in chance.sample(sorted(mapping), len(mapping) // 5):
        mapping[name] = chance.sample(sorted(mapping), 3)
    for start, end in ((mapping, target), (target.to_mapping(), DependencyGraph.from_mapping(mapping))):
        graph = DependencyGraph.from_mapping(start)
        requests = graph.diff(end)
        assert all(graph.apply(request) is Response.OK for request in requests)
        assert graph == end
        assert len(requests) < 2 * len(target)
