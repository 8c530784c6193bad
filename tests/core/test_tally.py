"""Counting requests by command and response."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scoop_core import DependencyGraph, IndexedGraph, Tally

LINES = st.lists(
    st.one_of(
        st.builds(
            "{}|{}|{}".format,
            st.sampled_from(["INDEX", "REMOVE", "QUERY", "BLINDEX"]),
            st.sampled_from("abc "),
            st.sampled_from(["", "a", "b,c", "a,,b"]),
        ),
        st.sampled_from(["", "QUERY|a", "|||", "QUERY|a|", "QUERY|a|"]),
    )
)


def counted(tally: Tally) -> Counter[tuple[str, str]]:
    return +Counter({(command, str(response)): count for command, response, count in tally})


def test_an_empty_tally_lists_every_possible_pair() -> None:
    tally = Tally()
    assert counted(tally) == Counter()
    assert [(command, str(response)) for command, response, _ in tally] == [
        *((command, response) for command in ("INDEX", "REMOVE", "QUERY") for response in ("OK", "FAIL", "ERROR")),
        ("unknown", "ERROR"),
    ]
    assert repr(tally) == "<Tally: 0 requests>"


@given(LINES, st.integers(1, 5))
def test_batches_count_like_their_lines_one_by_one(lines: list[str], size: int) -> None:
    graph, tally = DependencyGraph(), Tally()
    expected: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(lines), size):
        batch = lines[start : start + size]
        answers = graph.apply_lines("".join(f"{line}\n" for line in batch), tally=tally).split()
        for line, answer in zip(batch, answers, strict=True):
            command = line.split("|")[0] if line.count("|") == 2 else "unknown"
            expected[command if command in {"INDEX", "REMOVE", "QUERY"} else "unknown", answer] += 1
    assert counted(tally) == expected


def test_batches_of_queries_and_mixed_ones_add_up() -> None:
    graph, tally = DependencyGraph.from_mapping({"a": [], "b": []}), Tally()
    for _ in range(2):
        graph.apply_lines("QUERY|a|\nQUERY|b|\nQUERY|a|\n", tally=tally)
        graph.apply_batches(["QUERY|b|\n", "QUERY|a|\n"], tally=tally)
        graph.apply_lines("QUERY|b|\n", tally=tally)
        graph.apply_lines("INDEX|c|\nQUERY|a|\nQUERY|d|\nREMOVE|c|\n", tally=tally)
    assert counted(tally) == {("QUERY", "OK"): 14, ("INDEX", "OK"): 2, ("QUERY", "FAIL"): 2, ("REMOVE", "OK"): 2}
    assert repr(tally) == "<Tally: 20 requests>"


def test_a_graph_with_an_index_counts_too() -> None:
    graph, tally = IndexedGraph(), Tally()
    graph.apply_lines("INDEX|a|\nQUERY|b|\n", tally=tally)
    graph.apply_lines_within(1, "INDEX|b|a\nQUERY|c|\n", tally=tally)
    graph.apply_batches(["INDEX|c|\n", "QUERY|d|\n"], tally=tally)
    assert counted(tally) == {("INDEX", "OK"): 3, ("QUERY", "FAIL"): 3}


def test_a_request_whose_search_is_pending_is_not_counted() -> None:
    graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["c"], "c": []}, reject_cycles=True)
    part = graph.apply_lines_within(1, "INDEX|x|\nINDEX|y|\nINDEX|z|\nINDEX|c|a\n", tally=(tally := Tally()))
    assert part.rest == "INDEX|c|a\n"
    assert counted(tally) == Counter({("INDEX", "OK"): 3})
