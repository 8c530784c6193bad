"""The queries of a graph: each by example, and by a property against its definition."""

import copy
import itertools
import pickle
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scoop_core import (
    BlockedByDependents,
    BlockedSet,
    ClosesCycle,
    Command,
    DependencyGraph,
    IndexedGraph,
    InvalidName,
    MissingDependencies,
    NotIndexed,
    PackageName,
    Request,
    RequestRefused,
    Response,
    ScoopError,
    UnknownPackage,
    parse_request,
)

from tests.support.graph_strategies import NAMES, Edges, closure, edges, graph_of, graphs, requests


def letters(names: tuple[str, ...]) -> str:
    return "".join(names)


class NamedGraph(DependencyGraph):
    """A subclass whose ``__init__`` needs an argument, with an attribute in a slot and one in its ``__dict__``."""

    __slots__ = ("__dict__", "name")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.note = f"seen {name}"

    @classmethod
    def empty(cls, *, reject_cycles: bool = False) -> "NamedGraph":
        graph = cls("unnamed")
        graph.reject_cycles = reject_cycles
        return graph


TOOLCHAIN = "a:bc b:d c:d d: e:"  # a diamond, and one that has nothing to do with it
RING = "a:b b:c c:ad d: e:a"  # a cycle of three, one below it and one above
LOOP = "a:ab b: c:a"  # a package that depends on itself


class TestNeighbours:
    def test_a_name_within_a_name_is_no_dependent(self) -> None:
        graph = DependencyGraph.from_mapping({"gcc": ["libgmp", "gmp++"], "libgmp": [], "gmp++": [], "gmp": []})
        assert graph.dependents("gmp") == ()
        graph.index("isl", ["gmp"])
        assert graph.dependents("gmp") == ("isl",)

    @given(edges())
    def test_both_directions_agree_with_the_edges(self, edges: Edges) -> None:
        graph = DependencyGraph.from_mapping(edges)
        turned = {name: {other for other in edges if name in edges[other]} for name in edges}
        for name in edges:
            assert set(graph.dependencies(name)) == edges[name]
            assert graph.dependents(name) == tuple(sorted(turned[name]))
        assert {name: frozenset(names) for name, names in graph.to_mapping().items()} == edges
        assert graph.dependents_by_package() == {name: tuple(sorted(names)) for name, names in turned.items()}

    def test_the_mappings_are_copies_that_cannot_be_changed(self) -> None:
        graph = graph_of("a:b b:")
        before = (graph.to_mapping(), graph.dependents_by_package())
        graph.index("c", ["a"])
        for mapping in before:
            assert set(mapping) == {"a", "b"}
            with pytest.raises(TypeError):
                mapping["a"] = ()  # type: ignore[index]  # that it cannot be set is what this shows


class TestClosures:
    @pytest.mark.parametrize(
        ("text", "package", "dependencies", "dependents"),
        [
            (TOOLCHAIN, "a", "dbc", ""),
            (TOOLCHAIN, "d", "", "bca"),
            (RING, "e", "dcba", ""),
            (RING, "a", "dcb", "cbe"),
            (RING, "d", "", "cbae"),
            (LOOP, "a", "b", "c"),
            ("a:a", "a", "", ""),
        ],
    )
    def test_closures_are_in_an_order_of_installation_or_of_rebuilding(
        self, text: str, package: str, dependencies: str, dependents: str
    ) -> None:
        graph = graph_of(text)
        assert letters(graph.transitive_dependencies(package)) == dependencies
        assert letters(graph.transitive_dependents(package)) == dependents

    @given(graphs(acyclic=True), st.data())
    def test_both_orders_are_answered_ok_by_a_graph(self, graph: DependencyGraph, data: st.DataObject) -> None:
        assume(len(graph))
        package = data.draw(st.sampled_from(sorted(graph)))
        fresh = DependencyGraph()
        for name in (*graph.transitive_dependencies(package), package):
            assert fresh.index(name, graph.dependencies(name)) is Response.OK
        for name in (*reversed(graph.transitive_dependents(package)), package):
            assert graph.remove(name) is Response.OK

    @pytest.mark.parametrize("graph_class", [DependencyGraph, IndexedGraph])
    @given(edges(), st.sampled_from(NAMES), st.sampled_from(NAMES))
    def test_find_path_returns_a_shortest_path(
        self, graph_class: type[DependencyGraph], edges: Edges, start: str, goal: str
    ) -> None:
        assume({start, goal} <= edges.keys())
        path = graph_class.from_mapping(edges).find_path(start, goal)
        if goal not in closure(edges, start):
            assert path == ()
            return
        assert (path[0], path[-1]) == (start, goal)
        assert all(following in edges[name] for name, following in itertools.pairwise(path))
        assert len(path) - 1 == distance(edges, start, goal)

    def test_the_first_of_several_shortest_paths_by_name_is_returned(self) -> None:
        assert letters(graph_of("a:cb b:d c:d d:").find_path("a", "d")) == "abd"


class TestPaths:
    @given(graphs(), st.booleans())
    def test_paths_to_a_package_are_those_of_find_path(self, graph: DependencyGraph, has_index: bool) -> None:
        graph = IndexedGraph.from_graph(graph) if has_index else graph
        for goal in graph:
            paths = graph.paths_to(goal)
            assert list(map(len, paths.values())) == sorted(map(len, paths.values()))
            for name in graph:
                known = paths.get(name, ())
                assert len(known) == (len(graph.find_path(name, goal)) if name != goal else 0)
                assert known == () or (known[0], known[-1]) == (name, goal)
                assert all(b in graph.dependencies(a) for a, b in itertools.pairwise(known))

    @given(graphs())
    def test_shortest_paths_are_all_paths_of_that_length(self, graph: DependencyGraph) -> None:
        for start, goal in itertools.product(graph, repeat=2):
            length = len(graph.find_path(start, goal))
            paths: list[tuple[str, ...]] = [(start,)] if length else []
            for _ in range(length - 1):
                paths = [(*path, name) for path in paths for name in sorted(graph.dependencies(path[-1]))]
            assert list(graph.shortest_paths(start, goal)) == [path for path in paths if path[-1] == goal]

    @given(graphs())
    def test_without_a_cut_package_there_is_no_path(self, graph: DependencyGraph) -> None:
        for start, goal in itertools.product(graph, repeat=2):
            path = graph.find_path(start, goal)
            expected = [
                name
                for name in path
                if name not in {start, goal} and not graph.subgraph(set(graph) - {name}).find_path(start, goal)
            ]
            assert list(graph.cut_packages(start, goal)) == expected

    @pytest.mark.parametrize("ask", ["shortest_paths", "cut_packages"])
    def test_both_ends_must_be_indexed(self, ask: str) -> None:
        for ends in (("a", "x"), ("x", "a")):
            with pytest.raises(UnknownPackage):
                getattr(graph_of("a:"), ask)(*ends)


class TestOrders:
    @given(graphs(), st.data())
    def test_components_are_units_of_the_layers(self, graph: DependencyGraph, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(sorted(graph)))) if graph else []
        for packages in (None, some):
            layers = graph.component_layers(packages)
            names = [tuple(sorted(itertools.chain(*layer))) for layer in layers]
            assert names == list(graph.layers(packages))
            part = graph if packages is None else graph.subgraph(packages)
            assert tuple(itertools.chain(*layers)) == part.strongly_connected_components()

    @pytest.mark.parametrize(
        ("text", "expected"), [("", ""), (TOOLCHAIN, "debca"), (RING, "dabce"), (LOOP, "bac"), ("c: b: a:", "abc")]
    )
    def test_topological_order(self, text: str, expected: str) -> None:
        assert letters(graph_of(text).topological_order()) == expected

    @given(edges())
    def test_strongly_connected_components_are_all_groups_dependencies_first(self, edges: Edges) -> None:
        components = DependencyGraph.from_mapping(edges).strongly_connected_components()
        groups = {tuple(sorted({name, *(o for o in edges if are_on_one_cycle(edges, name, o))})) for name in edges}
        assert set(components) == groups
        assert_respects_edges(tuple(itertools.chain(*components)), edges)

    @given(edges())
    def test_the_order_respects_every_edge_that_is_not_on_a_cycle(self, edges: Edges) -> None:
        order = DependencyGraph.from_mapping(edges).topological_order()
        assert sorted(order) == sorted(edges)
        assert_respects_edges(order, edges)

    @given(edges())
    def test_edges_lead_to_earlier_layers_and_no_package_could_be_in_an_earlier_one(self, edges: Edges) -> None:
        layers = DependencyGraph.from_mapping(edges).layers()
        layer_of = {name: number for number, layer in enumerate(layers) for name in layer}
        assert sorted(itertools.chain(*layers)) == sorted(edges)
        assert all(layer == tuple(sorted(layer)) for layer in layers)
        for name in edges:
            group = {name, *(other for other in edges if are_on_one_cycle(edges, name, other))}
            below = set().union(*(edges[member] for member in group)) - group
            assert layer_of[name] == max((layer_of[other] for other in below), default=-1) + 1

    @given(edges())
    def test_cycles_are_the_packages_that_reach_each_other(self, edges: Edges) -> None:
        groups = {
            tuple(sorted(other for other in edges if are_on_one_cycle(edges, name, other)))
            for name in edges
            if name in closure(edges, name)
        }
        assert DependencyGraph.from_mapping(edges).cyclic_components() == tuple(sorted(groups))

    @given(edges())
    def test_equal_graphs_answer_equally(self, edges: Edges) -> None:
        shuffled = dict(sorted(edges.items(), reverse=True))
        one, other = (
            DependencyGraph.from_mapping({name: sorted(names, reverse=turn) for name, names in each.items()})
            for each, turn in ((edges, False), (shuffled, True))
        )
        assert one == other
        for query in WHOLE_GRAPH_QUERIES:
            assert query(one) == query(other)
        for name in edges:
            for ask in (
                DependencyGraph.transitive_dependencies,
                DependencyGraph.transitive_dependents,
                DependencyGraph.dependents,
            ):
                assert ask(one, name) == ask(other, name)


WHOLE_GRAPH_QUERIES: list[Callable[[DependencyGraph], object]] = [
    DependencyGraph.topological_order,
    DependencyGraph.layers,
    DependencyGraph.cyclic_components,
    DependencyGraph.strongly_connected_components,
    DependencyGraph.to_requests,
    DependencyGraph.dependents_by_package,
]


class TestExplanations:
    @pytest.mark.parametrize(
        ("line", "refusal", "text"),
        [
            ("INDEX|x|a,y,z,y", MissingDependencies("x", ("y", "z")), "cannot index x: y, z are not indexed"),
            ("INDEX|x|x", MissingDependencies("x", ("x",)), "cannot index x: x is not indexed"),
            ("REMOVE|a|", BlockedByDependents("a", ("c", "e")), "cannot remove a: 2 packages depend on it: c, e"),
            ("REMOVE|d|", BlockedByDependents("d", ("c",)), "cannot remove d: 1 package depends on it: c"),
            ("QUERY|x|", NotIndexed("x"), "x is not indexed"),
            ("INDEX|d|b", ClosesCycle("d", tuple("dbcd")), "cannot index d: it would close the cycle d -> b -> c -> d"),
            ("INDEX|d|d", ClosesCycle("d", tuple("dd")), "cannot index d: it would close the cycle d -> d"),
        ],
    )
    def test_a_refusal_has_the_names_as_attributes_and_in_its_text(self, line: str, refusal: object, text: str) -> None:
        graph = graph_of(RING)
        graph.reject_cycles = True
        assert graph.explain(parse_request(line)) == refusal
        assert str(refusal) == text
        assert graph.apply(parse_request(line)) is Response.FAIL

    def test_a_text_names_five_packages_and_counts_the_others(self) -> None:
        five, six = tuple("abcde"), tuple("abcdef")
        assert str(BlockedByDependents("x", five)) == "cannot remove x: 5 packages depend on it: a, b, c, d, e"
        assert str(MissingDependencies("x", six)) == "cannot index x: a, b, c, d, e and 1 more are not indexed"

    @given(graphs(), requests(), st.booleans())
    def test_there_is_an_explanation_if_and_only_if_the_answer_is_fail(
        self, graph: DependencyGraph, request: Request, reject_cycles: bool
    ) -> None:
        graph.reject_cycles = reject_cycles
        before = graph.copy()
        refusal = graph.explain(request)
        assert graph == before
        assert graph.apply(request) is (Response.OK if refusal is None else Response.FAIL)

    @given(graphs(), requests())
    def test_the_parts_of_an_explanation(self, graph: DependencyGraph, request: Request) -> None:
        package, names = request.package, request.dependencies
        assert graph.missing_dependencies(package, names) == tuple(name for name in names if name not in graph)
        blockers = graph.blocking_dependents(package) if package in graph else ()
        assert blockers == tuple(
            sorted(name for name in graph if name != package and package in graph.dependencies(name))
        )
        cycle = graph.find_closed_cycle(package, names)
        if cycle:
            assert cycle[0] == cycle[-1] == package
            assert cycle[1] in set(names)
            assert all(following in graph.dependencies(name) for name, following in itertools.pairwise(cycle[1:]))

    def test_find_closed_cycle_returns_a_shortest_new_cycle(self) -> None:
        graph = graph_of("a:b b:c c: d:ac")
        assert letters(graph.find_closed_cycle("c", ["d", "a", "b"])) == "cbc"
        assert letters(graph.find_closed_cycle("c", ["d", "c"])) == "cc"
        graph.index("c", ["b"])
        assert graph.find_closed_cycle("c", ["b"]) == ()
        assert letters(graph.find_closed_cycle("c", ["b", "a"])) == "cabc"
        assert graph.find_closed_cycle("x", ["a"]) == ()
        assert letters(graph.find_closed_cycle("x", ["x"])) == "xx"
        assert graph.find_closed_cycle("a", ["x"]) == ()

    def test_the_search_for_a_new_cycle_ends_at_an_existing_one(self) -> None:
        graph = graph_of("a:b b:a x: y:x")
        graph.reject_cycles = True
        assert graph.index("x", ["a"]) is Response.OK
        assert graph.find_closed_cycle("x", ["b"]) == ()
        assert graph.index("x", ["b"]) is Response.OK

    @pytest.mark.parametrize("bad", ["a b", "", "n" * 256])
    def test_an_invalid_name_is_an_error(self, bad: str) -> None:
        graph = graph_of(RING)
        calls: list[Callable[[], object]] = [
            lambda: graph.missing_dependencies(bad, []),
            lambda: graph.missing_dependencies("a", [bad]),
            lambda: graph.explain(Request(Command.REMOVE, PackageName(bad))),
            lambda: graph.find_closed_cycle(bad, []),
            lambda: graph.find_closed_cycle("a", [bad]),
        ]
        for call in calls:
            with pytest.raises(InvalidName):
                call()

    def test_a_string_is_not_a_list_of_names(self) -> None:
        for ask in (DependencyGraph.missing_dependencies, DependencyGraph.find_closed_cycle):
            with pytest.raises(TypeError, match="got the string 'gmp'"):
                ask(DependencyGraph(), "isl", "gmp")


@pytest.mark.parametrize(
    "query",
    [
        DependencyGraph.dependencies,
        DependencyGraph.dependents,
        DependencyGraph.transitive_dependencies,
        DependencyGraph.transitive_dependents,
        DependencyGraph.dependency_count,
        DependencyGraph.dependent_count,
        DependencyGraph.blocking_dependents,
        DependencyGraph.explain_removal,
        DependencyGraph.removal_requests,
        lambda graph, name: graph.transitive_dependencies(["a", name]),
        lambda graph, name: graph.transitive_dependents(["a", name]),
        lambda graph, name: graph.subgraph(["a", name]),
        lambda graph, name: graph.layers(["a", name]),
        lambda graph, name: graph.find_path(name, "a"),
        lambda graph, name: graph.find_path("a", name),
    ],
)
def test_a_package_that_is_not_indexed_is_an_error_with_its_name(
    query: Callable[[DependencyGraph, str], object],
) -> None:
    with pytest.raises(UnknownPackage, match=r"^package 'x' is not indexed$") as caught:
        query(graph_of("a:"), "x")
    assert caught.value.package == "x"
    assert caught.value.args == ("x",)
    assert isinstance(caught.value, (ScoopError, KeyError))


class TestSetsOfPackages:
    @pytest.mark.parametrize(
        "ask",
        [
            DependencyGraph.transitive_dependencies,
            DependencyGraph.transitive_dependents,
            DependencyGraph.explain_removal,
            DependencyGraph.removal_requests,
            DependencyGraph.layers,
            DependencyGraph.component_layers,
            DependencyGraph.subgraph,
        ],
    )
    def test_packages_are_one_name_or_any_iterable(self, ask: Callable[[DependencyGraph, object], object]) -> None:
        graph = DependencyGraph.from_mapping({"gcc": ["isl"], "isl": ["gmp"], "gmp": []})
        assert ask(graph, "gcc") == ask(graph, ["gcc"])
        assert ask(graph, ("gcc", "isl")) == ask(graph, iter(["isl", "gcc", "isl"]))

    @given(edges(), st.sets(st.sampled_from(NAMES)))
    def test_a_set_has_the_closures_of_its_packages_without_itself(self, edges: Edges, some: set[str]) -> None:
        packages = some & edges.keys()
        graph = DependencyGraph.from_mapping(edges)
        needed = graph.transitive_dependencies(packages)
        dependents = graph.transitive_dependents(packages)
        assert set(needed) == set().union(*(closure(edges, name) for name in packages)) - packages
        assert set(dependents) == {name for name in edges if closure(edges, name) & packages} - packages
        for order in (needed, dependents):
            assert len(set(order)) == len(order)
            assert_respects_edges(order, edges)

    @given(graphs(), st.sets(st.sampled_from(NAMES)), st.booleans())
    def test_a_set_is_removed_by_its_requests_or_its_blockers_are_named(
        self, graph: DependencyGraph, some: set[str], reject_cycles: bool
    ) -> None:
        graph.reject_cycles = reject_cycles
        packages = some & set(graph)
        outside = {name for name in graph if name not in packages and packages & set(graph.dependencies(name))}
        blocked = {name for name in packages if set(graph.dependents(name)) - packages}
        refusal = graph.explain_removal(packages)
        if outside:
            assert refusal == BlockedSet(tuple(sorted(blocked)), tuple(sorted(outside)))
            with pytest.raises(RequestRefused) as caught:
                graph.removal_requests(packages)
            assert caught.value.refusal == refusal
            return
        assert refusal is None
        expected = graph.subgraph(set(graph) - packages)
        requests = graph.removal_requests(packages)
        assert all(graph.apply(request) for request in requests)
        assert graph == expected
        assert len(requests) < 2 * len(packages) or not packages

    def test_the_explanation_names_the_packages_that_block_the_set(self) -> None:
        refusal = graph_of(TOOLCHAIN).explain_removal(["d", "b"])
        assert refusal == BlockedSet(("b", "d"), ("a", "c"))
        assert str(refusal) == "cannot remove b, d together: 2 other packages depend on them: a, c"
        assert str(BlockedSet(("a",), ("b",))) == "cannot remove a: 1 other package depends on it: b"

    @given(graphs(), st.sets(st.sampled_from(NAMES)))
    def test_a_subgraph_has_the_dependencies_among_its_packages(self, graph: DependencyGraph, some: set[str]) -> None:
        packages = some & set(graph)
        part = graph.subgraph(packages)
        assert set(part.edges()) == {edge for edge in graph.edges() if packages.issuperset(edge)}
        assert set(part) == packages
        assert part.edge_count() == len(list(part.edges())) == sum(map(part.dependency_count, part))
        assert part.edge_count() == sum(len(part.dependents(name)) for name in part)
        assert graph.layers(packages) == part.layers()


class TestFromOneGraphToAnother:
    @pytest.mark.parametrize(
        ("current", "target", "lines"),
        [
            (TOOLCHAIN, TOOLCHAIN, []),
            ("", "a:b b:", ["INDEX|b|", "INDEX|a|b"]),
            ("a:b b:", "", ["REMOVE|a|", "REMOVE|b|"]),
            ("a:b b:", "b:", ["REMOVE|a|"]),
            ("a:b b: c:", "a:c b: c:", ["INDEX|a|c"]),
            ("a:b b:", "a: b:a", ["INDEX|a|", "INDEX|b|a"]),
            ("", "a:b b:a", ["INDEX|b|", "INDEX|a|b", "INDEX|b|a"]),
            ("a:b b:a", "", ["INDEX|b|", "REMOVE|a|", "REMOVE|b|"]),
            ("", "a:a", ["INDEX|a|", "INDEX|a|a"]),
            ("a:a", "", ["REMOVE|a|"]),
            ("a:b b:", "a:c c:", ["INDEX|c|", "INDEX|a|c", "REMOVE|b|"]),
            ("a:", "a:b b:a", ["INDEX|b|a", "INDEX|a|b"]),
            ("a:bc b: c:", "a:cb b: c:", []),
        ],
    )
    def test_a_diff_has_no_more_requests_than_it_needs(self, current: str, target: str, lines: list[str]) -> None:
        assert list(map(parse_request, lines)) == list(graph_of(current).diff(graph_of(target)))

    @given(graphs(), graphs() | graphs(acyclic=True), st.booleans())
    def test_each_request_of_a_diff_is_answered_ok_and_all_lead_to_the_target(
        self, graph: DependencyGraph, target: DependencyGraph, reject_cycles: bool
    ) -> None:
        graph.reject_cycles = reject_cycles and not target.cyclic_components()
        for request in graph.diff(target):
            assert graph.apply(request) is Response.OK
        assert graph == target

    @given(graphs())
    def test_a_graph_does_not_differ_from_its_copy(self, graph: DependencyGraph) -> None:
        assert graph.diff(graph.copy()) == ()

    @given(graphs())
    def test_the_requests_rebuild_the_graph(self, graph: DependencyGraph) -> None:
        assert DependencyGraph.from_requests(graph.to_requests()) == graph
        assert DependencyGraph.from_lines(graph.to_lines()) == graph
        transcript = ["#comment\n", *(f"{line}\n" for line in graph.to_lines())]
        assert DependencyGraph.from_lines(transcript) == graph


class TestMaking:
    def test_a_mapping_may_be_in_any_order_and_contain_cycles(self) -> None:
        graph = DependencyGraph.from_mapping({"a": ["b", "b"], "b": iter(["c", "a"]), "c": {"c"}})
        assert graph.cyclic_components() == (("a", "b"), ("c",))
        assert graph.dependencies("a") == ("b",)
        assert [graph.remove(name) for name in "abc"] == [Response.FAIL] * 3

    def test_a_name_that_is_only_a_dependency_is_an_error(self) -> None:
        with pytest.raises(RequestRefused) as caught:
            graph_of("z: a:bzc b:x")
        assert caught.value.refusal == MissingDependencies("a", ("c",))
        assert str(caught.value) == "cannot index a: c is not indexed"
        assert caught.value.args == (caught.value.refusal,)

    def test_add_missing_makes_packages_of_missing_names(self) -> None:
        graph = graph_of("a:bc b:xc", add_missing=True)
        assert letters(tuple(graph)) == "abcx"
        assert graph == graph_of("a:bc b:xc c: x:")

    def test_a_mapping_with_a_cycle_is_refused_if_cycles_are_rejected(self) -> None:
        with pytest.raises(RequestRefused) as caught:
            graph_of("z:a a:b b:c c:ab", reject_cycles=True)
        assert caught.value.refusal == ClosesCycle("a", tuple("abca"))
        assert graph_of("a:b b:", reject_cycles=True).reject_cycles

    @pytest.mark.parametrize(
        "mapping", [{"a b": []}, {"a": ["b c"]}, {"": []}, {"a": [""]}, {"a": ["b,c"]}, {"a": ["b,c,d"]}]
    )
    def test_an_invalid_name_is_an_error(self, mapping: dict[str, list[str]]) -> None:
        with pytest.raises(InvalidName):
            DependencyGraph.from_mapping(mapping, add_missing=True)

    def test_more_names_than_are_counted_at_once(self) -> None:
        graph = DependencyGraph.from_mapping({"hub": [], **{f"p{number}": ["hub"] for number in range(9_000)}})
        assert graph.dependent_count("hub") == 9_000
        assert graph.dependent_count("p0") == 0

    def test_a_string_is_not_a_list_of_names(self) -> None:
        with pytest.raises(TypeError, match="got the string 'gmp'"):
            DependencyGraph.from_mapping({"isl": "gmp"})

    def test_the_first_request_that_is_refused_is_an_error(self) -> None:
        lines = ["INDEX|a|", "INDEX|b|a", "REMOVE|a|", "QUERY|x|"]
        with pytest.raises(RequestRefused) as caught:
            DependencyGraph.from_lines(lines)
        assert caught.value.refusal == BlockedByDependents("a", ("b",))
        assert letters(tuple(DependencyGraph.from_lines(lines[:2]))) == "ab"

    def test_requests_can_be_refused_for_a_cycle(self) -> None:
        lines = ["INDEX|a|", "INDEX|b|a", "INDEX|a|b"]
        assert DependencyGraph.from_lines(lines).cyclic_components() == (("a", "b"),)
        with pytest.raises(RequestRefused):
            DependencyGraph.from_lines(lines, reject_cycles=True)

    @pytest.mark.parametrize(
        "through", [copy.copy, copy.deepcopy, DependencyGraph.copy, lambda graph: pickle.loads(pickle.dumps(graph))]
    )
    def test_a_copy_is_equal_and_a_graph_of_its_own(
        self, through: Callable[[DependencyGraph], DependencyGraph]
    ) -> None:
        graph = graph_of(RING)
        graph.reject_cycles = True
        twin = through(graph)
        assert type(twin) is DependencyGraph
        assert twin == graph
        assert twin.reject_cycles
        assert twin.remove("e") is Response.OK
        assert "e" in graph
        assert graph.remove("a") is Response.FAIL
        assert twin != graph

    def test_a_subclass_with_its_own_init_is_copied_and_made(self) -> None:
        graph = NamedGraph("main")
        graph.index("a")
        twin = graph.copy()
        assert (type(twin), twin.name, twin.note, list(twin)) == (NamedGraph, "main", "seen main", ["a"])
        twin.remove("a")
        assert "a" in graph
        for made in (NamedGraph.from_mapping({"a": []}), NamedGraph.from_lists(["a"], [""]), graph.subgraph(["a"])):
            assert (type(made), made.name, list(made)) == (NamedGraph, "unnamed", ["a"])

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (0, "<DependencyGraph: 0 packages>"),
            (1, "<DependencyGraph: 1 package: p0>"),
            (3, "<DependencyGraph: 3 packages: p0, p1, p2>"),
            (4, "<DependencyGraph: 4 packages: p0, p1, p2, ...>"),
            (1_234, "<DependencyGraph: 1,234 packages: p0, p1, p2, ...>"),
        ],
    )
    def test_its_repr_has_the_number_of_packages_and_the_first_names(self, count: int, text: str) -> None:
        assert repr(DependencyGraph.from_mapping({f"p{number}": () for number in range(count)})) == text


def test_a_chain_longer_than_any_recursion_limit() -> None:
    length = 20_000
    names = [f"p{number:05}" for number in range(length)]
    chain = {name: [following] for name, following in itertools.pairwise(names)} | {names[-1]: []}
    graph = DependencyGraph.from_mapping(chain)
    assert graph.transitive_dependencies(names[0]) == tuple(reversed(names[1:]))
    assert graph.transitive_dependents(names[-1]) == tuple(reversed(names[:-1]))
    assert graph.find_path(names[0], names[-1]) == tuple(names)
    assert graph.topological_order() == tuple(reversed(names))
    assert graph.layers() == tuple((name,) for name in reversed(names))
    assert graph.cyclic_components() == ()
    assert graph.find_closed_cycle(names[-1], [names[0]]) == (names[-1], *names)
    assert len(graph.diff(DependencyGraph())) == length
    graph.index(names[-1], [names[0]])
    assert graph.cyclic_components() == (tuple(names),)
    assert len(graph.diff(DependencyGraph())) == length + 1


def distance(edges: Edges, start: str, goal: str) -> int:
    """Return how many edges lead from ``start`` to ``goal``, which is reachable: one step at a time."""
    reached, steps = set(edges[start]), 1
    while goal not in reached:
        reached = reached.union(*(edges[name] for name in reached))
        steps += 1
    return steps


def are_on_one_cycle(edges: Edges, one: str, other: str) -> bool:
    return one in closure(edges, other) and other in closure(edges, one)


def assert_respects_edges(order: tuple[str, ...], edges: Edges) -> None:
    place = {name: number for number, name in enumerate(order)}
    for name in order:
        for dependency in edges[name] & place.keys():
            assert place[dependency] < place[name] or are_on_one_cycle(edges, name, dependency)
