"""Clients whose responses come in a later turn: they are parked until then."""

import contextlib
from collections.abc import Iterator
from contextlib import closing

import pytest

from scoop_server.config.limits import Limits
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import QUERY, DeferredIndex, Loop

OK = b"OK\n"


@pytest.fixture
def index() -> Iterator[DeferredIndex]:
    with closing(DeferredIndex()) as each:
        yield each


@pytest.fixture
def loop(index: DeferredIndex) -> Iterator[Loop]:
    with Loop(index=index) as each:
        yield each


def test_a_deferred_response_is_sent_when_it_is_complete(loop: Loop, index: DeferredIndex) -> None:
    peer = loop.connect()
    peer.send(QUERY)
    loop.turn(3)
    assert peer.received() == b""
    index.complete()
    loop.turn()
    assert peer.received() == OK


def test_a_parked_client_is_not_read_and_causes_no_turns(loop: Loop, index: DeferredIndex) -> None:
    peer = loop.connect()
    for _ in range(3):
        peer.send(QUERY)
        loop.turn(2)
    assert peer.server_end.received_sizes == [len(QUERY)]
    assert index.executed == [QUERY.decode()]
    assert loop.selector.ready_count == 0
    assert loop.wait == 1.0
    index.complete()
    loop.turn(2)
    assert index.executed == [QUERY.decode(), QUERY.decode() * 2]


def test_a_client_that_waits_for_its_response_is_not_registered_again(loop: Loop, index: DeferredIndex) -> None:
    peer = loop.connect()
    registrations = loop.selector.registration_count
    for _ in range(3):
        peer.send(QUERY)
        loop.turn()
        index.complete()
        loop.turn()
    assert peer.received() == OK * 3
    assert loop.selector.registration_count == registrations


def test_the_responses_of_one_client_do_not_wait_for_those_of_another(loop: Loop, index: DeferredIndex) -> None:
    slow, fast = loop.connect(), loop.connect()
    assert loop.exchange(slow) == b""
    index.responses_at_once = True
    assert loop.exchange(fast) == OK
    assert slow.received() == b""


def test_a_response_that_needs_no_wait_is_sent_before_the_index_continues(loop: Loop, index: DeferredIndex) -> None:
    parked, other = loop.connect(), loop.connect()
    parked.send(QUERY)
    loop.turn()
    received = []
    index.on_completed = lambda: received.append(other.received())
    index.responses_at_once = True
    index.complete()
    other.send(QUERY)
    loop.turn()
    assert received == [OK]
    assert parked.received() == OK


def test_queued_lines_of_a_parked_client_follow_in_order(index: DeferredIndex) -> None:
    with Loop(Limits(uncounted_bytes_max=0, turn_lines_max=2), index=index) as loop:
        peer = loop.connect()
        peer.send(b"QUERY|a|\nQUERY|b|\nQUERY|c|\n")
        loop.turn(3)
        assert index.executed == ["QUERY|a|\nQUERY|b|\n"]
        index.complete()
        loop.turn(2)
        assert index.executed[1:] == ["QUERY|c|\n"]
        index.complete()
        loop.turn()
        assert peer.received() == OK * 3


def test_the_response_to_a_client_that_has_disconnected_is_dropped(loop: Loop, index: DeferredIndex) -> None:
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


def test_a_response_of_none_disconnects_the_client(loop: Loop, index: DeferredIndex) -> None:
    peer = loop.connect()
    peer.send(QUERY)
    loop.turn()
    index.disconnect()
    loop.turn()
    assert peer.has_ended()
    assert loop.statistics.connections_closed == {CloseReason.UNANSWERED: 1}


def test_a_client_that_is_writable_in_the_turn_in_which_it_is_disconnected_is_ignored(
    loop: Loop, index: DeferredIndex
) -> None:
    peer = loop.connect(send_buffer_bytes=1)
    index.responses_at_once = True
    for _ in range(20):
        peer.send(QUERY * 100)
        loop.turn()
    index.responses_at_once = False
    peer.send(QUERY)
    loop.turn()
    index.disconnect()
    peer.received()
    loop.turn()
    assert peer.has_ended()
    assert loop.statistics.connections_now == 0


def test_a_client_is_idle_from_its_response_on_and_not_while_it_is_parked(index: DeferredIndex) -> None:
    with Loop(Limits(idle_seconds_max=5.0), index=index) as loop:
        peer = loop.connect()
        peer.send(QUERY)
        loop.turn()
        loop.pass_time(60.0)
        index.complete()
        loop.turn()
        loop.pass_time(4.0)
        assert peer.received() == OK
        loop.pass_time(2.0)
        assert peer.has_ended()


def test_an_incomplete_line_is_not_timed_while_its_client_is_parked(index: DeferredIndex) -> None:
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
        index.responses_at_once = True
        peer.send(b"|a|\n")
        loop.turn(2)
        assert peer.received() == OK


@pytest.mark.parametrize("sends_more", [False, True])
def test_a_shutdown_waits_for_the_responses_to_all_that_a_parked_client_has_sent(
    loop: Loop, index: DeferredIndex, sends_more: bool
) -> None:
    peer = loop.connect()
    peer.send(QUERY)
    loop.turn()
    if sends_more:
        peer.send(QUERY)
    loop.signal()
    loop.turn(3)
    assert loop.state() is Lifecycle.DRAINING
    for _ in range(1 + sends_more):
        index.complete()
        loop.turn(2)
    loop.run_until_stopped()
    assert peer.received() == OK * (1 + sends_more)
    assert peer.has_ended()


def test_a_missing_response_delays_a_shutdown_until_its_deadline(index: DeferredIndex) -> None:
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


# The delay that an index asks for


def test_a_client_that_sent_changes_is_not_read_during_the_write_delay() -> None:
    with Loop() as loop:
        writer, reader = loop.connect(), loop.connect()
        loop.store.commit_delay = 0.1
        loop.pass_time(1.0)
        writer.send(b"INDEX|a|\n")
        assert loop.exchange(reader) == OK
        assert writer.received() == OK
        writer.send(QUERY)
        assert loop.exchange(reader) == OK
        assert writer.received() == b""
        loop.pass_time(0.1)
        loop.turn()
        assert writer.received() == OK


def test_a_delayed_client_may_disconnect() -> None:
    with Loop() as loop:
        writer = loop.connect()
        loop.store.commit_delay = 0.1
        loop.pass_time(1.0)
        writer.send(b"INDEX|a|\n")
        loop.turn()
        writer.server_end.send_error = BrokenPipeError()
        writer.send(QUERY)
        loop.pass_time(0.1)
        loop.turn()
        assert loop.statistics.connections_now == 0
