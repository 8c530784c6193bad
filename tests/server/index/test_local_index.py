"""The turn on a real data directory: no answer before the disk has what it tells, whatever the disk does."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from scoop_server.config.fsync import Fsync
from scoop_server.config.limits import Limits
from scoop_server.errors import JournalError
from scoop_server.index.local import LocalIndex
from scoop_server.loop.client import Client
from scoop_server.loop.server import Server
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.storage.compaction import Compaction
from scoop_server.storage.directory import DataDirectory
from scoop_server.storage.store import JournalStore

from tests.support.event_loop import Clock, Listener, PatientSelector, Peer
from tests.support.faulty_files import FaultyFiles, contents_of


class EndlessCompaction:
    """A compaction that goes on until it is told that it has failed."""

    def __init__(self) -> None:
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def has_progressed(self) -> bool:
        return True

    def kill(self) -> None:
        pass


class Loop:
    """A server on a data directory, and everything around it that a test moves."""

    def __init__(self, path: Path, fsync: Fsync = Fsync.ALWAYS) -> None:
        self.journal = path / "journal-1"
        self.files = FaultyFiles()
        self.clock = Clock()
        self.compaction = EndlessCompaction()
        self._resources = ExitStack()
        directory = self._resources.enter_context(DataDirectory.lock(str(path), self.files))
        self.store, self.graph = JournalStore.open(directory, fsync, self.clock, self._start_compaction)
        self._resources.callback(self.store.close)
        self.selector = self._resources.enter_context(PatientSelector())
        self._listener = Listener()
        index: LocalIndex[Client] = LocalIndex(self.graph, self.store)
        self.server = Server(index, [self._listener], self.selector, self.clock, Limits())
        self.server.on_tick(self.store.tick)
        self._resources.callback(self.server.close)

    def _start_compaction(self, _directory: DataDirectory, _generation: int, _niceness: int) -> Compaction:
        return self.compaction

    def connect(self) -> Peer:
        """Return the far end of an accepted connection."""
        near, far = socket.socketpair()
        self._resources.enter_context(far)
        self._listener.add(near)
        self.server.turn()
        return Peer(far)

    def turn(self) -> None:
        """Take a turn; what the disk was asked for in it is noted anew."""
        self.files.calls.clear()
        self.server.turn()

    def ask(self, peer: Peer, data: bytes) -> bytes:
        """Return the answers to what ``peer`` asks in a turn of its own."""
        peer.send(data)
        self.turn()
        return peer.received()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with Loop(tmp_path) as each:
        yield each


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="scoop_server")


COMMIT = ["write journal-1", "fdatasync journal-1"]


# The promise


def test_one_write_and_one_sync_serve_all_clients_of_a_turn_and_come_before_every_answer(loop: Loop) -> None:
    peers = [loop.connect() for _ in range(20)]
    heard: list[bytes] = []
    loop.files.on_call = lambda _: heard.extend(peer.received() for peer in peers)
    for number, peer in enumerate(peers):
        peer.send(b"QUERY|x|\nINDEX|%d|\n" % number)
    loop.turn()
    assert loop.files.calls == COMMIT
    assert set(heard) == {b""}
    assert [peer.received() for peer in peers] == [b"FAIL\nOK\n"] * 20


def test_a_turn_without_a_change_touches_no_disk(loop: Loop) -> None:
    peer = loop.connect()
    assert loop.ask(peer, b"INDEX|a|\nINDEX|b|a\n") == b"OK\nOK\n"
    assert loop.files.calls == COMMIT
    for line in (b"QUERY|a|", b"QUERY|x|", b"INDEX|b|a", b"INDEX|c|x", b"REMOVE|a|", b"REMOVE|x|", b"broken", b""):
        loop.ask(peer, line + b"\n")
        assert loop.files.calls == []


@pytest.mark.parametrize("fsync", [Fsync.EVERYSEC, Fsync.NEVER])
def test_the_other_policies_answer_when_it_is_written(tmp_path: Path, fsync: Fsync) -> None:
    with Loop(tmp_path, fsync) as loop:
        peer = loop.connect()
        assert loop.ask(peer, b"INDEX|a|\n") == b"OK\n"
        assert loop.files.calls == ["write journal-1"]
        assert b"INDEX|a|\n#seal 1 " in loop.journal.read_bytes()


def test_everysec_syncs_within_a_second_and_once(tmp_path: Path) -> None:
    with Loop(tmp_path, Fsync.EVERYSEC) as loop:
        loop.selector.clock = loop.clock
        peer = loop.connect()
        assert loop.ask(peer, b"INDEX|a|\n") == b"OK\n"
        loop.turn()
        assert loop.files.calls == ["fdatasync journal-1"]
        loop.turn()
        assert loop.files.calls == []


def test_a_compaction_is_looked_after_once_a_second(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.selector.clock = loop.clock
    peer = loop.connect()
    assert loop.ask(peer, b"INDEX|a|\n") == b"OK\n"
    loop.store.request_compaction()
    loop.turn()
    assert "has begun" in caplog.text
    for _ in range(3):
        loop.turn()
        assert loop.selector.timeouts[-1] == 1.0
    assert loop.ask(peer, b"QUERY|a|\n") == b"OK\n"
    loop.compaction.status = -9
    loop.turn()
    assert "compaction ended with status -9" in caplog.text


def ended_without_an_answer(peer: Peer) -> bool:
    """Tell whether the server has closed the connection, and nothing had come by then."""
    try:
        peer.received()
    except (EOFError, ConnectionResetError):
        return True
    return False


# No space left: no OK, undone, cut back, disconnected; QUERY goes on; it resumes by itself


def fill_index(loop: Loop) -> Peer:
    """Index what the tests below begin with; return the client that has done it."""
    peer = loop.connect()
    assert loop.ask(peer, b"INDEX|base|\nINDEX|top|base\n") == b"OK\nOK\n"
    return peer


def test_who_asked_for_a_change_is_disconnected_without_an_answer(loop: Loop) -> None:
    fill_index(loop)
    for request in (b"INDEX|new|\n", b"INDEX|top|\n", b"REMOVE|top|\n", b"QUERY|base|\nINDEX|new|base\nQUERY|base|\n"):
        peer = loop.connect()
        peer.send(request)
        loop.files.space_left = 10
        loop.turn()
        assert loop.files.calls == ["write journal-1", "write journal-1", "ftruncate journal-1"]
        assert ended_without_an_answer(peer)


def test_the_change_is_undone_and_the_journal_cut_back(loop: Loop, tmp_path: Path) -> None:
    fill_index(loop)
    before = contents_of(tmp_path)["journal-1"][0]
    peer = loop.connect()
    peer.send(b"INDEX|new|base\nINDEX|top|new\nREMOVE|missing|\nINDEX|base|base\nINDEX|top|\nREMOVE|top|\n")
    loop.files.space_left = 50
    loop.turn()
    assert ended_without_an_answer(peer)
    assert loop.graph.dependencies("top") == ("base",)
    assert loop.graph.dependencies("base") == ()
    assert sorted(loop.graph) == ["base", "top"]
    assert loop.graph.dependent_count("base") == 1
    assert contents_of(tmp_path)["journal-1"][0] == before


def test_no_answer_leaves_that_saw_an_undone_change(loop: Loop) -> None:
    """Each of them, asked after the change in the same turn, would have been answered otherwise."""
    fill_index(loop)
    changer = loop.connect()
    others = {
        b"QUERY|new|\n": b"FAIL\n",
        b"QUERY|top|\nQUERY|new|\n": b"OK\nFAIL\n",
        b"INDEX|needs|new\n": b"FAIL\n",
        b"REMOVE|base|\n": b"FAIL\n",
        b"INDEX|top|base\n": b"OK\n",
        b"REMOVE|new|\n": b"OK\n",
        b"broken\n": b"ERROR\n",
    }
    peers = {request: loop.connect() for request in others}
    changer.send(b"INDEX|new|\nINDEX|top|new\n")
    for request, peer in peers.items():
        peer.send(request)
    loop.files.space_left = 0
    loop.turn()
    assert ended_without_an_answer(changer)
    assert {request: peer.received() for request, peer in peers.items()} == others
    loop.files.space_left = None
    for peer in peers.values():
        assert loop.ask(peer, b"QUERY|top|\n") == b"OK\n"


def test_who_undid_what_another_did_in_the_same_turn_is_told_what_holds_without_both(loop: Loop) -> None:
    """A REMOVE of what was indexed in the same turn was a change then, and is none by itself."""
    fill_index(loop)
    first, second = loop.connect(), loop.connect()
    first.send(b"INDEX|new|\n")
    second.send(b"REMOVE|new|\n")
    loop.files.space_left = 0
    loop.turn()
    assert ended_without_an_answer(first)
    assert second.received() == b"OK\n"
    assert sorted(loop.graph) == ["base", "top"]


def test_every_client_that_asked_for_a_change_of_the_turn_is_disconnected_and_only_they(loop: Loop) -> None:
    fill_index(loop)
    changers = [loop.connect() for _ in range(5)]
    others = [loop.connect() for _ in range(5)]
    for number, (changer, other) in enumerate(zip(changers, others, strict=True)):
        changer.send(b"INDEX|%d|\n" % number)
        other.send(b"QUERY|base|\n")
    loop.files.space_left = 0
    loop.turn()
    assert [ended_without_an_answer(changer) for changer in changers] == [True] * 5
    assert [other.received() for other in others] == [b"OK\n"] * 5


def test_queries_go_on_and_writing_resumes_by_itself(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    reader = fill_index(loop)
    loop.files.space_left = 0
    for _ in range(3):
        changer = loop.connect()
        changer.send(b"INDEX|new|\n")
        loop.turn()
        assert ended_without_an_answer(changer)
        assert loop.ask(reader, b"QUERY|base|\nQUERY|new|\n") == b"OK\nFAIL\n"
        assert loop.files.calls == []
    loop.files.space_left = None
    assert loop.ask(reader, b"INDEX|new|\nQUERY|new|\n") == b"OK\nOK\n"
    assert loop.files.calls == COMMIT
    assert caplog.text.count("changes are refused until that is resolved, queries continue") == 1
    assert caplog.text.count("are accepted again") == 1
    assert b"INDEX|new|\n" in loop.journal.read_bytes()


def test_a_client_that_has_shut_its_sending_side_is_disconnected_too(loop: Loop) -> None:
    fill_index(loop)
    peer = loop.connect()
    peer.send(b"INDEX|new|\n")
    peer.socket.shutdown(socket.SHUT_WR)
    loop.files.space_left = 0
    loop.turn()
    assert ended_without_an_answer(peer)
    loop.turn()


def test_what_was_refused_at_the_start_of_a_shutdown_does_not_hold_it_up(loop: Loop) -> None:
    reader, changer = fill_index(loop), loop.connect()
    reader.send(b"QUERY|new|\n")
    changer.send(b"INDEX|new|\n")
    loop.files.space_left = 0
    loop.server.request_shutdown()
    for _ in range(10):
        if loop.server.state is Lifecycle.STOPPED:
            break
        loop.turn()
        reader.socket.shutdown(socket.SHUT_WR)
    assert ended_without_an_answer(changer)
    assert loop.server.state is Lifecycle.STOPPED
    assert reader.received() == b"FAIL\n"


@pytest.mark.parametrize("fsync", [Fsync.EVERYSEC, Fsync.NEVER])
def test_no_space_is_the_same_under_the_other_policies(tmp_path: Path, fsync: Fsync) -> None:
    with Loop(tmp_path, fsync) as loop:
        reader, changer = fill_index(loop), loop.connect()
        changer.send(b"INDEX|new|\n")
        loop.files.space_left = 5
        loop.turn()
        assert ended_without_an_answer(changer)
        assert loop.ask(reader, b"QUERY|base|\nQUERY|new|\n") == b"OK\nFAIL\n"


# A broken disk: no answer, and the end


@pytest.mark.parametrize(
    ("failing", "number"),
    [
        ("fdatasync journal-1", errno.EIO),
        ("fdatasync journal-1", errno.ENOSPC),
        ("write journal-1", errno.EIO),
        ("ftruncate journal-1", errno.EIO),
    ],
)
def test_a_disk_that_breaks_ends_the_loop_and_no_answer_of_the_turn_leaves(
    loop: Loop, failing: str, number: int
) -> None:
    reader, changer, asker = fill_index(loop), loop.connect(), loop.connect()
    changer.send(b"QUERY|base|\nINDEX|new|\n")
    reader.send(b"QUERY|base|\n")
    asker.send(b"QUERY|new|\n")
    if failing.startswith("ftruncate"):
        loop.files.space_left = 5
    loop.files.fail(failing, number)
    loop.files.calls.clear()
    with pytest.raises(JournalError):
        loop.server.run()
    assert loop.files.calls.count("fdatasync journal-1") == failing.startswith("fdatasync")
    peers = [reader, changer, asker]
    assert [peer.received() for peer in peers] == [b""] * 3
    loop.server.close()
    assert all(ended_without_an_answer(peer) for peer in peers)


def test_a_sync_once_a_second_that_fails_ends_the_loop(tmp_path: Path) -> None:
    with Loop(tmp_path, Fsync.EVERYSEC) as loop:
        loop.selector.clock = loop.clock
        fill_index(loop)
        loop.files.fail("fdatasync journal-1")
        with pytest.raises(JournalError):
            loop.server.run()
