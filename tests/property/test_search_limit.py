"""A graph with a search limit, against a naive model, and beside one that was loaded from a snapshot on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph, decode_snapshot, encode_snapshot, parse_request

from tests.support.graph_strategies import NAMES
from tests.support.naive_index import NaiveIndex, contents_of

pytestmark = pytest.mark.any_python

names = st.sampled_from(NAMES)
lines = st.one_of(
    st.builds(
        lambda package, listed: f"INDEX|{package}|{','.join(listed)}",
        names,
        st.lists(names, max_size=3, unique=True),
    ),
    names.map(lambda package: f"REMOVE|{package}|"),
)


def limited(limit: int, graph: DependencyGraph | None = None) -> DependencyGraph:
    graph = graph or DependencyGraph(reject_cycles=True)
    graph.search_limit = limit
    return graph


@given(some=st.lists(lines, max_size=40), limit=st.integers(1, 12))
def test_a_response_depends_on_the_dependencies_alone(some: list[str], limit: int) -> None:
    graph, naive = limited(limit), NaiveIndex(reject_cycles=True, search_limit=limit)
    for line in some:
        refusal = graph.explain(parse_request(line))
        response = naive.answer(line)
        assert graph.apply_lines(f"{line}\n") == f"{response}\n"
        assert (refusal is None) == (response == "OK")
    assert contents_of(graph) == naive.contents()


@given(some=st.lists(st.lists(lines, max_size=8), max_size=8), limit=st.integers(1, 12))
def test_a_graph_from_a_snapshot_answers_the_same_lines_within_a_budget(some: list[list[str]], limit: int) -> None:
    graph = limited(limit)
    for entry in some:
        data = b"".join(encode_snapshot(graph))
        loaded = limited(limit, decode_snapshot(data, reject_cycles=True))
        text = "".join(f"{line}\n" for line in entry)
        naive = NaiveIndex({name: each for name, (each, _) in contents_of(graph).items()}, reject_cycles=True)
        naive.search_limit, cost, answered = limit, 0, list[str]()
        for line in entry:
            _, package, listed = line.split("|")
            dependencies = frozenset(listed.split(",")) if listed else frozenset[str]()
            if line[0] == "I" and dependencies <= naive.state.keys():
                line_cost = naive.search_cost(package, dependencies)
                if line_cost and cost and cost + line_cost > limit:
                    break
                cost += line_cost
            answered.append(naive.answer(line))
        part = graph.apply_lines_within(limit, text)
        assert part == loaded.apply_lines_within(limit, text)
        assert part.responses.split() == answered
        assert part.rest == "".join(f"{line}\n" for line in entry[len(answered) :])
        assert contents_of(graph) == contents_of(loaded) == naive.contents()
