"""Clients whose replies come in a later turn: they are parked until then."""

import contextlib
from collections.abc import Iterator
from contextlib import closing

import pytest

from scoop_server.config.limits import Limits
from scoop_server.loop.shutdown import Lifecycle

from tests.support.event_loop import QUERY, LaterIndex, Loop

OK = b"OK\n"


@pytest.fixture
def index() -> Iterator[LaterIndex]:
    with closing(LaterIndex()) as each:
        yield each


def lines_of(index: LaterIndex) -> list[str]:
    """Return the lines that the index was passed, request by request."""
    return [lines for _, lines in index.executed]


def test_a_reply_of_a_later_turn_is_sent_when_it_is_complete(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn(3)
        assert peer.received() == b""
        index.complete()
        loop.turn()
        assert peer.received() == OK


def test_a_client_with_a_pending_reply_is_not_read(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer, near = loop.connect_counting()
        for _ in range(3):
            peer.send(QUERY)
            loop.turn(2)
        assert near.received_sizes == [len(QUERY)]
        assert lines_of(index) == [QUERY.decode()]
        index.complete()
        loop.turn(2)
        assert lines_of(index) == [QUERY.decode(), QUERY.decode() * 2]


def test_a_client_that_only_waits_for_its_reply_is_not_registered_anew(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer = loop.connect()
        registrations = loop.selector.registrations
        for _ in range(3):
            peer.send(QUERY)
            loop.turn()
            index.complete()
            loop.turn()
        assert peer.received() == OK * 3
        assert loop.selector.registrations == registrations


def test_a_parked_client_that_sends_more_does_not_keep_the_loop_awake(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        peer.send(QUERY)
        loop.turn(2)
        assert loop.selector.ready_count == 0
        assert loop.wait == 1.0


def test_replies_of_one_client_do_not_wait_for_those_of_another(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        slow, fast = loop.connect(), loop.connect()
        slow.send(QUERY)
        loop.turn()
        fast.send(QUERY)
        index.replies_at_once = True
        loop.turn()
        assert (slow.received(), fast.received()) == (b"", OK)


def test_queued_lines_of_a_parked_client_follow_in_order(index: LaterIndex) -> None:
    with Loop(Limits(turn_lines_max=2), index=index) as loop:
        peer = loop.connect()
        peer.send(b"QUERY|a|\nQUERY|b|\nQUERY|c|\n")
        loop.turn(3)
        assert lines_of(index) == ["QUERY|a|\nQUERY|b|\n"]
        index.complete()
        loop.turn(2)
        assert lines_of(index)[1:] == ["QUERY|c|\n"]
        index.complete()
        loop.turn()
        assert peer.received() == OK * 3


def test_a_client_that_disconnects_while_parked_gets_no_reply_and_disturbs_nobody(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        gone, other = loop.connect(), loop.connect()
        for peer in (gone, other):
            peer.send(QUERY)
        loop.turn()
        gone.socket.close()
        loop.turn(2)
        index.complete(2)
        loop.turn(3)
        assert other.received() == OK
        assert loop.statistics.connections_now == 1


def test_a_reply_of_none_disconnects_the_client(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        index.disconnect()
        loop.turn()
        assert peer.has_ended()


def test_the_time_outs_of_a_line_and_of_output_do_not_run_while_a_client_is_parked(index: LaterIndex) -> None:
    with Loop(Limits(incomplete_line_seconds_max=5.0), index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY + b"QUE")
        loop.turn()
        peer.send(b"RY")
        loop.turn()
        loop.pass_time(60.0)
        index.complete()
        loop.turn()
        assert peer.received() == OK
        peer.send(b"|a|\n")
        loop.turn(2)
        index.complete()
        loop.turn()
        assert peer.received() == OK


def test_a_shutdown_waits_for_pending_replies(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        loop.signal()
        loop.turn(3)
        assert loop.state() is Lifecycle.DRAINING
        index.complete()
        loop.run_down()
        assert peer.received() == OK
        assert peer.has_ended()


def test_a_shutdown_answers_what_a_parked_client_had_sent_as_well(index: LaterIndex) -> None:
    with Loop(index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        peer.send(QUERY)
        loop.signal()
        loop.turn(2)
        index.complete()
        loop.turn(2)
        index.complete()
        loop.run_down()
        assert peer.received() == OK * 2


def test_a_reply_that_never_comes_holds_a_shutdown_no_longer_than_the_limit(index: LaterIndex) -> None:
    with Loop(Limits(drain_seconds_max=10.0), index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        loop.signal()
        loop.turn()
        loop.pass_time(9.9)
        assert loop.state() is Lifecycle.DRAINING
        loop.pass_time(0.2)
        assert loop.state() is Lifecycle.STOPPED
        with contextlib.suppress(EOFError):
            assert peer.received() == b""


# Writers that the index slows down


def test_a_client_that_sent_changes_is_not_read_for_the_delay_that_the_index_asks_for() -> None:
    with Loop() as loop:
        writer, reader = loop.connect(), loop.connect()
        loop.store.commit_delay = 0.1
        loop.pass_time(1.0)
        for peer, line in ((writer, b"INDEX|a|\n"), (reader, b"QUERY|a|\n")):
            peer.send(line)
        loop.turn()
        assert (writer.received(), reader.received()) == (OK, OK)
        for peer in (writer, reader):
            peer.send(b"QUERY|a|\n")
        loop.turn()
        assert (writer.received(), reader.received()) == (b"", OK)
        loop.pass_time(0.1)
        loop.turn()
        assert writer.received() == OK


def test_a_delayed_client_may_disconnect() -> None:
    with Loop() as loop:
        writer, near = loop.connect_counting()
        loop.store.commit_delay = 0.1
        loop.pass_time(1.0)
        near.send_error = BrokenPipeError()
        writer.send(b"INDEX|a|\n")
        loop.turn()
        loop.pass_time(0.1)
        assert loop.statistics.connections_now == 0
