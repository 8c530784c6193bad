"""The order of a graph that rejects cycles, against a naive model: graphs with cycles, searches in steps, undoing."""

from random import Random
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scoop_core import Changes, CycleSearch, DependencyGraph, graph_order

from tests.support.naive_index import NaiveIndex, contents_of

pytestmark = pytest.mark.any_python

NAMES = "abcdefgh"
names = st.sampled_from(NAMES)
SEEDS = 1_000
lists = st.lists(names, max_size=3, unique=True)
lines = st.one_of(
    st.builds(lambda package, listed: f"INDEX|{package}|{','.join(listed)}\n", names, lists),
    names.map(lambda package: f"REMOVE|{package}|\n"),
)


def check_order(graph: DependencyGraph) -> None:
    """Check that no package has a lower label than a dependency of it."""
    order = graph._order
    if order is not None:
        order.catch_up(graph._dependencies)
        assert order.labels.keys() == set(graph)
        for package in graph:
            for name in graph.dependencies(package):
                assert order.labels[name] <= order.labels[package]


def pending(graph: DependencyGraph, line: str, changes: Changes | None = None) -> tuple[CycleSearch, str]:
    """Apply ``line``; return the search that it needs, and the line."""
    part = graph.apply_lines_within(0, line, changes)
    assert part.search is not None
    return part.search, part.rest


def finish(graph: DependencyGraph, search: CycleSearch, rest: str) -> str:
    """Take the remaining steps of the search, and return the response to its line."""
    while search.step(1) is None:
        check_order(graph)
    return graph.apply_lines_within(0, rest).responses


class OrderAgainstModel(RuleBasedStateMachine):
    """Every line is answered by both, some after a search in steps while other lines change the graph."""

    @initialize(state=st.dictionaries(names, lists), is_crowded=st.booleans())
    def begin(self, state: dict[str, list[str]], is_crowded: bool) -> None:
        # With small gaps, moving one package soon moves others.
        self.gap = patch.object(graph_order, "_GAP", 3 if is_crowded else 1 << 36)
        self.gap.start()
        self.graph = DependencyGraph.from_mapping(state, add_missing=True)
        self.graph.reject_cycles = True
        self.naive = NaiveIndex({name: entry[0] for name, entry in contents_of(self.graph).items()}, reject_cycles=True)
        self.rests: list[str] = []
        self.searches: list[CycleSearch] = []

    def teardown(self) -> None:
        if hasattr(self, "gap"):
            self.gap.stop()

    def apply(self, text: str, budget: int) -> None:
        part = self.graph.apply_lines_within(budget, text)
        answered = text.split("\n")[: part.responses.count("\n")]
        assert part.responses.split() == [self.naive.answer(line) for line in answered]
        assert text.endswith(part.rest)
        assert (part.search is None) == (part.rest == "")
        if part.search is not None:
            self.rests.append(part.rest)
            self.searches.append(part.search)

    @rule(line=lines)
    def apply_whole(self, line: str) -> None:
        self.apply(line, 1_000_000)
        check_order(self.graph)

    @rule(line=lines)
    def apply_one(self, line: str) -> None:
        _, package, listed = line.strip().split("|")
        if line.startswith("INDEX"):
            answer = self.graph.index(package, listed.split(",") if listed else ())
        else:
            answer = self.graph.remove(package)
        assert answer.value == self.naive.answer(line.strip())

    @rule(some=st.lists(lines, max_size=5), budget=st.integers(0, 4))
    def apply_part(self, some: list[str], budget: int) -> None:
        self.apply("".join(some), budget)

    @precondition(lambda self: self.searches)
    @rule(data=st.data(), budget=st.integers(1, 3))
    def step(self, data: st.DataObject, budget: int) -> None:
        data.draw(st.sampled_from(self.searches)).step(budget)

    @precondition(lambda self: self.searches)
    @rule(data=st.data())
    def apply_rest(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.searches) - 1))
        search, rest = self.searches.pop(place), self.rests.pop(place)
        while search.step(3) is None:
            check_order(self.graph)
        listed = rest.split("\n")[0].split("|")[2].split(",")
        new = set(listed).difference(self.naive.state.get(search.package, ()))
        waiting = len(self.searches)
        self.apply(rest, 0)
        # The line has a result, unless the package was given other dependencies or the order is a new one.
        if new == search.names and search._order is self.graph._order:
            assert self.rests[waiting:] != [rest]

    @rule(data=st.data(), some=st.lists(lines, max_size=6), budget=st.integers(0, 20))
    def apply_and_undo(self, data: st.DataObject, some: list[str], budget: int) -> None:
        changes, order = Changes(), self.graph._current_order()
        for line in some:
            self.graph.apply_lines_within(budget, line, changes)
            check_order(self.graph)
            steps = data.draw(st.integers(0, 6))
            if self.searches and steps:
                self.step(data, steps)
        self.graph.undo(changes)
        assert self.graph._order is order

    @rule(some=st.lists(lines, max_size=3), later=st.lists(lines, max_size=3))
    def undo_out_of_order(self, some: list[str], later: list[str]) -> None:
        before = self.graph.copy()
        self.graph.apply_lines("".join(some), changes := Changes())
        self.graph.apply_lines("".join(later), last := Changes())
        try:
            self.graph.undo(changes)
        except ValueError:
            check_order(self.graph)
            self.graph.undo(last)
            self.graph.undo(changes)
        else:
            self.graph = before
            self.rests.clear()  # these searches belong to the other graph
            self.searches.clear()

    @invariant()
    def both_hold_the_same(self) -> None:
        assert contents_of(self.graph) == self.naive.contents()
        check_order(self.graph)


TestOrderAgainstModel = OrderAgainstModel.TestCase


def test_packages_inserted_at_one_place_again_and_again_are_moved_rarely() -> None:
    """Each package is put between the bottom and the one before it, so all gaps there are used up in turn."""
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|bottom|\nINDEX|top|bottom\nINDEX|user|top\n")
    random, cost, count = Random(0), 0, 2_000
    inside = ["top"]
    for number in range(count):
        upper = inside[-1] if random.random() < 0.9 else random.choice(inside)
        text = f"INDEX|{number}|bottom\nINDEX|{upper}|bottom,{number}\n"
        part = graph.apply_lines_within(1_000_000, text)
        assert part.responses == "OK\nOK\n"
        cost += part.cost
        inside.append(str(number))
    check_order(graph)
    assert cost < count * 20


def test_a_search_restarts_if_another_one_moves_its_package() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|q|\nINDEX|z|\nINDEX|p|\nINDEX|u|p,q\nINDEX|x|z\nINDEX|y|x\n")
    search, rest = pending(graph, "INDEX|p|y\n")
    assert search.step(5) is None  # x has been moved below p, and y has not
    assert graph.index("q", ["p"])
    check_order(graph)
    assert search.restarts == 1
    assert finish(graph, search, rest) == "OK\n"
    check_order(graph)


def test_random_steps_changes_and_undos_in_any_order_agree_with_the_model() -> None:
    """Few names and many turns: the searches see most packages, and most changes concern a search."""
    for seed in range(SEEDS):
        RandomTurns(Random(seed)).run()


class RandomTurns:
    """Turns that change a graph and are undone or not, between the steps of searches, driven by a seed."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.graph = DependencyGraph(reject_cycles=True)
        self.naive = NaiveIndex(reject_cycles=True)
        self.searches: list[tuple[CycleSearch, str]] = []

    def run(self) -> None:
        for name in NAMES[:5]:
            self.apply(f"INDEX|{name}|\n", None)
        for _ in range(12):
            before, changes = dict(self.naive.state), Changes()
            for _ in range(self.random.randrange(1, 5)):
                self.apply(self.line(), changes)
                self.step()
            if self.random.random() < 0.5:
                self.graph.undo(changes)
                self.naive.state = before
                check_order(self.graph)
                self.step()
            if self.searches and self.random.random() < 0.6:
                self.finish(*self.searches.pop(self.random.randrange(len(self.searches))))

    def line(self) -> str:
        package, *names = self.random.sample(NAMES[:5], self.random.randrange(1, 4))
        return f"REMOVE|{package}|\n" if self.random.random() < 0.1 else f"INDEX|{package}|{','.join(names)}\n"

    def apply(self, line: str, changes: Changes | None) -> bool:
        """Apply a line, or keep its search if it needs one; return whether it has been answered."""
        part = self.graph.apply_lines_within(0, line, changes)
        if part.search is None:
            assert part.responses.strip() == self.naive.answer(line.strip())
        else:
            self.searches.append((part.search, line))
        check_order(self.graph)
        return part.search is None

    def step(self) -> None:
        if self.searches and self.random.random() < 0.5:
            self.random.choice(self.searches)[0].step(self.random.randrange(1, 5))
            check_order(self.graph)

    def finish(self, search: CycleSearch, line: str) -> None:
        while search.step(2) is None:
            check_order(self.graph)
        new = {*line.strip().split("|")[2].split(",")}.difference(self.naive.state.get(search.package, ()))
        # The line has a result, unless the package was given other dependencies.
        assert self.apply(line, None) or new != search.names


def test_undoing_a_change_restarts_the_search_that_has_seen_its_package() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|c|\nINDEX|b|c\nINDEX|a|b\nINDEX|d|\nINDEX|user|c\n")
    graph.apply_lines("INDEX|b|\n", changes := Changes())
    search, rest = pending(graph, "INDEX|c|a,d\n", changes)
    while "b" not in search._visited:
        assert search.step(1) is None  # b no longer leads to c
    graph.undo(changes)
    assert search.restarts == 1
    assert finish(graph, search, rest) == "FAIL\n"


def test_a_cycle_is_moved_as_a_whole() -> None:
    graph = DependencyGraph.from_mapping({"b": ["c", "d"], "c": ["b"], "d": [], "a": [], "e": ["a"]})
    graph.reject_cycles = True
    search, rest = pending(graph, "INDEX|a|b\n")
    assert finish(graph, search, rest) == "OK\n"


def test_a_search_uses_the_path_that_another_one_has_found() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|a|\nINDEX|b|a\n")
    first, second = (pending(graph, "INDEX|a|b\n")[0] for _ in range(2))
    assert (first.step(9), second.step(0)) == (True, True)


def test_undoing_a_change_makes_a_path_that_it_closed_unknown() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|a|\nINDEX|b|\nINDEX|d|a,b\n")
    graph.apply_lines("INDEX|b|a\n", changes := Changes())
    search, _ = pending(graph, "INDEX|a|b\n", changes)
    assert search.step(9) is True
    graph.undo(changes)
    assert graph.index("a", ["b"])


def test_a_search_without_a_path_is_repeated_after_its_moves_are_undone() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines_within(9, "INDEX|a|\nINDEX|user|a\nINDEX|b|\n")
    search, rest = pending(graph, "INDEX|a|b\n")
    graph.apply_lines_within(9, "INDEX|c|\n", changes := Changes())
    assert search.step(9) is False
    graph.undo(changes)
    assert search.step(9) is False
    assert graph.apply_lines_within(0, rest).responses == "OK\n"


def test_a_search_ends_if_the_graph_needs_a_new_order() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|a|\nINDEX|b|\nINDEX|user|a\n")
    search, rest = pending(graph, "INDEX|a|b\n")
    graph.apply_lines("INDEX|c|\n", changes := Changes())
    graph.apply_lines("INDEX|d|\n")
    graph.undo(changes)  # not the last change
    graph.apply_lines("INDEX|e|\nINDEX|b|e\n")
    assert (search.step(1), search.result) == (False, False)
    assert graph.apply_lines_within(9, rest).responses == "OK\n"


def test_a_search_finds_a_dependency_that_was_removed_and_indexed_again() -> None:
    graph = DependencyGraph(reject_cycles=True)
    graph.apply_lines("INDEX|a|\nINDEX|b|\nINDEX|user|a\n")
    search, rest = pending(graph, "INDEX|a|b\n")
    for line in ("REMOVE|b|\n", "INDEX|b|\n"):
        graph.apply_lines(line)
        assert search.step(9) is False
    assert graph.apply_lines_within(0, rest).responses == "OK\n"


def test_many_new_dependencies_are_looked_up_in_steps() -> None:
    graph = DependencyGraph(reject_cycles=True)
    new = [f"new-{number}" for number in range(20)]
    graph.apply_lines("".join(f"INDEX|{name}|\n" for name in new) + "INDEX|a|\nINDEX|user|a\n")
    search, rest = pending(graph, f"INDEX|a|{','.join(new)},user\n")
    steps = 1
    while search.step(1) is None:
        check_order(graph)
        steps += 1
    assert steps > len(new)
    assert graph.apply_lines_within(0, rest).responses == "FAIL\n"


def test_a_graph_that_accepts_cycles_keeps_no_order_that_could_go_out_of_date() -> None:
    graph = DependencyGraph.from_mapping({"b": [], "a": ["b"]})
    assert graph.apply_lines_within(0, "INDEX|a|\nINDEX|b|a\n").responses == "OK\nOK\n"
    graph.reject_cycles = True
    assert graph.apply_lines("INDEX|a|b\n") == "FAIL\n"
