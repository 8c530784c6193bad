"""Small worlds, exhaustively: every state that three names can be in, every command in each, every short history."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product

import pytest

from scoop_core import Changes, DependencyGraph, decode_snapshot, encode_snapshot, parse_request

from tests.support.naive_index import NaiveIndex, contents_of

pytestmark = pytest.mark.any_python

NAMES = "abc"

State = tuple[str | None, ...]
"""The dependency list of each of the names, None where it is not indexed. The order of a list makes another state."""

NOTHING: State = (None, None, None)

with_and_without_cycles = pytest.mark.parametrize("reject_cycles", [False, True], ids=["cycles", "no cycles"])


def lists_over(names: str) -> list[str]:
    """Return every dependency list over some names, each name once, in rising and in falling order."""
    subsets = [subset for size in range(len(names) + 1) for subset in combinations(names, size)]
    return list(dict.fromkeys(",".join(order) for subset in subsets for order in (subset, subset[::-1])))


def commands_over(names: str, lists: list[str]) -> list[str]:
    indexes = [f"INDEX|{name}|{listed}" for name, listed in product(names, lists)]
    return [*indexes, *(f"{command}|{name}|" for command in ("REMOVE", "QUERY") for name in names)]


def as_batch(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def state_of(graph: DependencyGraph) -> State:
    return tuple(",".join(graph.dependencies(name)) if name in graph else None for name in NAMES)


def naive_of(state: State, *, reject_cycles: bool) -> NaiveIndex:
    lists = {name: listed for name, listed in zip(NAMES, state, strict=True) if listed is not None}
    dependencies = {name: frozenset(listed.split(",") if listed else ()) for name, listed in lists.items()}
    return NaiveIndex(dependencies, reject_cycles=reject_cycles)


def possible_states(*, reject_cycles: bool) -> Iterator[State]:
    """Yield every state in which all dependencies are indexed, and, where they are refused, none is on a cycle."""
    for state in product([None, *lists_over(NAMES)], repeat=len(NAMES)):
        naive = naive_of(state, reject_cycles=reject_cycles)
        pairs = [(name, dependency) for name, listed in naive.state.items() for dependency in listed]
        if any(dependency not in naive.state for _, dependency in pairs):
            continue
        if not (reject_cycles and any(naive.needs(dependency, name) for name, dependency in pairs)):
            yield state


@with_and_without_cycles
def test_every_command_in_every_state(reject_cycles: bool) -> None:
    commands = commands_over(NAMES, [*lists_over(NAMES), "a,a", "c,b,c", "missing", "a,missing"])
    histories: dict[State, list[str]] = {NOTHING: []}
    unexplored = [NOTHING]
    for state in unexplored:
        history = histories[state]
        batch = as_batch(history)
        before = naive_of(state, reject_cycles=reject_cycles)
        contents = before.contents()
        origin = DependencyGraph(reject_cycles=reject_cycles)
        origin.apply_lines(batch, Changes())
        for command in commands:
            graph, changes = origin.copy(), Changes()
            naive = NaiveIndex(before.state, reject_cycles=reject_cycles)
            assert graph.apply_lines(f"{command}\n", changes) == f"{naive.answer(command)}\n", (history, command)
            assert contents_of(graph) == naive.contents(), (history, command)
            assert len(changes) == (naive.state != before.state), (history, command)
            next_state = state_of(graph)
            if next_state not in histories:
                histories[next_state] = [*history, command]
                unexplored.append(next_state)
            graph.undo(changes)
            assert contents_of(graph) == contents, (history, command)
    # A name that is alone has 2 lists, one of two has 5, one of three has 12. Without cycles there are 25 graphs over
    # three names, 9 of which have a list of two names.
    assert len(histories) == (1 + 3 + 3 * 3 + (25 + 9) if reject_cycles else 1 + 3 * 2 + 3 * 5**2 + 12**3)
    assert histories.keys() == set(possible_states(reject_cycles=reject_cycles))


@with_and_without_cycles
def test_every_state_is_written_down_and_read_back(reject_cycles: bool) -> None:
    written: dict[frozenset[tuple[str, frozenset[str]]], list[str]] = {}
    for state in possible_states(reject_cycles=reject_cycles):
        naive = naive_of(state, reject_cycles=reject_cycles)
        graph = DependencyGraph(reject_cycles=reject_cycles)
        graph.apply_lines(as_batch([f"INDEX|{name}|" for name in naive.state]), Changes())
        lists = zip(NAMES, state, strict=True)
        graph.apply_lines(as_batch([f"INDEX|{name}|{listed}" for name, listed in lists if listed]), Changes())
        data, lines = b"".join(encode_snapshot(graph)), list(graph.to_lines())
        loaded = decode_snapshot(data, reject_cycles=reject_cycles)
        rebuilt = DependencyGraph(reject_cycles=reject_cycles)
        rebuilt.apply_lines(as_batch(lines), Changes())
        assert contents_of(graph) == contents_of(loaded) == contents_of(rebuilt) == naive.contents()
        assert graph == loaded == rebuilt
        assert DependencyGraph.from_lines(data.decode().splitlines()) == graph
        assert written.setdefault(frozenset(naive.state.items()), lines) == lines
    assert len(set(map(tuple, written.values()))) == len(written)


def check_every_history(commands: list[str], length: int, *, reject_cycles: bool) -> None:
    """Apply every sequence of ``length`` commands as one batch, to a new graph each, and compare all responses."""

    @cache
    def step(state: frozenset[tuple[str, frozenset[str]]], command: str) -> tuple[str, NaiveIndex]:
        naive = NaiveIndex(dict(state), reject_cycles=reject_cycles)
        return f"{naive.answer(command)}\n", naive

    def check(batch: str, answers: str, naive: NaiveIndex, left: int) -> None:
        if left:
            state = frozenset(naive.state.items())
            for command in commands:
                answer, next_naive = step(state, command)
                check(f"{batch}{command}\n", answers + answer, next_naive, left - 1)
        else:
            graph = DependencyGraph(reject_cycles=reject_cycles)
            assert graph.apply_lines(batch, Changes()) == answers, batch
            assert {name: frozenset(graph.dependencies(name)) for name in graph} == naive.state, batch

    check("", "", NaiveIndex(), length)


@with_and_without_cycles
def test_every_history_of_three_commands_over_three_names(reject_cycles: bool) -> None:
    commands = commands_over(NAMES, ["", "a", "b", "c", "a,b", "c,a", "b,c", "a,b,c"])
    check_every_history(commands, 3, reject_cycles=reject_cycles)


@with_and_without_cycles
@pytest.mark.parametrize("length", [4, pytest.param(5, marks=pytest.mark.campaign)])
def test_every_history_of_changes_over_two_names(reject_cycles: bool, length: int) -> None:
    commands = [command for command in commands_over("ab", ["", "a", "b", "b,a"]) if not command.startswith("QUERY")]
    check_every_history(commands, length, reject_cycles=reject_cycles)


def test_every_history_of_three_commands_over_two_names_one_message_at_a_time() -> None:
    commands = commands_over("ab", ["", "a", "b", "a,b", "b,a", "a,a"])
    for history in product(commands, repeat=3):
        graph, naive = DependencyGraph(), NaiveIndex()
        for command in history:
            assert graph.apply(parse_request(command)).value == naive.answer(command), history
        assert contents_of(graph) == naive.contents(), history
