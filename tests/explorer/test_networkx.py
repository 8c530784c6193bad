"""Answers about random graphs, cycles among them, compared with those of networkx."""

import random
from collections.abc import Iterator

import networkx as nx  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from scoop_core import DependencyGraph, IndexedGraph

from scoop_explorer import questions
from scoop_explorer.answers import Edge

QUESTIONS = 300


def random_graph(chance: random.Random) -> IndexedGraph:
    """Return a graph of up to 40 packages, about half of them in cycles."""
    names = [f"p{number}" for number in range(chance.randrange(2, 41))]
    density = chance.choice([1, 2, 3])
    lists = {
        name: chance.sample(
            names if chance.random() < 0.3 else names[:place], min(place, chance.randrange(density + 1))
        )
        for place, name in enumerate(names)
    }
    return IndexedGraph.from_mapping(lists)


def cases() -> Iterator[tuple[IndexedGraph, nx.DiGraph, random.Random]]:
    for seed in range(QUESTIONS):
        chance = random.Random(seed)
        graph = random_graph(chance)
        other: nx.DiGraph = nx.DiGraph(list(graph.edges()))
        other.add_nodes_from(graph)
        yield graph, other, chance


def test_some_of_the_graphs_have_cycles_and_some_have_none() -> None:
    acyclic = [nx.is_directed_acyclic_graph(other) for _, other, _ in cases()]
    assert 30 < sum(acyclic) < QUESTIONS - 100


def test_what_a_package_reaches() -> None:
    for graph, other, chance in cases():
        name = chance.choice(list(graph))
        reach = questions.reach(graph, name)
        needs, needed_by = nx.descendants(other, name), nx.ancestors(other, name)
        assert (reach.dependencies.total, reach.dependents.total) == (len(needs), len(needed_by))
        assert set(reach.cycle.names) == needs & needed_by


@pytest.mark.parametrize("relation", ["dependencies", "dependents"])
def test_related_packages_and_their_distances(relation: str) -> None:
    for graph, other, chance in cases():
        name = chance.choice(list(graph))
        for asked in (graph, graph.to_graph()):
            found = questions.related(asked, name, relation, "all")
            directed = other if relation == "dependencies" else other.reverse()
            distances = nx.single_source_shortest_path_length(directed, name)
            assert {each: found.distances[each] for each in found.names} == {
                each: distance for each, distance in distances.items() if each != name
            }


def test_a_removal_is_answered_ok_request_by_request_and_ends_with_the_package() -> None:
    for graph, other, chance in cases():
        names = tuple(chance.sample(list(graph), min(len(graph), chance.choice([1, 1, 3]))))
        order = questions.removal_order(graph, names)
        lines = order.lines(0, len(order))
        copy = graph.to_graph()
        assert set(copy.apply_lines("".join(f"{line}\n" for line in lines)).split()) == {"OK"}
        affected = {*names, *(each for name in names for each in nx.ancestors(other, name))}
        assert set(graph) - set(copy) == affected
        assert len(order.removed) == len(affected)
        if len(names) == 1:
            assert lines[-1] == f"REMOVE|{names[0]}|"
        if nx.is_directed_acyclic_graph(other):
            assert not order.released
        for start in range(0, len(lines), 7):
            assert order.lines(start, start + 7) == lines[start : start + 7]


def test_a_package_that_needs_itself_too_is_removed_with_its_cycle() -> None:
    graph = IndexedGraph.from_mapping({"a": ["a", "b"], "b": ["a"]})
    for name, other in (("a", "b"), ("b", "a")):
        order = questions.removal_order(graph, [name])
        assert order.lines(0, 9) == (f"INDEX|{name}|", f"REMOVE|{other}|", f"REMOVE|{name}|")


def test_the_steps_of_a_rebuild_and_its_cycles() -> None:
    for graph, other, chance in cases():
        names = tuple(chance.sample(list(graph), min(len(graph), chance.choice([1, 2]))))
        found = questions.rebuild_steps(graph, names)
        affected = other.subgraph({*names, *(each for name in names for each in nx.ancestors(other, name))})
        components = [frozenset(each) for each in nx.strongly_connected_components(affected)]
        assert {frozenset(each) for each in found.groups} == {each for each in components if len(each) > 1}
        group_of = {name: each for each in components for name in each}
        step_of = {name: number for number, step in enumerate(found.steps) for name in step}
        assert step_of.keys() == set(affected)
        for package, dependency in affected.edges:
            assert group_of[package] == group_of[dependency] or step_of[package] > step_of[dependency]


def test_a_path_is_a_shortest_one_and_its_cuts_cut_every_path() -> None:
    count = 0
    for graph, other, chance in cases():
        start, goal = chance.choice(list(graph)), chance.choice(list(graph))
        found = questions.path(graph, start, goal)
        if start == goal:
            continue
        if found.is_reversed:
            assert not nx.has_path(other, start, goal)
            start, goal = goal, start
        if not found.packages:
            assert not nx.has_path(other, start, goal)
            continue
        assert nx.is_path(other, list(found.packages))
        assert len(found) == nx.shortest_path_length(other, start, goal) + 1
        inner = [
            name for name in found.packages[1:-1] if not nx.has_path(other.subgraph(set(other) - {name}), start, goal)
        ]
        assert list(found.cut_packages) == inner
        edges = []
        for edge in nx.utils.pairwise(found.packages):
            without = other.copy()
            without.remove_edge(*edge)
            if not nx.has_path(without, start, goal):
                edges.append(Edge(*edge))
        assert list(found.cut_edges) == edges
        count += bool(inner)
    assert count > QUESTIONS / 20


def test_a_drawing_has_the_dependencies_between_its_packages() -> None:
    for graph, other, chance in cases():
        name = chance.choice(list(graph))
        drawn = questions.around(graph, [name], ("dependents", "dependencies"))
        names = [node.name for node in drawn.nodes]
        assert names[0] == name
        assert len(set(names)) == len(names) <= questions.GRAPH_NODES
        for node in drawn.nodes:
            assert set(node.needs) == set(other[node.name])
            assert node.dependents == graph.dependent_count(node.name)
        neighbours = {*other.successors(name), *other.predecessors(name)} - {name}
        assert neighbours <= set(names) or len(neighbours) > questions.DRAWN


def test_a_drawing_of_a_package_that_thousands_need_is_small() -> None:
    wide = DependencyGraph.from_mapping(
        {"hub": [], **{f"w{n:04}": ["hub"] for n in range(3_000)}, **{f"x{n:04}": [f"w{n:04}"] for n in range(3_000)}}
    )
    drawn = questions.around(IndexedGraph.from_graph(wide), ["hub"], ("dependents", "dependencies"))
    assert len(drawn.nodes) <= questions.GRAPH_NODES
    assert [node.name[0] for node in drawn.nodes] == ["h"] + ["w"] * questions.DRAWN + ["x"] * questions.DRAWN
    assert len(questions.around(IndexedGraph.from_graph(wide), ["hub"], ["dependents"], 1).nodes) == 40
