"""The index of a server that rejects cycles: parked clients, commits, and roll-backs."""

from random import Random

import pytest

from scoop_core import DependencyGraph

from scoop_server.config.limits import Limits
from scoop_server.errors import ReadOnlyError
from scoop_server.index.sliced import SlicedIndex
from scoop_server.loop.client import Client
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.ports import Response

from tests.support.checked_graph import CheckedGraph
from tests.support.event_loop import Loop, Store
from tests.support.naive_index import contents_of

CHAIN = 40
"""Each package of the chain depends on the one before it."""

CLOSING = f"INDEX|0|{CHAIN - 1}\n"
"""Answered FAIL after a search of the whole chain, about 80 visits."""

Responses = list[Response[str]]


def chain() -> CheckedGraph:
    graph = CheckedGraph(reject_cycles=True)
    graph.apply_lines("INDEX|0|\n" + "".join(f"INDEX|{n}|{n - 1}\n" for n in range(1, CHAIN)))
    return graph


class Index:
    """An index of a chain, and what surrounds it. Clients are names."""

    def __init__(self, slice_visits: int = 20) -> None:
        self.graph = chain()
        self.store = Store()
        self.index: SlicedIndex[str] = SlicedIndex(self.graph, self.store, slice_visits=slice_visits)

    def execute(self, **requests: str) -> Responses:
        return self.index.execute(list(requests.items()))

    def complete(self) -> Responses:
        """Do slices until nothing is parked; return the responses in their order."""
        responses: Responses = []
        for _ in range(10_000):
            if not self.index.is_pending:
                return responses
            responses += self.index.completed()
        raise AssertionError("a search does not end")

    def refuse_commits(self) -> None:
        def refuse() -> None:
            raise ReadOnlyError("no space")

        self.store.on_commit = refuse


def test_requests_without_a_long_search_are_answered_and_committed_in_their_turn() -> None:
    index = Index()
    responses = index.execute(a="INDEX|x|5\nINDEX|x|5,6\n", b="QUERY|x|\nINDEX|0|1\nbroken\n", c="REMOVE|3|\n")
    assert [answers for _, _, answers in responses] == ["OK\nOK\n", "OK\nFAIL\nERROR\n", "FAIL\n"]
    assert index.store.commits == [["INDEX|x|5", "INDEX|x|5,6"]]
    assert not index.index.is_pending


def test_a_long_search_parks_its_client_and_nobody_else() -> None:
    index = Index()
    lines = f"INDEX|x|\n{CLOSING}INDEX|y|x\n"
    assert index.execute(a=lines, b="QUERY|x|\n") == [("b", "QUERY|x|\n", "OK\n")]
    assert index.store.commits == [["INDEX|x|"]]
    assert index.index.is_pending
    assert index.execute(b="QUERY|y|\n") == [("b", "QUERY|y|\n", "FAIL\n")]
    assert index.complete() == [("a", lines, "OK\nFAIL\nOK\n")]
    assert index.store.commits[1:] == [["INDEX|y|x"]]


def test_a_roll_back_disconnects_the_clients_with_changes_and_keeps_the_parked_ones() -> None:
    index = Index()
    index.refuse_commits()
    responses = index.execute(a=f"QUERY|x|\n{CLOSING}", b="INDEX|x|\n", c=f"INDEX|y|\n{CLOSING}", d="QUERY|x|\n")
    assert [(client, answers) for client, _, answers in responses] == [("b", None), ("c", None), ("d", "FAIL\n")]
    assert [answers for _, _, answers in index.complete()] == ["FAIL\nFAIL\n"]
    assert contents_of(index.graph) == contents_of(chain())


def test_a_change_after_a_search_that_cannot_be_stored_disconnects_its_client() -> None:
    index = Index()
    index.execute(a=f"INDEX|x|\n{CLOSING}INDEX|y|\n", b=CLOSING.replace("0", "1", 1))
    index.refuse_commits()
    assert {client: answers for client, _, answers in index.complete()} == {"a": None, "b": "FAIL\n"}
    assert list(index.graph)[CHAIN:] == ["x"]


def test_a_roll_back_that_undoes_the_result_of_a_search_does_not_repeat_it_for_ever() -> None:
    index = Index()
    lines = f"{CLOSING}INDEX|{CHAIN // 2}|\n"
    index.execute(a=lines)
    index.refuse_commits()
    assert index.complete() == [("a", lines, None)]
    assert contents_of(index.graph) == contents_of(chain())


@pytest.mark.parametrize("seed", range(20))
def test_every_answer_is_correct_at_its_position(seed: int) -> None:
    """The graph itself checks each response against a naive index when it is applied."""
    random = Random(seed)
    index = Index(slice_visits=random.choice((1, 3, 10)))
    names = [str(number) for number in range(0, CHAIN, 4)]
    is_full = False

    def commit() -> None:
        if is_full:
            raise ReadOnlyError("no space")

    index.store.on_commit = commit
    parked: dict[str, str] = {}
    for _ in range(100):
        is_full = random.random() < 0.1
        requests: dict[str, str] = {}
        for client in "abcd":
            if client not in parked and random.random() < 0.5:
                requests[client] = "".join(
                    random.choice((f"INDEX|{name}|{','.join(random.sample(names, 2))}\n", f"REMOVE|{name}|\n"))
                    for name in random.sample(names, 2)
                )
        responses = index.execute(**requests)
        parked |= requests
        if index.index.is_pending and random.random() < 0.8:
            responses += index.index.completed()
        for client, lines, answers in responses:
            assert parked.pop(client) == lines
            assert answers is None or answers.count("\n") == 2
        assert index.index.is_pending == bool(parked)
        assert index.graph.cyclic_components() == ()
    is_full = False
    assert {client for client, _, _ in index.complete()} == parked.keys()


class TestInTheLoop:
    def test_a_shutdown_answers_what_is_parked(self) -> None:
        with loop_of(slice_visits=20) as loop:
            peer = loop.connect()
            peer.send(CLOSING.encode())
            loop.turn()
            loop.signal()
            loop.turn(20)
            assert peer.received() == b"FAIL\n"
            peer.socket.close()
            loop.run_until_stopped()

    def test_a_shutdown_gives_up_after_the_drain_timeout(self) -> None:
        with loop_of(slice_visits=1) as loop:
            peer = loop.connect()
            peer.send(CLOSING.encode())
            loop.signal()
            loop.turn(20)
            assert loop.state() is Lifecycle.DRAINING
            loop.pass_time(Limits().drain_seconds_max)
            assert loop.state() is Lifecycle.STOPPED


def loop_of(slice_visits: int) -> Loop:
    index: SlicedIndex[Client] = SlicedIndex(chain(), Store(), slice_visits=slice_visits)
    return Loop(index=index)


def test_an_index_makes_the_order_before_the_first_client_waits_for_it() -> None:
    graph = DependencyGraph.from_mapping({"a": ["b"], "b": ["a"]})
    graph.reject_cycles = True
    SlicedIndex(graph, Store())
    assert graph._order is not None
