"""The batch API against the one-message API: the same responses and the same changes for every text.

The shortcuts of apply_lines, which compares texts instead of names, must not change a response.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    Changes,
    Command,
    DependencyGraph,
    MalformedRequest,
    Tally,
    decode_snapshot,
    encode_request,
    encode_snapshot,
    parse_request,
)

from tests.support.naive_index import NaiveIndex, contents_of
from tests.support.strategies import NAMES, batches, lines, query_lines, runs_of_queries, well_formed_lines


def one_by_one(graph: DependencyGraph, batch: str) -> tuple[str, list[str]]:
    """Return the responses of the one-message API to a batch, and the requests that changed the graph."""
    answers, changed = [], []
    for line in batch.split("\n")[:-1]:
        # The parser takes a line as it came; in a batch, its end has been taken off already.
        try:
            request = parse_request(f"{line}\r")
        except MalformedRequest:
            answers.append("ERROR\n")
            continue
        before = contents_of(graph)
        answers.append(f"{graph.apply(request).value}\n")
        if contents_of(graph) != before:
            written = encode_request(request).removesuffix("\n")
            changed.append(f"REMOVE|{request.package}|" if request.command is Command.REMOVE else written)
    return "".join(answers), changed


def twin_of(graph: DependencyGraph) -> DependencyGraph:
    return decode_snapshot(b"".join(encode_snapshot(graph)), reject_cycles=graph.reject_cycles, trust_checksum=True)


def check(graph: DependencyGraph, batch: str) -> None:
    """Apply ``batch`` in every way, and compare answers, changes and graphs; leave ``graph`` as it is then."""
    before, other, repeated = contents_of(graph), twin_of(graph), twin_of(graph)
    naive = NaiveIndex({name: entry[0] for name, entry in before.items()}, reject_cycles=graph.reject_cycles)
    changes = Changes()
    answers = graph.apply_lines(batch, changes)
    after = contents_of(graph)

    assert (answers, changes.lines) == one_by_one(other, batch)
    assert answers == "".join(f"{naive.answer(line)}\n" for line in batch.split("\n")[:-1])
    assert after == contents_of(other) == naive.contents()
    assert graph == other

    assert len(changes.lines) == len(changes.previous) == len(changes)
    assert repeated.apply_lines("".join(f"{line}\n" for line in changes.lines), Changes()) == "OK\n" * len(changes)
    assert contents_of(repeated) == after

    graph.undo(changes)
    assert contents_of(graph) == before
    assert graph.apply_lines(batch, Changes()) == answers
    assert contents_of(graph) == after


@st.composite
def graphs(draw: st.DrawFn) -> DependencyGraph:
    """Graphs of many shapes, with the texts that a history of INDEX lines leaves."""
    graph = DependencyGraph(reject_cycles=draw(st.booleans()))
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        graph.index(name)
    for line in draw(st.lists(well_formed_lines, max_size=12)):
        graph.apply(parse_request(line))
    return graph


@given(graph=graphs(), batch=batches)
def test_any_batch(graph: DependencyGraph, batch: str) -> None:
    check(graph, batch)


@given(graph=graphs(), some=st.lists(well_formed_lines, max_size=20))
def test_a_batch_of_well_formed_lines(graph: DependencyGraph, some: list[str]) -> None:
    check(graph, "".join(f"{line}\n" for line in some))


@given(graph=graphs(), some=st.lists(lines, max_size=8), data=st.data())
def test_any_batch_in_any_two_parts(graph: DependencyGraph, some: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(some)))
    whole, first, second = ("".join(f"{line}\n" for line in part) for part in (some, some[:place], some[place:]))
    other, changes, other_changes = twin_of(graph), Changes(), Changes()
    parts = graph.apply_lines(first, changes) + graph.apply_lines(second, changes)
    assert parts == other.apply_lines(whole, other_changes)
    assert changes.lines == other_changes.lines
    assert graph == other


@given(graph=graphs(), batch=runs_of_queries())
@example(DependencyGraph(), "QUERY|\n")
@example(DependencyGraph(), "QUERY|a|\n")
@example(DependencyGraph(), "QUERY|a|\nQUERY|\n")
@example(DependencyGraph(), "QUERY||\nQUERY||\n")
@example(DependencyGraph(), "QUERY|a|\n|\nQUERY|b|\n")
def test_a_run_of_queries(graph: DependencyGraph, batch: str) -> None:
    check(graph, batch)


@given(count=st.integers(1, 6), place=st.integers(0, 5), intruder=lines | query_lines)
def test_a_run_of_queries_for_indexed_packages_with_one_intruder(count: int, place: int, intruder: str) -> None:
    graph = DependencyGraph()
    for name in NAMES[:4]:
        graph.index(name)
    some = [f"QUERY|{NAMES[number % 4]}|" for number in range(count)]
    some.insert(place % (count + 1), intruder)
    check(graph, "".join(f"{line}\n" for line in some))


QUERIES = "QUERY|a|\nQUERY|b|\nQUERY|ab|\n"


@pytest.mark.parametrize("present", [["a", "b", "ab"], ["a", "b"], ["ab"], []], ids=",".join)
def test_a_run_of_queries_with_every_cut_and_every_character_in_every_place(present: list[str]) -> None:
    graph = DependencyGraph()
    for name in present:
        graph.index(name)
    for start in range(len(QUERIES)):
        damaged = [QUERIES[:start] + QUERIES[end:] for end in range(start, len(QUERIES))]
        damaged += [QUERIES[:start] + added + QUERIES[start:] for added in "|\n,\rab QUERY"]
        damaged += [QUERIES[:start] + added + QUERIES[start + 1 :] for added in "|\n,\rab QUERY"]
        for text in damaged:
            if text.endswith("\n"):
                expected, _ = one_by_one(graph, text)
                assert graph.apply_lines(text, Changes()) == expected


@given(
    graph=graphs(), package=st.sampled_from(NAMES), names=st.lists(st.sampled_from(NAMES), max_size=4), data=st.data()
)
def test_the_same_list_again_reordered_and_with_names_twice(
    graph: DependencyGraph, package: str, names: list[str], data: st.DataObject
) -> None:
    batch = []
    for _ in range(data.draw(st.integers(2, 5))):
        doubled = names + data.draw(st.lists(st.sampled_from(names), max_size=2) if names else st.just([]))
        batch.append(f"INDEX|{package}|{','.join(data.draw(st.permutations(doubled)))}\n")
    check(graph, "".join(batch))


@given(st.text(max_size=60))
def test_any_text_is_answered_line_by_line(text: str) -> None:
    graph = DependencyGraph()
    graph.index("a")
    check(graph, f"{text}\n")


@given(graph=graphs(), texts=st.lists(st.one_of(batches, lines.map("{}\n".format), query_lines.map("{}\n".format))))
def test_several_texts_together_or_one_by_one(graph: DependencyGraph, texts: list[str]) -> None:
    other, changes, other_changes, tally, other_tally = graph.copy(), Changes(), Changes(), Tally(), Tally()
    answers = graph.apply_batches(texts, changes, tally)
    assert answers == [other.apply_lines(text, other_changes, other_tally) for text in texts]
    assert (changes.lines, changes.previous) == (other_changes.lines, other_changes.previous)
    assert list(tally) == list(other_tally)
    assert contents_of(graph) == contents_of(other)
    assert graph.apply_batches(texts) == [other.apply_lines(text) for text in texts]


@pytest.mark.parametrize("texts", [["QUERY|a|"], ["INDEX|b|\n", "INDEX|c|"], ["QUERY|a|", "\nQUERY|a|\n"]])
def test_a_text_without_a_newline_at_its_end_is_an_error(texts: list[str]) -> None:
    graph = DependencyGraph.from_mapping({"a": []})
    with pytest.raises(ValueError, match="no newline"):
        graph.apply_batches(texts)
