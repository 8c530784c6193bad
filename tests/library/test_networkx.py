"""Every algorithm against networkx: on random graphs, the Homebrew list, and large graphs with cycles."""

import itertools
import random
from collections.abc import Callable
from functools import cache

import networkx as nx  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from hypothesis import given

from scoop_core import (
    DependencyGraph,
    IndexedGraph,
    Plan,
    critical_path,
    elementary_cycles,
    feedback_edges,
    transitive_reduction,
)

from tests.support.graph_strategies import graphs
from tests.support.homebrew import packages

pytestmark = pytest.mark.any_python

LARGE = 100_000


@cache
def homebrew() -> DependencyGraph:
    return DependencyGraph.from_mapping(packages())


def with_cycles(count: int) -> DependencyGraph:
    """Return a graph with many cycles, small ones and large ones."""
    chance = random.Random(4_000)
    names = [f"p{number}" for number in range(count)]
    mapping = {
        name: chance.sample(names[max(0, number - 60) : number], min(number, chance.randrange(5)))
        for number, name in enumerate(names)
    }
    for _ in range(count // 10):  # an edge to a later package often closes a cycle
        number = chance.randrange(len(names) - 60)
        mapping[names[number]].append(names[number + chance.randrange(60)])
    return DependencyGraph.from_mapping(mapping)


@cache
def many_cycles() -> DependencyGraph:
    return with_cycles(4_000)


@cache
def large() -> DependencyGraph:
    """Return 100,000 packages that are mostly in order, with components of all sizes."""
    chance = random.Random(LARGE)
    mapping: dict[str, list[str]] = {}
    for number in range(LARGE):
        numbers = {chance.randrange(number) for _ in range(chance.randrange(6))} if number else set()
        mapping[f"p{number}"] = [f"p{each}" for each in numbers]
    for start, size in zip(range(0, LARGE, LARGE // 50), itertools.cycle([1, 2, 3, 10, 100, 600]), strict=False):
        ring = [f"p{number}" for number in range(start, start + size)]
        for name, dependency in zip(ring, [*ring[1:], ring[0]], strict=True):
            mapping[name] = [*{*mapping[name], dependency}]
    return DependencyGraph.from_mapping(mapping)


LARGEST = pytest.param(large, marks=pytest.mark.campaign)
LARGE_GRAPHS = pytest.mark.parametrize("graph_of", [homebrew, many_cycles, LARGEST], ids=lambda each: each.__name__)


@cache
def oracle_of(graph_of: Callable[[], DependencyGraph]) -> "nx.DiGraph":
    return oracle_for(graph_of())


def oracle_for(graph: DependencyGraph) -> "nx.DiGraph":
    """Return the same graph: an edge leads from a package to its dependency."""
    oracle = nx.DiGraph(dict(graph.to_mapping()))
    assert set(oracle) == set(graph)
    return oracle


def check_paths(graph: DependencyGraph, indexed: IndexedGraph, oracle: "nx.DiGraph", sample: list[str]) -> None:
    for target, some in itertools.product(sample[:1], (graph, indexed)):
        paths = some.paths_to(target)
        assert paths.keys() == nx.ancestors(oracle, target) - {target}
        for name, path in list(paths.items())[:50]:
            assert (path[0], path[-1]) == (name, target)
            assert nx.is_path(oracle, path)
            assert len(path) - 1 == nx.shortest_path_length(oracle, name, target)
    for start, goal in itertools.pairwise(sample):
        if not nx.has_path(oracle, start, goal):
            assert list(graph.shortest_paths(start, goal)) == []
            assert graph.cut_packages(start, goal) == ()
            continue
        expected = sorted(map(tuple, itertools.islice(nx.all_shortest_paths(oracle, start, goal), 201)))
        if len(expected) <= 200:
            assert list(graph.shortest_paths(start, goal)) == expected
        dominator_of = nx.immediate_dominators(oracle, start)
        cut, name = list[str](), dominator_of[goal]
        while name not in {start, None}:
            cut.insert(0, name)
            name = dominator_of[name]
        assert list(graph.cut_packages(start, goal)) == cut


def check_queries(graph: DependencyGraph, oracle: "nx.DiGraph", sample: list[str]) -> None:
    indexed = IndexedGraph.from_graph(graph)
    assert set(graph.edges()) == set(oracle.edges)
    for name in sample:
        assert set(graph.dependencies(name)) == set(oracle.successors(name))
        assert set(indexed.dependents(name)) == set(oracle.predecessors(name))
        assert graph.dependency_count(name) == oracle.out_degree(name)
        assert graph.dependent_count(name) == oracle.in_degree(name) - oracle.has_edge(name, name)
        assert set(graph.transitive_dependencies(name)) == nx.descendants(oracle, name) - {name}
        assert set(indexed.transitive_dependents(name)) == nx.ancestors(oracle, name) - {name}
    for name in sample[:5]:
        assert graph.dependents(name) == indexed.dependents(name)
        assert graph.transitive_dependents(name) == indexed.transitive_dependents(name)
    for start, goal in itertools.pairwise(sample):
        for path in (graph.find_path(start, goal), indexed.find_path(start, goal)):
            if path:
                assert nx.is_path(oracle, path)
                assert len(path) - 1 == nx.shortest_path_length(oracle, start, goal)
            else:
                assert not nx.has_path(oracle, start, goal)
    check_paths(graph, indexed, oracle, sample[:6])
    check_plan(graph, oracle, sample[:9])
    part = graph.subgraph(sample)
    assert set(part.edges()) == set(oracle.subgraph(sample).edges)


def check_plan(graph: DependencyGraph, oracle: "nx.DiGraph", sample: list[str]) -> None:
    """Check what follows if a third of ``sample`` is removed, and a third depends on the last third instead."""
    third = len(sample) // 3
    removed, changed, others = set(sample[:third]), sample[third : 2 * third], sample[2 * third :]
    plan = Plan(graph)
    plan.remove(removed)
    after = oracle.copy()
    for name in changed:
        plan.index(name, others)
        after.remove_edges_from(list(after.out_edges(name)))
        after.add_edges_from((name, other) for other in others)
    after.remove_edges_from(list(after.out_edges(removed)))
    missing = set().union(*map(after.predecessors, removed))
    assert {name: set(names) for name, names in plan.missing_dependencies().items()} == {
        name: removed.intersection(after.successors(name)) for name in missing
    }
    broken = missing.union(*(nx.ancestors(after, name) for name in missing))
    assert set(plan.broken()) == broken
    assert set(plan.rebuilt()) == set(changed).union(*(nx.ancestors(after, name) for name in changed)) - broken
    former = set().union(*(nx.descendants(oracle, name) for name in (*removed, *changed))) - removed - set(changed)
    outside = set(graph) - removed - former
    assert set(plan.orphans()) == former.difference(*nx.bfs_layers(after, list(outside)))


def check_components(graph: DependencyGraph, oracle: "nx.DiGraph", condensed: "nx.DiGraph") -> None:
    components = dict(condensed.nodes(data="members"))
    found = graph.strongly_connected_components()
    assert sorted(found) == sorted(tuple(sorted(group)) for group in components.values())
    loops = {(name,) for name in nx.nodes_with_selfloops(oracle)}
    assert graph.cyclic_components() == tuple(sorted(group for group in found if len(group) > 1 or group in loops))
    generations = [
        sorted(name for component in generation for name in components[component])
        for generation in nx.topological_generations(condensed.reverse(copy=False))
    ]
    assert [list(layer) for layer in graph.layers()] == generations
    layers = graph.component_layers()
    assert [sorted(itertools.chain(*layer)) for layer in layers] == generations
    assert sorted(itertools.chain(*layers)) == sorted(found)
    component_of = condensed.graph["mapping"]
    for order in (graph.topological_order(), tuple(itertools.chain(*found))):
        place = {name: number for number, name in enumerate(order)}
        for name, dependency in oracle.edges:
            assert place[dependency] < place[name] or component_of[name] == component_of[dependency]


def check_analysis(graph: DependencyGraph, oracle: "nx.DiGraph", condensed: "nx.DiGraph") -> None:
    """Check the analysis; ``condensed`` gets weights."""
    removed = feedback_edges(graph)
    gone = set(removed)
    assert nx.is_directed_acyclic_graph(nx.DiGraph([edge for edge in oracle.edges if edge not in gone]))
    assert (not removed) == nx.is_directed_acyclic_graph(oracle)

    durations = {name: number % 7 for number, name in enumerate(graph)}
    for component, members in condensed.nodes(data="members"):
        for source, _ in condensed.in_edges(component):
            condensed.edges[source, component]["weight"] = sum(durations[name] for name in members)
    roots = [component for component in condensed if not condensed.in_degree(component)]
    totals = {root: sum(durations[name] for name in condensed.nodes[root]["members"]) for root in roots}
    condensed.add_weighted_edges_from(("root", root, total) for root, total in totals.items())
    path = critical_path(graph, durations)
    assert path.duration == sum(durations[name] for name in path.packages)
    assert path.duration == (nx.dag_longest_path_length(condensed) if roots else 0)


def check_reduction(graph: DependencyGraph, oracle: "nx.DiGraph") -> None:
    condensed = nx.condensation(oracle)
    number_of = condensed.graph["mapping"]
    reduced = transitive_reduction(graph)
    between = [(number_of[a], number_of[b]) for a, b in reduced.edges() if number_of[a] != number_of[b]]
    assert sorted(between) == sorted(nx.transitive_reduction(condensed).edges)
    within = [(a, b) for a, b in graph.edges() if number_of[a] == number_of[b]]
    assert set(within) <= set(reduced.edges()) <= set(graph.edges())


def from_first_name(cycle: list[str]) -> tuple[str, ...]:
    start = cycle.index(min(cycle))
    return tuple(cycle[start:] + cycle[:start])


@given(graphs())
def test_on_random_graphs(graph: DependencyGraph) -> None:
    oracle = oracle_for(graph)
    check_queries(graph, oracle, list(graph))
    condensed = nx.condensation(oracle)
    check_components(graph, oracle, condensed)
    check_analysis(graph, oracle, condensed)
    check_reduction(graph, oracle)
    cycles = [
        tuple(cycle[cycle.index(min(cycle)) :] + cycle[: cycle.index(min(cycle))]) for cycle in nx.simple_cycles(oracle)
    ]
    assert sorted(elementary_cycles(graph)) == sorted(cycles)


@LARGE_GRAPHS
def test_queries_on_large_graphs(graph_of: Callable[[], DependencyGraph]) -> None:
    graph = graph_of()
    check_queries(graph, oracle_of(graph_of), random.Random(1).sample(sorted(graph), 20))


@LARGE_GRAPHS
def test_components_layers_and_analysis_of_large_graphs(graph_of: Callable[[], DependencyGraph]) -> None:
    oracle = oracle_of(graph_of)
    condensed = nx.condensation(oracle)
    check_components(graph_of(), oracle, condensed)
    check_analysis(graph_of(), oracle, condensed)


@pytest.mark.parametrize(
    "graph_of", [homebrew, pytest.param(many_cycles, marks=pytest.mark.campaign)], ids=lambda each: each.__name__
)
def test_the_transitive_reduction_of_large_graphs(graph_of: Callable[[], DependencyGraph]) -> None:
    check_reduction(graph_of(), oracle_of(graph_of))


@pytest.mark.parametrize(
    ("graph_of", "largest"), [(many_cycles, 50), pytest.param(large, 500, marks=pytest.mark.campaign)]
)
def test_the_large_graphs_have_cycles_of_all_sizes(graph_of: Callable[[], DependencyGraph], largest: int) -> None:
    sizes = sorted(map(len, graph_of().cyclic_components()))
    assert len(sizes) > 10
    assert sizes[0] == 1
    assert sizes[-1] > largest


@pytest.mark.parametrize("graph_of", [homebrew, many_cycles], ids=lambda each: each.__name__)
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
        assert all(graph.apply(request) for request in requests)
        assert graph == end
        assert len(requests) < 2 * len(target)
