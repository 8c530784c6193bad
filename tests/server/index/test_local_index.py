"""The local index: one commit per turn before its responses, and roll back if the store refuses the changes."""

import errno
from pathlib import Path

import pytest

from scoop_core import DependencyGraph

from scoop_server.errors import JournalError, ReadOnlyError
from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.loop.client import Client

from tests.support.event_loop import Loop, Store
from tests.support.storage import Bench


class Index:
    """A local index with a top package and its base, and a store that can refuse changes. Clients are names."""

    def __init__(self) -> None:
        self.graph = DependencyGraph.from_mapping({"base": (), "top": ("base",)})
        self.store = Store()
        self._index: LocalIndex[str] = LocalIndex(self.graph, self.store)

    def execute(self, **requests: str) -> dict[str, str | None]:
        responses = self._index.execute(list(requests.items()))
        assert [(client, lines) for client, lines, _ in responses] == list(requests.items())
        return {client: answers for client, _, answers in responses}

    def refuse_changes(self) -> None:
        def refuse() -> None:
            raise ReadOnlyError("no space")

        self.store.on_commit = refuse


def test_the_changes_of_a_turn_are_committed_once_and_together() -> None:
    index = Index()
    responses = index.execute(a="INDEX|x|\nQUERY|x|\nINDEX|x|\n", b="INDEX|y|x\nbroken\n", c="REMOVE|x|\n")
    assert responses == {"a": "OK\nOK\nOK\n", "b": "OK\nERROR\n", "c": "FAIL\n"}
    assert index.execute(a="REMOVE|y|\n") == {"a": "OK\n"}
    assert index.store.commits == [["INDEX|x|", "INDEX|y|x"], ["REMOVE|y|"]]


def test_requests_that_change_nothing_are_not_committed() -> None:
    index = Index()
    lines = "QUERY|top|\nQUERY|x|\nINDEX|top|base\nINDEX|c|x\nREMOVE|base|\nREMOVE|x|\nbroken\n\n"
    for requests in ({"a": lines}, {"a": lines, "b": lines}):
        assert set(index.execute(**requests).values()) == {"OK\nFAIL\nOK\nFAIL\nFAIL\nOK\nERROR\nERROR\n"}
    assert index.store.commits == []


def test_a_memory_store_accepts_every_change() -> None:
    index: LocalIndex[str] = LocalIndex(DependencyGraph(), MemoryStore())
    assert index.execute([("a", "INDEX|a|\n")]) == [("a", "INDEX|a|\n", "OK\n")]
    assert (list(index.completed()), index.fileno(), index.write_delay) == ([], None, 0.0)


# Changes that the store refuses


@pytest.mark.parametrize(
    "lines",
    [
        "INDEX|new|\n",
        "INDEX|top|\n",
        "REMOVE|top|\n",
        "QUERY|base|\nINDEX|new|base\nQUERY|base|\n",
        "INDEX|new|base\nINDEX|top|new\nREMOVE|missing|\nINDEX|base|base\nINDEX|top|\nREMOVE|top|\n",
    ],
)
def test_refused_changes_are_undone_and_their_client_is_disconnected(lines: str) -> None:
    index = Index()
    index.refuse_changes()
    assert index.execute(changer=lines) == {"changer": None}
    assert index.graph.to_mapping() == {"base": (), "top": ("base",)}
    assert index.graph.dependent_count("base") == 1


def test_no_answer_reflects_a_refused_change_of_the_same_turn() -> None:
    index = Index()
    index.refuse_changes()
    # Each of these would be answered differently if the change before them had been kept.
    others = {
        "QUERY|new|\n": "FAIL\n",
        "QUERY|top|\nQUERY|new|\n": "OK\nFAIL\n",
        "INDEX|needs|new\n": "FAIL\n",
        "REMOVE|base|\n": "FAIL\n",
        "INDEX|top|base\n": "OK\n",
        "REMOVE|new|\n": "OK\n",
        "broken\n": "ERROR\n",
    }
    responses = index.execute(changer="INDEX|new|\nINDEX|top|new\n", **{lines: lines for lines in others})
    assert responses == {"changer": None, **others}


def test_changes_are_accepted_again_when_the_store_accepts_them() -> None:
    index = Index()
    index.refuse_changes()
    assert index.execute(a="INDEX|new|\n", b="QUERY|new|\n") == {"a": None, "b": "FAIL\n"}
    index.store.on_commit = lambda: None
    assert index.execute(a="INDEX|new|\n", b="QUERY|new|\n") == {"a": "OK\n", "b": "OK\n"}
    assert index.store.commits == [["INDEX|new|"]]


# With the real store


@pytest.mark.parametrize("failing", ["fdatasync journal-1", "write journal-1"])
def test_no_answer_is_sent_before_the_disk_has_the_changes_nor_after_it_fails(tmp_path: Path, failing: str) -> None:
    bench = Bench(tmp_path / "data")
    with bench.open() as opened:
        index: LocalIndex[Client] = LocalIndex(opened.graph, opened.store)
        with Loop(index=index) as loop:
            peers = [loop.connect() for _ in range(3)]
            received: list[bytes] = []
            bench.files.calls.clear()
            bench.files.on_call = lambda _: received.extend(peer.received() for peer in peers)
            for number, peer in enumerate(peers):
                peer.send(b"QUERY|x|\nINDEX|%d|\n" % number)
            loop.turn()
            assert bench.files.calls == ["write journal-1", "fdatasync journal-1"]
            assert set(received) == {b""}
            assert [peer.received() for peer in peers] == [b"FAIL\nOK\n"] * 3
            bench.files.fail(failing, errno.EIO)
            peers[0].send(b"QUERY|0|\n")
            peers[1].send(b"INDEX|new|\n")
            with pytest.raises(JournalError):
                loop.server.run()
            assert [peer.received() for peer in peers] == [b""] * 3
