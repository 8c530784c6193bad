"""DependencyGraph against a naive model, by random steps."""

from contextlib import nullcontext

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scoop_core import (
    Changes,
    Command,
    DependencyGraph,
    GraphEvent,
    IndexedGraph,
    Request,
    RequestRefused,
    UnknownPackage,
    decode_snapshot,
    encode_snapshot,
    parse_name,
    parse_names,
)

from tests.support.naive_index import NaiveIndex, contents_of
from tests.support.strategies import NAMES, batches, dependency_lists, names


class GraphAgainstModel(RuleBasedStateMachine):
    """Both take every step, and must answer alike and have the same contents after it."""

    @initialize(reject_cycles=st.booleans())
    def begin(self, reject_cycles: bool) -> None:
        self.graph = self.adopt(DependencyGraph(reject_cycles=reject_cycles))
        self.naive = NaiveIndex(reject_cycles=reject_cycles)

    def adopt(self, graph: DependencyGraph) -> DependencyGraph:
        """Return the graph to continue with, equal to ``graph``."""
        return graph

    def twin(self) -> DependencyGraph:
        """Return an equal graph with another history."""
        data = b"".join(encode_snapshot(self.graph))
        # Every line is answered OK: each package comes after its dependencies.
        assert DependencyGraph.from_lines(data.decode().splitlines()) == self.graph
        return decode_snapshot(data, reject_cycles=self.graph.reject_cycles)

    @rule(package=names, dependencies=dependency_lists)
    def index(self, package: str, dependencies: list[str]) -> None:
        assert self.graph.index(package, dependencies).value == self.naive.index(package, frozenset(dependencies))

    @rule(package=names, data=st.data())
    def index_on_what_is_there(self, package: str, data: st.DataObject) -> None:
        present = sorted(self.naive.state)
        dependencies = data.draw(st.lists(st.sampled_from(present), max_size=4) if present else st.just([]))
        assert self.graph.index(package, dependencies).value == self.naive.index(package, frozenset(dependencies))

    @rule(package=names, dependency=names, is_added=st.booleans())
    def change_one_dependency(self, package: str, dependency: str, is_added: bool) -> None:
        change = self.graph.add_dependency if is_added else self.graph.remove_dependency
        if package not in self.naive.state:
            with pytest.raises(UnknownPackage):
                change(package, dependency)
            return
        before, changes = self.graph.copy(), Changes()
        wanted = self.naive.state[package].union([dependency]) if is_added else self.naive.state[package] - {dependency}
        assert change(package, dependency, changes).value == self.naive.index(package, wanted)
        self.check_changes(before, changes)

    @rule(package=names, dependencies=dependency_lists, is_undone=st.booleans())
    def index_and_undo(self, package: str, dependencies: list[str], is_undone: bool) -> None:
        before, changes = self.graph.copy(), Changes()
        self.graph.index(package, dependencies, changes)
        self.graph.remove(package, changes)
        self.check_changes(before, changes)
        if is_undone:
            self.graph.undo(changes)
            assert self.graph == before
        else:
            self.naive.index(package, frozenset(dependencies))
            self.naive.remove(package)

    @rule(requests=st.lists(st.tuples(st.booleans(), names, dependency_lists), max_size=4), has_bug=st.booleans())
    def transaction(self, requests: list[tuple[bool, str, list[str]]], has_bug: bool) -> None:
        naive = NaiveIndex(self.naive.state, reject_cycles=self.graph.reject_cycles)
        answers = [
            naive.index(name, frozenset(names)) if is_index else naive.remove(name)
            for is_index, name, names in requests
        ]
        before = self.graph.copy()
        error = RequestRefused if "FAIL" in answers else ZeroDivisionError if has_bug else None
        with pytest.raises(error) if error else nullcontext(), self.graph.transaction() as transaction:
            for is_index, name, listed in requests:
                transaction.index(name, listed) if is_index else transaction.remove(name)
            if has_bug:
                raise ZeroDivisionError
        if error:
            assert self.graph == before
        else:
            self.check_changes(before, transaction.changes)
            self.naive = naive

    def check_changes(self, before: DependencyGraph, changes: Changes) -> None:
        """Check that the entries lead from ``before`` to the graph."""
        state = dict(before.to_mapping())
        for package, former, wanted in changes.entries:
            known = state.pop(package, None)
            assert (known is None, set(known or ())) == (former is None, set(former or ()))
            if wanted is not None:
                state[package] = wanted
        assert DependencyGraph.from_mapping(state) == self.graph

    @rule(package=names)
    def remove(self, package: str) -> None:
        assert self.graph.remove(package).value == self.naive.remove(package)

    @rule(package=names)
    def query(self, package: str) -> None:
        assert self.graph.query(package).value == self.naive.query(package)

    @rule(command=st.sampled_from(Command), package=names, dependencies=dependency_lists)
    def apply(self, command: Command, package: str, dependencies: list[str]) -> None:
        listed = ",".join(dependencies)
        answer = self.graph.apply(Request(command, parse_name(package), parse_names(listed)))
        assert answer.value == self.naive.answer(f"{command}|{package}|{listed}")

    @rule(batch=batches)
    def apply_batch(self, batch: str) -> None:
        before, changes = self.twin(), Changes()
        answers = self.graph.apply_lines(batch, changes)
        assert answers.split() == [self.naive.answer(line) for line in batch.split("\n")[:-1]]
        # The changes alone lead an equal graph to an equal graph, and each of them is one.
        repeated = Changes()
        assert before.apply_lines("".join(f"{line}\n" for line in changes.lines), repeated) == "OK\n" * len(changes)
        assert repeated.lines == changes.lines
        assert before == self.graph

    @rule(batch=batches)
    def apply_batch_and_undo(self, batch: str) -> None:
        changes = Changes()
        self.graph.apply_lines(batch, changes)
        self.graph.undo(changes)

    @rule(texts=st.lists(batches, max_size=4))
    def apply_batches(self, texts: list[str]) -> None:
        answers = self.graph.apply_batches(texts)
        assert "".join(answers).split() == [self.naive.answer(line) for text in texts for line in text.split("\n")[:-1]]

    @rule(some=st.lists(batches, min_size=2, max_size=4), place=st.integers(0, 3))
    def undo_out_of_order(self, some: list[str], place: int) -> None:
        before, made = self.graph.copy(), []
        for batch in some:
            self.graph.apply_lines(batch, changes := Changes())
            made.append(changes)
        chosen = made.pop(place % len(made))
        after = contents_of(self.graph)
        try:
            self.graph.undo(chosen)
        except ValueError:
            assert contents_of(self.graph) == after
            made.insert(place % (len(made) + 1), chosen)
            for changes in reversed(made):
                self.graph.undo(changes)
        else:
            naive = NaiveIndex({name: names for name, (names, _) in contents_of(self.graph).items()})
            assert contents_of(self.graph) == naive.contents()
            if before.reject_cycles:
                assert self.graph.cyclic_components() == ()
            for request in self.graph.diff(before):
                assert self.graph.apply(request)
        assert self.graph == before

    @rule()
    def round_trip(self) -> None:
        twin = self.twin()
        assert twin == self.graph
        self.graph = self.adopt(twin)

    @rule()
    def rebuild(self) -> None:
        rebuilt = DependencyGraph()
        lines = [f"{line}\n" for line in self.graph.to_lines()]
        assert rebuilt.apply_lines("".join(lines), Changes()) == "OK\n" * len(lines)
        assert rebuilt == self.graph

    @invariant()
    def both_hold_the_same(self) -> None:
        assert contents_of(self.graph) == self.naive.contents()
        assert len(self.graph) == len(self.naive.state)
        assert [name in self.graph for name in NAMES] == [name in self.naive.state for name in NAMES]
        assert all(len(set(listed)) == len(listed) for listed in map(self.graph.dependencies, self.graph))


class IndexedGraphAgainstModel(GraphAgainstModel):
    """The same for a graph with a reverse index, whose changes an observer must be able to repeat."""

    def adopt(self, graph: DependencyGraph) -> DependencyGraph:
        indexed = IndexedGraph.from_graph(graph)
        self.followed = dict(indexed.to_mapping())
        indexed.subscribe(self.follow)
        return indexed

    def follow(self, event: GraphEvent) -> None:
        for package, before, after in event.changes:
            known = self.followed.pop(package, None)
            assert (known is None) == (before is None)
            assert set(known or ()) == set(before or ())
            if after is not None:
                self.followed[package] = after

    @invariant()
    def the_index_and_the_observer_are_up_to_date(self) -> None:
        plain = self.graph.dependents_by_package()
        assert {name: self.graph.dependents(name) for name in self.graph} == plain
        assert {name: set(names) for name, names in self.followed.items()} == {
            name: set(names) for name, names in self.graph.to_mapping().items()
        }


TestGraphAgainstModel = GraphAgainstModel.TestCase
TestIndexedGraphAgainstModel = IndexedGraphAgainstModel.TestCase
