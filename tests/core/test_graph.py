"""The dependency graph, rule by rule."""

import pickle
from collections.abc import Callable
from typing import cast

import pytest

from scoop_core import (
    Changes,
    Command,
    DependencyGraph,
    InvalidName,
    MalformedRequest,
    MissingDependencies,
    PackageName,
    Request,
    RequestRefused,
    Response,
    ScoopError,
    SearchTooLong,
    Tally,
    parse_name,
    parse_request,
)

from tests.support.protocol_cases import PROTOCOL_CASES, ProtocolCase
from tests.support.reference import reference_batch, reference_lines

OK, FAIL = Response.OK, Response.FAIL


def graph_of(*lines: str, reject_cycles: bool = False) -> DependencyGraph:
    """Return the graph that some lines build, each of which must be answered OK."""
    graph = DependencyGraph(reject_cycles=reject_cycles)
    assert graph.apply_lines(as_batch(lines), Changes()) == "OK\n" * len(lines)
    return graph


def as_batch(lines: list[str] | tuple[str, ...]) -> str:
    return "".join(f"{line}\n" for line in lines)


def answer_one_by_one(graph: DependencyGraph, lines: list[str]) -> str:
    """Return the responses of the one-message API."""
    answers = []
    for line in lines:
        try:
            answers.append(graph.apply(parse_request(line)).value)
        except MalformedRequest:
            answers.append("ERROR")
    return as_batch(answers)


class TestProtocol:
    @pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
    def test_one_by_one_and_as_a_batch_the_answers_are_those_of_the_case(self, case: ProtocolCase) -> None:
        one_by_one, batch = (DependencyGraph(reject_cycles=case.reject_cycles) for _ in range(2))

        def answers(data: bytes) -> str:
            expected = answer_one_by_one(one_by_one, reference_lines(data, case.max_line_length))
            assert batch.apply_lines(reference_batch(data, case.max_line_length)) == expected
            return expected

        assert set(answers(case.setup).split()) <= {"OK"}
        assert answers(case.sent) == case.answers.decode()


class TestOneRequest:
    @pytest.mark.parametrize(
        "dependencies", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}, {"a": 1, "b": 2}.keys(), ["a", "b", "a"]]
    )
    def test_dependencies_are_any_iterable_of_names(self, dependencies: list[str]) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|")
        assert graph.index("c", dependencies) is OK
        assert graph.dependencies("c") == ("a", "b")

    def test_one_text_is_not_an_iterable_of_names(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|")
        with pytest.raises(TypeError, match="got the string 'ab'"):
            graph.index("c", "ab")
        assert "c" not in graph

    @pytest.mark.parametrize("name", ["", "a b", "a,b", "a|b", "a\n", "n" * 256])
    @pytest.mark.parametrize(
        "ask",
        [
            lambda graph, name: graph.index(name),
            lambda graph, name: graph.index("c", [name]),
            lambda graph, name: graph.index("a", ["b", name]),
            lambda graph, name: graph.index("a", ["missing", name]),
            lambda graph, name: graph.index(name, ["missing"]),
            lambda graph, name: graph.remove(name),
            lambda graph, name: graph.query(name),
        ],
    )
    def test_an_invalid_name_is_an_error_and_changes_nothing(
        self, ask: Callable[[DependencyGraph, str], Response], name: str
    ) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|")
        with pytest.raises(InvalidName) as caught:
            ask(graph, name)
        assert caught.value.text == name
        assert graph == graph_of("INDEX|a|", "INDEX|b|")

    @pytest.mark.parametrize("command", Command)
    def test_apply_calls_the_method_of_the_command(self, command: Command) -> None:
        ask: dict[Command, Callable[[DependencyGraph], Response]] = {
            Command.INDEX: lambda graph: graph.index("a", ["b"]),
            Command.REMOVE: lambda graph: graph.remove("a"),
            Command.QUERY: lambda graph: graph.query("a"),
        }
        one, other = graph_of("INDEX|a|", "INDEX|b|"), graph_of("INDEX|a|", "INDEX|b|")
        assert one.apply(Request(command, parse_name("a"), (parse_name("b"),))) is ask[command](other)
        assert one == other

    def test_apply_checks_the_names_of_a_hand_made_request(self) -> None:
        for command in Command:
            with pytest.raises(InvalidName):
                DependencyGraph().apply(Request(command, PackageName("a b")))

    def test_dependencies_are_those_of_the_last_index_in_its_order(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|", "INDEX|c|a,b")
        assert graph.dependencies("c") == ("a", "b")
        assert graph.dependencies("a") == ()
        graph.index("c", ["b", "a", "b"])
        assert graph.dependencies("c") == ("b", "a")
        graph.index("c", ["missing"])
        assert graph.dependencies("c") == ("b", "a")
        graph.index("c")
        assert graph.dependencies("c") == ()

    def test_names_that_contain_each_other_are_distinguished(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|aa|", "INDEX|aaa|", "INDEX|x|a,aaa", "INDEX|aa|a,aaa")
        assert graph.remove("aa") is OK
        assert graph.remove("a") is FAIL
        # As long as the old list, and made of the same characters.
        graph = graph_of("INDEX|a|", "INDEX|bc|", "INDEX|ab|", "INDEX|c|", "INDEX|x|a,bc")
        assert graph.index("x", ["ab", "c"]) is OK
        assert [graph.remove(name) for name in ("a", "bc", "ab", "c")] == [OK, OK, FAIL, FAIL]


class TestCost:
    def test_the_cost_is_the_packages_and_dependencies_that_the_searches_visit(self) -> None:
        graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}, reject_cycles=True)
        part = graph.apply_lines_within(100, "INDEX|d|a\nINDEX|c|a\n")
        assert part.responses == "OK\nFAIL\n"
        assert 2 <= part.cost <= 6  # what leads from a to c
        assert graph.apply_lines_within(100, "INDEX|e|d\nQUERY|c|\n").cost == 0
        graph.reject_cycles = False
        assert graph.apply_lines_within(1, "INDEX|c|a\n") == ("OK\n", "", None, 0)


class TestMistakesOfACaller:
    def test_a_line_without_its_newline_is_refused_and_changes_nothing(self) -> None:
        graph = DependencyGraph()
        for text in ("INDEX|a|", "INDEX|a|\nINDEX|b|", "QUERY|a|"):
            with pytest.raises(ValueError, match=r"^a line has no newline at its end$"):
                graph.apply_lines(text)
            with pytest.raises(ValueError, match=r"^a line has no newline at its end$"):
                graph.apply_lines_within(9, text)
        assert len(graph) == 0
        assert graph.apply_lines("") == ""

    def test_an_unknown_command_is_not_mistaken_for_another(self) -> None:
        request = Request(cast("Command", "BOGUS"), PackageName("a"))
        with pytest.raises(AssertionError, match="BOGUS"):
            DependencyGraph().apply(request)


class TestCollection:
    def test_it_is_sized_iterable_and_knows_its_members(self) -> None:
        graph = DependencyGraph()
        assert (len(graph), list(graph), "a" in graph) == (0, [], False)
        graph = graph_of("INDEX|b|", "INDEX|a|b")
        assert (len(graph), sorted(graph), "a" in graph, "c" in graph) == (2, ["a", "b"], True, False)
        assert 1 not in graph
        assert None not in graph

    def test_graphs_are_equal_if_the_same_packages_need_the_same_packages(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|", "INDEX|c|a,b")
        assert graph == graph_of("INDEX|b|", "INDEX|a|", "INDEX|c|b,a")
        assert graph == graph_of("INDEX|b|", "INDEX|a|", "INDEX|c|b,a", reject_cycles=True)
        assert graph == graph_of("INDEX|b|", "INDEX|a|", "INDEX|c|b,a", "INDEX|d|", "REMOVE|d|")
        for other in (
            graph_of("INDEX|a|", "INDEX|b|"),
            graph_of("INDEX|a|", "INDEX|b|", "INDEX|c|a"),
            graph_of("INDEX|a|", "INDEX|b|", "INDEX|d|a,b"),
            graph_of("INDEX|a|", "INDEX|b|", "INDEX|c|a,b", "INDEX|d|"),
            graph_of("INDEX|a|", "INDEX|b|a", "INDEX|c|a,b"),
            graph_of("INDEX|a|", "INDEX|b|", "INDEX|c|a,b", "INDEX|c|a,c"),
            DependencyGraph(),
        ):
            assert graph != other
            assert other != graph

    def test_a_graph_equals_nothing_else(self) -> None:
        assert DependencyGraph() != {}
        assert DependencyGraph() != 0
        assert (DependencyGraph() == {}) is False

    def test_a_graph_changes_so_it_has_no_hash(self) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(DependencyGraph())


class TestChanges:
    @staticmethod
    def changes_of(graph: DependencyGraph, *lines: str) -> tuple[str, Changes]:
        changes = Changes()
        return graph.apply_lines(as_batch(lines), changes), changes

    @pytest.mark.parametrize(
        ("line", "answer", "change", "previous"),
        [
            ("INDEX|new|", "OK", "INDEX|new|", None),
            ("INDEX|new|b,a,b", "OK", "INDEX|new|b,a", None),
            ("INDEX|top|a", "OK", "INDEX|top|a", "a,b"),
            ("INDEX|top|a,a", "OK", "INDEX|top|a", "a,b"),
            ("INDEX|top|top", "OK", "INDEX|top|top", "a,b"),
            ("INDEX|top|", "OK", "INDEX|top|", "a,b"),
            ("INDEX|a|top", "OK", "INDEX|a|top", ""),
            ("REMOVE|top|", "OK", "REMOVE|top|", "a,b"),
            ("REMOVE|top|b,missing", "OK", "REMOVE|top|", "a,b"),
        ],
    )
    def test_a_change_has_its_line_and_the_list_that_it_replaced(
        self, line: str, answer: str, change: str, previous: str | None
    ) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|", "INDEX|top|a,b")
        answers, changes = self.changes_of(graph, line)
        assert answers == f"{answer}\n"
        assert (changes.lines, changes.previous) == ([change], [previous])
        assert len(changes) == 1

    @pytest.mark.parametrize(
        "line",
        [
            "QUERY|a|",
            "QUERY|missing|",
            "INDEX|top|a,b",
            "INDEX|top|b,a",
            "INDEX|top|a,b,a",
            "INDEX|a|",
            "INDEX|top|missing",
            "INDEX|new|missing",
            "INDEX|new|new",
            "REMOVE|a|",
            "REMOVE|missing|",
            "REMOVE|missing|a",
            "nonsense",
            "INDEX|new|a=",
            "REMOVE|top|a=",
            "",
        ],
    )
    def test_a_request_that_changes_nothing_is_no_change(self, line: str) -> None:
        lines = ["INDEX|a|", "INDEX|b|", "INDEX|top|a,b"]
        graph = graph_of(*lines)
        _, changes = self.changes_of(graph, line)
        assert len(changes) == 0
        assert graph == graph_of(*lines)

    def test_a_list_in_another_order_is_noted_if_the_caller_wants_that(self) -> None:
        changes = Changes()
        changes.reordered = []
        graph_of("INDEX|a|", "INDEX|b|", "INDEX|top|a,b").apply_lines("INDEX|top|b,a\nINDEX|top|b,a\n", changes)
        assert (len(changes), changes.reordered) == (0, [("top", "a,b", "b,a")])
        changes.clear()
        assert changes.reordered == []

    def test_a_cycle_that_is_rejected_is_no_change(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|a", reject_cycles=True)
        answers, changes = self.changes_of(graph, "INDEX|a|b")
        assert (answers, len(changes)) == ("FAIL\n", 0)

    def test_changes_are_in_order_and_lead_an_equal_graph_to_an_equal_graph(self) -> None:
        graph, twin = graph_of("INDEX|a|"), graph_of("INDEX|a|")
        _, changes = self.changes_of(graph, "INDEX|b|a", "INDEX|c|", "INDEX|b|c", "QUERY|b|", "REMOVE|a|", "INDEX|a|b")
        assert changes.lines == ["INDEX|b|a", "INDEX|c|", "INDEX|b|c", "REMOVE|a|", "INDEX|a|b"]
        assert changes.previous == [None, None, "a", "", None]
        assert twin.apply_lines(as_batch(changes.lines), Changes()) == "OK\n" * 5
        assert twin == graph

    def test_changes_are_appended_to_those_before(self) -> None:
        graph, changes = DependencyGraph(), Changes()
        graph.apply_lines("INDEX|a|\n", changes)
        graph.apply_lines("INDEX|b|\n", changes)
        assert changes.lines == ["INDEX|a|", "INDEX|b|"]
        assert repr(changes) == "<Changes: 2>"
        changes.clear()
        assert (changes.lines, changes.previous, len(changes)) == ([], [], 0)

    def test_undo_reverts_the_last_change_first(self) -> None:
        lines = ["INDEX|a|", "INDEX|b|a", "INDEX|c|b"]
        graph = graph_of(*lines)
        _, changes = self.changes_of(
            graph,
            "REMOVE|c|",
            "INDEX|c|a",
            "INDEX|c|b,c",
            "INDEX|d|c,a",
            "INDEX|a|d,a",
            "INDEX|b|",
            "INDEX|a|",
            "REMOVE|d|",
        )
        assert len(changes) == 8
        graph.undo(changes)
        assert graph == graph_of(*lines)
        assert graph._dependent_counts == {"a": 1, "b": 1, "c": 0}

    def test_undo_of_nothing_changes_nothing(self) -> None:
        graph = graph_of("INDEX|a|")
        graph.undo(Changes())
        assert graph == graph_of("INDEX|a|")

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("INDEX|b|", "INDEX|c|b"),  # another package depends on the one that would go
            ("INDEX|b|", "INDEX|b|a"),
            ("INDEX|b|", "REMOVE|b|"),
            ("REMOVE|top|", "INDEX|top|"),
            ("REMOVE|top|", "REMOVE|a|"),  # a dependency that it would restore is no longer indexed
            ("INDEX|top|", "REMOVE|a|"),
            ("INDEX|top|", "INDEX|top|top"),
        ],
    )
    def test_undo_out_of_order_is_refused_and_changes_nothing(self, first: str, second: str) -> None:
        graph = graph_of("INDEX|a|", "INDEX|top|a")
        _, changes = self.changes_of(graph, "INDEX|other|", first, "INDEX|last|other", "INDEX|last|", "REMOVE|last|")
        _, later = self.changes_of(graph, second)
        before = graph.copy()
        assert later
        with pytest.raises(ValueError, match="cannot undo") as caught:
            graph.undo(changes)
        assert str(caught.value) == f"cannot undo '{first}': other changes were made after it; undo them first"
        assert graph == before
        assert graph._dependent_counts == before._dependent_counts
        graph.undo(later)
        graph.undo(changes)
        assert graph == graph_of("INDEX|a|", "INDEX|top|a")

    def test_undo_out_of_order_closes_no_cycle_that_is_rejected(self) -> None:
        graph = graph_of("INDEX|d|", "INDEX|c|", "INDEX|b|d", "INDEX|a|b,c", reject_cycles=True)
        _, changes = self.changes_of(graph, "INDEX|a|c", "INDEX|e|")
        _, later = self.changes_of(graph, "INDEX|d|a")
        before = graph.copy()
        with pytest.raises(ValueError, match=r"^cannot undo 'INDEX\|a\|c': other changes"):
            graph.undo(changes)
        assert graph == before
        assert graph.index("a", ["b"]) is FAIL
        graph.undo(later)
        graph.undo(changes)
        assert graph.dependencies("a") == ("b", "c")

    def test_undo_restores_a_cycle_that_was_there_before_cycles_were_rejected(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|a", "INDEX|a|a,b", "INDEX|c|", "INDEX|c|c")
        graph.reject_cycles = True
        _, changes = self.changes_of(graph, "INDEX|a|", "REMOVE|c|")
        graph.undo(changes)
        assert graph.cyclic_components() == (("a", "b"), ("c",))

    @pytest.mark.parametrize(
        ("line", "previous"),
        [
            ("REMOVE|a b|", ""),
            ("REMOVE|new|", None),
            ("REMOVE|new|", "a,a"),
            ("REMOVE|new|", "missing"),
            ("REMOVE|self|", "self"),
            ("QUERY|a|", ""),
            ("INDEX|a", None),
            ("", None),
            ("INDEX|a|x", None),
            ("REMOVE|new||", ""),
        ],
    )
    def test_changes_that_the_graph_did_not_make_are_refused(self, line: str, previous: str | None) -> None:
        graph, changes = graph_of("INDEX|a|", "INDEX|top|a", reject_cycles=True), Changes()
        before = graph.copy()
        changes.lines += [line, "INDEX|top|a"]
        changes.previous.append(previous)
        with pytest.raises(ValueError, match="shorter"):  # which is only noticed at the end
            graph.undo(changes)
        changes.previous.append("")
        with pytest.raises(ValueError, match="cannot undo"):
            graph.undo(changes)
        assert graph == before


class TestRebuildLines:
    @pytest.mark.parametrize(
        ("lines", "to_lines"),
        [
            ([], []),
            (["INDEX|b|", "INDEX|a|"], ["INDEX|a|", "INDEX|b|"]),
            (["INDEX|c|", "INDEX|b|c", "INDEX|a|c,b"], ["INDEX|c|", "INDEX|b|c", "INDEX|a|b,c"]),
            (["INDEX|a|", "INDEX|a|a"], ["INDEX|a|", "INDEX|a|a"]),
            (["INDEX|a|", "INDEX|b|a", "INDEX|a|b"], ["INDEX|a|", "INDEX|b|a", "INDEX|a|b"]),
            (
                ["INDEX|a|", "INDEX|b|a", "INDEX|c|b", "INDEX|a|a,c"],
                ["INDEX|a|", "INDEX|b|a", "INDEX|c|b", "INDEX|a|a,c"],
            ),
            (  # a cycle needs c, and then a, before all of their dependencies: that of a is complete by then
                ["INDEX|a|", "INDEX|b|", "INDEX|c|a", "INDEX|b|a,c", "INDEX|a|b", "INDEX|b|a,b,c"],
                ["INDEX|a|", "INDEX|b|a", "INDEX|c|a", "INDEX|b|a,b,c", "INDEX|a|b"],
            ),
        ],
    )
    def test_dependencies_precede_their_dependents_and_a_cycle_begins_with_an_incomplete_package(
        self, lines: list[str], to_lines: list[str]
    ) -> None:
        graph = graph_of(*lines)
        assert list(graph.to_lines()) == to_lines
        assert graph_of(*to_lines) == graph


class TestApplyBatches:
    @pytest.mark.parametrize(
        ("texts", "answers"),
        [
            ([], []),
            (["QUERY|a|\n", "QUERY|b|\n"], ["OK\n", "OK\n"]),
            (["QUERY|a|\n", "QUERY|x|\n"], ["OK\n", "FAIL\n"]),
            (["INDEX|x|a\n", "REMOVE|a|\n", "QUERY|x|\n"], ["OK\n", "FAIL\n", "OK\n"]),
            (["QUERY|a|\n", "", "QUERY|a|\nREMOVE|b|\nQUERY|b|\n"], ["OK\n", "", "OK\nOK\nFAIL\n"]),
            (["\n", "QUERY|a|\r\n"], ["ERROR\n", "ERROR\n"]),
            (["INDEX|x|a\nREMOVE|x|\n", "INDEX|y|\n"], ["OK\nOK\n", "OK\n"]),
            (["INDEX|a|b\n", "QUERY|a|\n", "REMOVE|b|\n", "INDEX|a|\n"], ["OK\n", "OK\n", "FAIL\n", "OK\n"]),
            (["INDEX|a|x\n", "QUERY|b|\n"], ["FAIL\n", "OK\n"]),
            (["INDEX|a|\n", "QUERY|b|\n"], ["OK\n", "OK\n"]),
            (["REMOVE|a|b\n", "INDEX|a b|\n", "QUERY|a|\n"], ["OK\n", "ERROR\n", "FAIL\n"]),
            (["QUERY|xa|\nQUERY|b|\n", "QUERY|a|\nQUERY|bx|\n"], ["FAIL\nOK\n", "OK\nFAIL\n"]),
        ],
    )
    def test_each_text_has_its_answers_and_all_are_counted(self, texts: list[str], answers: list[str]) -> None:
        graph, tally = graph_of("INDEX|a|", "INDEX|b|"), Tally()
        twin, expected = graph.copy(), Tally()
        assert graph.copy().apply_batches(texts) == answers
        changes, expected_changes = Changes(), Changes()
        assert graph.apply_batches(texts, changes, tally) == answers
        for text in texts:
            twin.apply_lines(text, expected_changes, expected)
        assert list(tally) == list(expected)
        assert changes.lines == expected_changes.lines
        assert graph == twin


class TestFromLists:
    def test_each_package_has_its_list_and_its_count(self) -> None:
        graph = DependencyGraph.from_lists(["aa", "a", "b"], ["", "aa", "b,aa,a"])
        assert graph == graph_of("INDEX|aa|", "INDEX|a|aa", "INDEX|b|", "INDEX|b|a,aa,b")
        assert graph._dependent_counts == {"aa": 2, "a": 1, "b": 0}
        assert not graph.reject_cycles
        assert DependencyGraph.from_lists([], []) == DependencyGraph()

    def test_a_package_given_twice_has_the_last_list(self) -> None:
        graph = DependencyGraph.from_lists(["a", "b", "a"], ["", "a", "b"])
        assert graph == graph_of("INDEX|a|", "INDEX|b|a", "INDEX|a|b")
        assert graph._dependent_counts == {"a": 1, "b": 1}

    def test_a_name_given_twice_in_a_list_counts_once(self) -> None:
        graph = DependencyGraph.from_lists(["a", "b"], ["", "a,b,a"])
        assert graph.dependencies("b") == ("a", "b")
        assert graph._dependent_counts == {"a": 1, "b": 0}

    def test_more_lists_than_are_counted_at_once(self) -> None:
        packages = [f"p{number}" for number in range(25_000)]
        graph = DependencyGraph.from_lists(["hub", *packages], ["", *["hub"] * 25_000])
        assert graph._dependent_counts["hub"] == 25_000
        assert sum(graph._dependent_counts.values()) == 25_000

    @pytest.mark.parametrize(("packages", "listed"), [(["a"], []), ([], [""])])
    def test_lists_of_different_lengths_are_refused(self, packages: list[str], listed: list[str]) -> None:
        with pytest.raises(ValueError, match="zip"):
            DependencyGraph.from_lists(packages, listed)

    @pytest.mark.parametrize("listed", ["missing", "a,missing", "b,missing,b"])
    def test_a_dependency_that_is_not_among_the_packages_is_refused(self, listed: str) -> None:
        with pytest.raises(RequestRefused) as caught:
            DependencyGraph.from_lists(["a", "b"], ["", listed])
        assert caught.value.refusal == MissingDependencies("b", ("missing",))

    @pytest.mark.parametrize(
        ("package", "listed"),
        [("a b", ""), ("", ""), ("a|", ""), ("b", "a,,b"), ("b", ","), ("b", "a,"), ("b", "a\n"), ("a,b", "")],
    )
    def test_an_invalid_name_is_refused(self, package: str, listed: str) -> None:
        with pytest.raises(InvalidName):
            DependencyGraph.from_lists(["a", package], ["", listed])

    @pytest.mark.parametrize("lists", [["b", "a"], ["a", ""]])
    def test_a_cycle_is_refused_if_cycles_are_rejected(self, lists: list[str]) -> None:
        with pytest.raises(RequestRefused, match="cannot index a: it would close the cycle a -> "):
            DependencyGraph.from_lists(["a", "b"], lists, reject_cycles=True)
        assert DependencyGraph.from_lists(["a", "b"], ["b", ""], reject_cycles=True).reject_cycles


class TestOneDependency:
    def test_it_is_added_once_if_it_is_indexed_and_closes_no_forbidden_cycle(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|a", reject_cycles=True)
        assert [graph.add_dependency("b", "a"), graph.add_dependency("a", "c"), graph.add_dependency("a", "b")] == [
            OK,
            FAIL,
            FAIL,
        ]
        with pytest.raises(InvalidName):
            graph.add_dependency("a", "c d")
        twin = DependencyGraph.from_lists(["a", "b"], ["", "a"])  # whose order is unknown
        for some in (graph, twin):
            some.index("c")
            changes = Changes()
            assert some.add_dependency("b", "c", changes)
            assert changes.lines == ["INDEX|b|a,c"]
            assert some.remove_dependency("b", "a", changes)
            assert some.dependencies("b") == ("c",)
            some.undo(changes)
            assert some.add_dependency("b", "c")
            assert some.dependencies("b") == ("a", "c")


class TestFromLines:
    @pytest.mark.parametrize(
        ("lines", "error", "message"),
        [
            (["# a comment", "INDEX|a"], MalformedRequest, "line 2: expected 2 bars, got 1: 'INDEX|a'"),
            (["INDEX|b|\n", "", "INDEX|a|"], MalformedRequest, "line 2: expected 2 bars, got 0: ''"),
            (["INDEX|b|\n", "INDEX|a|c\n"], RequestRefused, "line 2: cannot index a: c is not indexed"),
        ],
    )
    def test_an_error_names_the_line(self, lines: list[str], error: type[ScoopError], message: str) -> None:
        with pytest.raises(error) as caught:
            DependencyGraph.from_lines(lines)
        assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value))) == message

    def test_a_single_string_is_not_a_list_of_lines(self) -> None:
        with pytest.raises(TypeError, match=r"expected an iterable of lines, got the string 'INDEX\|a\|'"):
            DependencyGraph.from_lines("INDEX|a|")


def test_the_count_of_dependents_excludes_the_package_itself() -> None:
    graph = graph_of("INDEX|a|", "INDEX|a|a", "INDEX|b|a", "INDEX|c|a,b")
    assert [graph.dependent_count(name) for name in "abc"] == [2, 1, 0]
    with pytest.raises(KeyError):
        graph.dependent_count("missing")


class CountedLookUps(dict[str, str]):
    """A dictionary that fails when more is looked up in it than twice as often as it has entries."""

    def __init__(self, entries: dict[str, str]) -> None:
        super().__init__(entries)
        self.left = 2 * len(entries)

    def __getitem__(self, name: str) -> str:
        self.left -= 1
        assert self.left >= 0
        return super().__getitem__(name)


class TestTime:
    """On a ladder each rung doubles the number of paths: a search along each path would not end."""

    LENGTH = 200

    def ladder(self) -> DependencyGraph:
        rungs = [
            f"INDEX|{side}{n}|left{n - 1},right{n - 1}" for n in range(1, self.LENGTH) for side in ("left", "right")
        ]
        graph = graph_of("INDEX|left0|", "INDEX|right0|", *rungs, reject_cycles=True)
        graph._dependencies = CountedLookUps(graph._dependencies)
        return graph

    def test_a_cycle_is_searched_for_in_linear_time(self) -> None:
        graph = self.ladder()
        assert graph.index("x") is OK
        assert graph.index("x", [f"left{self.LENGTH - 1}"]) is OK
        assert graph.index("y", ["x"]) is OK
        # What it needs is walked down to the end, because the way back to it is not there.
        assert graph.index("x", [f"right{self.LENGTH - 1}"]) is OK
        graph._dependencies = CountedLookUps(graph._dependencies)
        assert graph.index("right0", ["y"]) is FAIL

    def test_the_lines_of_a_graph_take_linear_time(self) -> None:
        graph = self.ladder()
        assert len(list(graph.to_lines())) == 2 * self.LENGTH


class TestRejectCycles:
    def test_a_graph_that_has_an_order_can_be_pickled(self) -> None:
        graph = graph_of("INDEX|a|", "INDEX|b|a", reject_cycles=True)
        twin = pickle.loads(pickle.dumps(graph))
        assert twin == graph
        assert twin.index("a", ["b"]) is FAIL

    def test_a_long_cycle_is_found_without_recursion(self) -> None:
        graph = DependencyGraph(reject_cycles=True)
        length = 20_000
        graph.apply_lines(as_batch(["INDEX|0|", *(f"INDEX|{n}|{n - 1}" for n in range(1, length))]), Changes())
        assert len(graph) == length
        assert graph.index("0", [str(length - 1)]) is FAIL
        assert graph.index("x", [str(length - 1)]) is OK
        assert graph.index("0") is OK

    def test_a_cycle_that_was_loaded_may_be_indexed_again(self) -> None:
        graph = DependencyGraph.from_lists(["a", "b", "c"], ["b", "a", "c"])
        graph.reject_cycles = True
        assert graph.index("a", ["b"]) is OK
        assert graph.index("c", ["c"]) is OK
        assert graph.index("c", ["c", "a"]) is OK
        assert graph.index("a", ["b", "c"]) is FAIL
        assert graph.index("a") is OK
        assert graph.index("a", ["b"]) is FAIL

    def test_a_search_that_reaches_another_cycle_ends(self) -> None:
        graph = DependencyGraph.from_lists(["a", "b", "c", "d"], ["b", "a", "", "c"])
        graph.reject_cycles = True
        assert graph.index("c", ["a", "b"]) is OK
        assert graph.index("b", ["a", "d"]) is FAIL


def test_a_search_that_is_too_long_is_the_reason_of_a_refusal() -> None:
    graph = DependencyGraph.from_mapping({"c": [], "b": ["c"], "d": ["e"], "e": []}, reject_cycles=True)
    graph.search_limit = 2
    refusal = graph.explain(parse_request("INDEX|e|b"))
    assert refusal == SearchTooLong("e", 2)
    assert graph.explain(parse_request("INDEX|e|c")) is None
    assert graph.refused_searches == 0, "explaining makes no request"
    assert not graph.index("e", ["b"])
    assert graph.refused_searches == 1
