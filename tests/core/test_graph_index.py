"""The graph with a reverse index: notifications of observers, and copies."""

import pickle
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given

from scoop_core import (
    Changes,
    Command,
    DependencyGraph,
    GraphEvent,
    IndexedGraph,
    PackageChange,
    Request,
    Tally,
    UnknownPackage,
)

from tests.support.forms import needs_slots
from tests.support.graph_strategies import graphs

EVENTS: list[tuple[str, Callable[[IndexedGraph], object], list[PackageChange]]] = [
    ("index", lambda graph: graph.index("new", ["a"]), [PackageChange("new", None, ("a",))]),
    ("index", lambda graph: graph.index("b", []), [PackageChange("b", ("a",), ())]),
    ("remove", lambda graph: graph.remove("b"), [PackageChange("b", ("a",), None)]),
    ("apply", lambda graph: graph.apply(Request.of(Command.REMOVE, "b")), [PackageChange("b", ("a",), None)]),
    (
        "apply_lines",
        lambda graph: graph.apply_lines("REMOVE|b|\nQUERY|a|\nINDEX|c|missing\nINDEX|a|a\n"),
        [PackageChange("b", ("a",), None), PackageChange("a", (), ("a",))],
    ),
    (
        "apply_batches",
        lambda graph: graph.apply_batches(["INDEX|c|\nINDEX|d|c\n", "REMOVE|d|\n"]),
        [PackageChange("c", None, ()), PackageChange("d", None, ("c",)), PackageChange("d", ("c",), None)],
    ),
    (
        "apply_lines_within",
        lambda graph: graph.apply_lines_within(9, "INDEX|c|a\nQUERY|c|\n"),
        [PackageChange("c", None, ("a",))],
    ),
]


TEXT = "INDEX|c|a\nINDEX|d|missing\nREMOVE|b|a\nREMOVE|a|a b\n"


def small() -> IndexedGraph:
    return IndexedGraph.from_mapping({"b": ["a"], "a": []})


class TestObservers:
    @pytest.mark.parametrize(("call", "act", "changes"), EVENTS)
    def test_an_observer_is_notified_of_the_changes_and_of_their_call(
        self, call: str, act: Callable[[IndexedGraph], object], changes: list[PackageChange]
    ) -> None:
        graph, events = small(), list[GraphEvent]()
        graph.subscribe(events.append)
        act(graph)
        assert events == [GraphEvent(call, tuple(changes))]

    def test_undo_notifies_of_the_reverse_changes_in_reverse_order(self) -> None:
        graph, events = small(), list[GraphEvent]()
        graph.apply_lines("INDEX|c|b\nREMOVE|c|\nINDEX|b|\n", changes := Changes())
        graph.subscribe(events.append)
        graph.undo(changes)
        assert events == [
            GraphEvent(
                "undo",
                (PackageChange("b", (), ("a",)), PackageChange("c", None, ("b",)), PackageChange("c", ("b",), None)),
            )
        ]
        with pytest.raises(ValueError, match="cannot undo"):
            graph.undo(changes)
        assert len(events) == 1

    def test_a_call_that_changes_nothing_notifies_nobody(self) -> None:
        graph, events = small(), list[GraphEvent]()
        graph.subscribe(events.append)
        graph.index("b", ["a"])
        graph.remove("a")
        graph.apply_lines("INDEX|b|a\nREMOVE|a|\n")
        assert events == []

    def test_changes_before_an_error_are_notified(self) -> None:
        graph, events = small(), list[GraphEvent]()
        graph.subscribe(events.append)
        with pytest.raises(ValueError, match="no newline"):
            graph.apply_batches(["REMOVE|b|\nREMOVE|a|\n", "INDEX|c|"])
        assert [change.package for change in events[0].changes] == ["b", "a"]

    def test_a_subscription_ends(self) -> None:
        graph, events, others = small(), list[GraphEvent](), list[GraphEvent]()
        unsubscribe = graph.subscribe(events.append)
        for observer in (events.append, others.append):
            graph.subscribe(observer)
        for _ in range(2):
            unsubscribe()
        graph.remove("b")
        assert (len(events), len(others)) == (1, 1)

    def test_an_observer_can_query_but_not_change_the_graph(self) -> None:
        graph = small()
        graph.subscribe(lambda _: graph.dependents("a") and graph.remove("b"))
        graph.subscribe((others := list[GraphEvent]()).append)
        with pytest.raises(RuntimeError, match=r"^an observer cannot change the graph that notifies it$"):
            graph.index("c", ["a"])
        assert graph.dependents("a") == ("b", "c")
        assert len(others) == 1


@needs_slots
def test_a_plain_graph_holds_no_index_and_no_observers() -> None:
    graph = DependencyGraph.from_mapping({"a": ["a"]})
    graph.apply_lines("REMOVE|a|\nINDEX|b|\n")
    assert graph.remove("b")
    assert not hasattr(graph, "__dict__")
    held = {slot for kind in DependencyGraph.__mro__ for slot in getattr(kind, "__slots__", ())}
    rules = {"_rejects_cycles", "_is_acyclic", "_search_budget", "_search_limit", "refused_searches"}
    assert held == {"_dependencies", "_dependent_counts", "_late", "_order"} | rules
    assert graph._order is None


@pytest.mark.parametrize("kind", [DependencyGraph, IndexedGraph])
def test_only_graphs_made_to_reject_cycles_do(kind: type[DependencyGraph]) -> None:
    makers: list[Callable[..., DependencyGraph]] = [
        *(kind, kind.empty, partial(kind.from_mapping, {}), partial(kind.from_lists, [], [])),
        *(partial(kind.from_lines, []), partial(kind.from_requests, [])),
    ]
    assert [(make().reject_cycles, make(reject_cycles=True).reject_cycles) for make in makers] == [(False, True)] * 6


class TestIndex:
    def test_a_package_that_depends_on_itself_is_its_dependent(self) -> None:
        graph = IndexedGraph.from_mapping({"a": ["a"], "b": []})
        assert (graph.dependents("a"), graph.dependents("b")) == (("a",), ())
        graph.index("a")
        assert (graph.dependents("a"), graph._dependents) == ((), {})
        with pytest.raises(UnknownPackage):
            graph.dependents("missing")

    @given(graphs())
    def test_a_copy_is_independent_and_has_no_observers(self, graph: DependencyGraph) -> None:
        indexed = IndexedGraph.from_graph(graph)
        indexed.subscribe(lambda event: pytest.fail(f"told {event}"))
        for twin in (indexed.copy(), pickle.loads(pickle.dumps(indexed)), IndexedGraph.from_graph(indexed)):
            assert type(twin) is IndexedGraph
            assert twin == graph
            twin.subscribe((events := list[GraphEvent]()).append)
            twin.apply_lines("INDEX|z|\n" + "".join(f"INDEX|{name}|z\n" for name in graph))
            assert (len(events), twin.dependents("z")) == (1, tuple(sorted(graph)))
        assert {name: indexed.dependents(name) for name in graph} == graph.dependents_by_package()

    @pytest.mark.parametrize(
        "apply",
        [
            lambda graph, *records: graph.apply_lines(TEXT, *records),
            lambda graph, *records: graph.apply_batches([TEXT, TEXT], *records),
            lambda graph, *records: graph.apply_lines_within(9, TEXT, *records),
        ],
    )
    def test_it_records_changes_and_responses_as_a_plain_graph(
        self, apply: Callable[[DependencyGraph, Changes, Tally], object]
    ) -> None:
        recorded = []
        for graph in (small(), small().to_graph()):
            apply(graph, changes := Changes(), tally := Tally())
            recorded.append((changes.lines, changes.previous, list(tally)))
        assert recorded[0] == recorded[1]
        assert recorded[0][:2] == (["INDEX|c|a", "REMOVE|b|"], [None, "a"])

    @given(graphs())
    def test_it_answers_as_a_plain_graph(self, graph: DependencyGraph) -> None:
        indexed = IndexedGraph.from_graph(graph)
        for name in graph:
            assert indexed.transitive_dependents(name) == graph.transitive_dependents(name)
            assert indexed.explain_removal(name) == graph.explain_removal(name)
