"""The queue of searches for cycles: slices, restarts, long texts, and the order of clients."""

import pytest

from scoop_core import DependencyGraph, QueuedText, SearchQueue
from scoop_core.search_queue import HELD_BYTES_MAX, LONG_BYTES, RESTARTS_MAX

CHAIN = 40
"""Each package of the chain depends on the one before it."""

CLOSING = f"INDEX|0|{CHAIN - 1}\n"
"""Answered FAIL after a search of the whole chain, about 80 visits."""

Responses = list[tuple[str, str, str | None]]


class Queue:
    """A queue, and the graph of a chain to which it applies texts. Clients are names."""

    def __init__(self, slice_visits: int = 20) -> None:
        chain = {str(number): [str(number - 1)] if number else [] for number in range(CHAIN)}
        self.graph = DependencyGraph.from_mapping(chain, reject_cycles=True)
        self._queue = SearchQueue[str](slice_visits)
        self.slices = 0

    @property
    def is_pending(self) -> bool:
        return self._queue.is_pending

    def execute(self, **texts: str) -> Responses:
        return self._apply(self._queue.add(texts.items()))

    def completed(self) -> Responses:
        self.slices += 1
        return self._apply(self._queue.advance())

    def _apply(self, taken: list[QueuedText[str]]) -> Responses:
        visits = self._queue.slice_visits // (len(taken) or 1)
        return self._queue.settle(taken, [self.graph.apply_lines_within(visits, each.rest) for each in taken])

    def complete(self) -> Responses:
        """Do slices until nothing is pending; return the responses in their order."""
        responses: Responses = []
        for _ in range(10_000):
            if not self.is_pending:
                return responses
            responses += self.completed()
        raise AssertionError("a search does not end")


def test_a_slice_visits_no_more_than_it_may() -> None:
    queue = Queue()
    queue.execute(a=CLOSING)
    queue.complete()
    assert queue.slices >= 2 * CHAIN / 20


def test_a_cheaper_clients_change_comes_first_and_restarts_the_search() -> None:
    queue = Queue()
    queue.execute(a=CLOSING)
    queue.completed()
    queue.completed()
    assert queue.execute(b=f"INDEX|{CHAIN // 2}|\n")[0][2] == "OK\n"
    assert queue.complete() == [("a", CLOSING, "OK\n")]
    assert queue.graph.dependencies("0") == (str(CHAIN - 1),)
    assert queue.graph.cyclic_components() == ()


def test_a_change_elsewhere_does_not_restart_the_search() -> None:
    queue = Queue()
    queue.execute(a=CLOSING)
    queue.completed()
    while queue.is_pending:
        queue.execute(b="INDEX|x|\nINDEX|x|0\nREMOVE|x|\n")
        queue.completed()
    assert queue.slices <= 2 * CHAIN / 20 + 1


def test_after_some_restarts_changes_wait_for_the_search_and_queries_do_not() -> None:
    queue = Queue()
    queue.execute(a=f"QUERY|0|\n{CLOSING}")
    for number in range(1, RESTARTS_MAX + 3):
        queue.completed()
        responses = queue.execute(b=f"INDEX|x|\nINDEX|{CHAIN - 2}|{CHAIN - 3}{',x' * (number % 2)}\n", c="QUERY|0|\n")
        if len(responses) == 1:
            break
    else:
        raise AssertionError("the search is restarted without end")
    assert responses == [("c", "QUERY|0|\n", "OK\n")]
    assert [(client, answers) for client, _, answers in queue.complete()] == [("a", "OK\nFAIL\n"), ("b", "OK\nOK\n")]


def test_long_requests_that_waited_for_the_search_are_executed_a_few_per_turn() -> None:
    queue = Queue()
    queue.execute(a=CLOSING)
    while queue.execute(b=f"INDEX|x|\nINDEX|{CHAIN - 2}|{CHAIN - 3}{',x' * (queue.slices % 2)}\n"):
        queue.completed()
    text = "INDEX|y|\n" * (HELD_BYTES_MAX // 20)  # a little less than half of what a turn executes
    assert queue.execute(c=text, d=text, e=text) == []
    executed = []
    while queue.is_pending:
        if clients := [client for client, _, _ in queue.completed()]:
            executed.append(clients)
    assert executed == [["a"], ["b", "c", "d"], ["e"]]


def test_a_search_looks_up_many_names_in_slices() -> None:
    queue = Queue(slice_visits=2)
    names = ",".join(map(str, range(1, CHAIN)))
    assert queue.execute(a=f"INDEX|0|{names}\n") == []
    assert [answers for _, _, answers in queue.complete()] == ["FAIL\n"]
    assert queue.slices > CHAIN / 2


def test_a_long_request_waits_while_a_search_is_pending() -> None:
    """A turn parses a long list, or does a slice, and not both."""
    queue = Queue()
    assert queue.execute(a=CLOSING) == []
    lines = "INDEX|x|\n" * LONG_BYTES
    replies = queue.execute(long=lines, short="INDEX|y|\n", queries="QUERY|x|\n" * LONG_BYTES)
    assert {client for client, _, _ in replies} == {"short", "queries"}
    assert ("long", "OK\n" * LONG_BYTES) in [(client, answers) for client, _, answers in queue.complete()]
    assert queue.execute(long=lines) != []


def test_long_requests_of_one_turn_are_executed_a_few_per_turn() -> None:
    queue = Queue()
    long = "INDEX|long|\n" * (HELD_BYTES_MAX // 24)
    requests = {f"c{number}": f"INDEX|{number + CHAIN}|\n" + long for number in range(5)}
    responses = queue.execute(short="INDEX|short|\n", **requests)
    assert [client for client, _, _ in responses] == ["short", "c0"]
    for number in range(1, 5):
        assert [client for client, _, _ in queue.completed()] == [f"c{number}"]
    assert not queue.is_pending


def test_the_client_whose_searches_have_cost_least_comes_first() -> None:
    queue = Queue()
    queue.execute(a=CLOSING, b=CLOSING.replace("0", "1", 1), c=CLOSING.replace("0", "2", 1))
    order: list[str] = []
    while len(order) < 5:
        for client, _, _ in queue.completed():
            order.append(client)
            if client == "a":  # wants more, and another client has not wanted anything before
                queue.execute(a=CLOSING.replace("0", "3", 1))
            if order == ["a"]:
                queue.execute(d=CLOSING.replace("0", "4", 1))
    assert (order[0], set(order[1:4]), order[4]) == ("a", {"b", "c", "d"}, "a")


def test_costs_are_forgotten_when_nothing_is_pending() -> None:
    queue = Queue()
    queue.execute(a=CLOSING)
    queue.complete()
    queue.execute(a=CLOSING.replace("0", "1", 1), b=CLOSING.replace("0", "2", 1))
    assert [client for client, _, _ in queue.complete()] == ["a", "b"]


def test_new_clients_do_not_starve_one_that_has_cost_more() -> None:
    queue = Queue()
    queue.execute(a=CLOSING + CLOSING.replace("0", "1", 1))
    completed: list[str] = []
    while "a" not in completed and queue.slices < 2_000:
        queue.execute(**{f"new{queue.slices}": CLOSING.replace("0", str(queue.slices % 30 + 2), 1)})
        completed += [client for client, _, _ in queue.completed()]
    assert "a" in completed


def test_a_short_search_waits_for_a_slice_of_each_long_one_that_was_there_before() -> None:
    queue = Queue(slice_visits=22)
    attackers = {f"attacker{number}": CLOSING.replace("0", str(number), 1) for number in range(10)}
    queue.execute(**attackers, healthy=f"INDEX|{CHAIN - 6}|{CHAIN - 1}\n")
    completed = [client for _ in range(2 * 10 + 1) for client, _, _ in queue.completed()]
    assert completed[-1] == "healthy"
    assert len(queue.complete()) > 5


def test_the_same_question_is_answered_for_all_clients_at_once() -> None:
    queue = Queue()
    queue.execute(**{f"client{number}": CLOSING for number in range(20)})
    queue.complete()
    assert queue.slices < 20 * 2


def test_texts_without_responses_leave_the_others_theirs() -> None:
    graph, queue = DependencyGraph(reject_cycles=True), SearchQueue[str](20)
    taken = queue.add([("a", "REMOVE|x|\n"), ("b", "QUERY|x|\n")])
    parts = [None, graph.apply_lines_within(20, taken[1].rest)]
    assert queue.settle(taken, parts) == [("a", "REMOVE|x|\n", None), ("b", "QUERY|x|\n", "FAIL\n")]


def test_a_slice_without_a_visit_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"^expected a slice of at least 1 visit, got 0$"):
        SearchQueue[str](0)
