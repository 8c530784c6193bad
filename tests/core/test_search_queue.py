"""The queue of searches for cycles. tests/server/index has the tests with a server's index around it."""

from scoop_core import DependencyGraph, SearchQueue


def test_the_client_whose_searches_have_cost_less_comes_first() -> None:
    chain = {str(number): [str(number - 1)] if number else [] for number in range(40)}
    graph = DependencyGraph.from_mapping(chain, reject_cycles=True)
    queue = SearchQueue[str](slice_visits=20)
    taken = queue.add([("dear", "INDEX|0|39\nINDEX|1|39\n"), ("cheap", "INDEX|2|39\n"), ("free", "QUERY|7|\n")])
    complete: list[tuple[str, str | None]] = []
    while taken or queue.is_pending:
        parts = [graph.apply_lines_within(0 if len(taken) > 1 else 20, each.rest) for each in taken]
        complete += [(client, responses) for client, _, responses in queue.settle(taken, parts)]
        taken = queue.advance()
    assert complete == [("free", "OK\n"), ("cheap", "FAIL\n"), ("dear", "FAIL\nFAIL\n")]
