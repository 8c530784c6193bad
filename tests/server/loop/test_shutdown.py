"""The shutdown: requests that had arrived are answered, and no client delays the end beyond a limit."""

import contextlib

import pytest

from scoop_server.config.limits import Limits
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.telemetry.statistics import CloseReason, Stage

from tests.support.event_loop import ANSWER, QUERY, Loop, Peer


@pytest.mark.parametrize("client_count", [0, 3])
def test_a_shutdown_without_requests_is_immediate(loop: Loop, client_count: int) -> None:
    peers = [loop.connect() for _ in range(client_count)]
    loop.signal()
    loop.turn()
    assert loop.state() is Lifecycle.DRAINING
    assert loop.statistics.stage is Stage.DRAINING
    assert loop.listeners[0].is_closed
    loop.run_until_stopped()
    for peer in peers:
        with pytest.raises(EOFError):
            peer.received()
    assert loop.clock.now == 1_000.0
    assert sum(loop.statistics.connections_closed.values()) == client_count
    assert loop.statistics.connections_closed[CloseReason.SHUTDOWN] == client_count


def test_requests_that_had_arrived_are_answered_however_many_turns_they_take() -> None:
    with Loop(Limits(read_bytes_max=10 * len(QUERY))) as loop:
        peers = [loop.connect() for _ in range(5)]
        for peer in peers:
            peer.send(QUERY * 100 + b"QUERY|")
        loop.signal()
        loop.turn(20)
        for peer in peers:
            assert peer.received() == ANSWER * 100
            assert peer.has_ended()
            peer.socket.close()
        loop.run_until_stopped()
        assert loop.clock.now == 1_000.0


@pytest.mark.parametrize("is_signal_first", [False, True])
def test_requests_of_waiting_connections_are_answered(loop: Loop, is_signal_first: bool) -> None:
    if is_signal_first:
        loop.signal()
    peer = loop.add_waiting()
    peer.send(QUERY)
    if not is_signal_first:
        loop.signal()
    loop.turn(5)
    assert peer.received() == ANSWER
    assert peer.has_ended()


@pytest.mark.parametrize(("clients_max", "accepted"), [(10_000, 30), (10, 10)])
def test_all_waiting_connections_are_accepted_up_to_the_limit_of_clients(clients_max: int, accepted: int) -> None:
    with Loop(
        Limits(accepts_per_turn_max=4, clients_max=clients_max, clients_per_peer_max=clients_max), listener_count=2
    ) as loop:
        peers = [loop.add_waiting(listener=number // 15) for number in range(30)]
        for peer in peers:
            peer.send(QUERY)
        loop.signal()
        loop.run_until_stopped()
        assert loop.statistics.bytes_sent == accepted * len(ANSWER)
        assert all(peer.has_ended() for peer in peers)


@pytest.mark.parametrize("is_paused_before", [False, True])
def test_a_shutdown_out_of_descriptors_answers_the_clients(is_paused_before: bool) -> None:
    with Loop(listener_count=2) as loop:
        peer = loop.connect()
        loop.listeners[0].error = OSError(24, "Too many open files")
        loop.add_waiting()
        if is_paused_before:
            loop.turn()
        peer.send(QUERY)
        loop.signal()
        loop.run_until_stopped()
        assert peer.received() == ANSWER
        assert all(listener.is_closed for listener in loop.listeners)


# With a successor on the same listening sockets


def test_waiting_connections_are_left_to_the_successor() -> None:
    with Loop(has_successor=True) as loop:
        loop.add_waiting().send(QUERY)
        loop.server.shutdown.request()
        assert loop.listeners[0].is_closed
        loop.run_until_stopped()
        assert loop.statistics.connections_accepted == 0


@pytest.mark.parametrize("data", [b"", QUERY])
def test_clients_that_are_old_or_have_sent_a_request_do_not_delay_the_handover(data: bytes) -> None:
    with Loop(limits := Limits(), has_successor=True) as loop:
        peer = loop.connect()
        loop.pass_time(0.001 if data else limits.handover_seconds_max + 1.0)
        peer.send(data)
        loop.turn()
        now = loop.clock.now
        loop.signal()
        loop.turn()
        assert loop.state() is not Lifecycle.HANDING_OVER
        loop.run_until_stopped()
        assert peer.has_ended()
        assert loop.clock.now == now


def test_the_handover_waits_for_the_first_request_of_each_new_client() -> None:
    with Loop(has_successor=True) as loop:
        early, late = loop.connect(), loop.connect()
        early.send(QUERY)
        loop.signal()
        loop.turn()
        assert early.received() == ANSWER
        assert loop.exchange(early) == ANSWER
        late.send(QUERY[:3])
        for _ in range(2):
            loop.pass_time(1.0)
            assert loop.state() is Lifecycle.HANDING_OVER
            assert loop.wait > 0, "waiting for a request causes no turns"
        late.send(QUERY[3:])
        loop.pass_time(1.0)
        assert late.received() == ANSWER
        loop.selector.clock = loop.clock
        loop.run_until_stopped()
        assert early.has_ended()
        assert late.has_ended()


def test_the_handover_ends_after_the_limit() -> None:
    with Loop(Limits(handover_seconds_max=5.0), has_successor=True) as loop:
        loop.connect()
        loop.signal()
        loop.turn()
        loop.pass_time(4.9)
        assert loop.state() is Lifecycle.HANDING_OVER
        loop.pass_time(0.2)
        assert loop.state() is not Lifecycle.HANDING_OVER


# Clients that do not close


@pytest.mark.parametrize("has_successor", [False, True])
def test_a_second_request_stops_the_server_immediately(has_successor: bool) -> None:
    with Loop(has_successor=has_successor) as loop:
        loop.connect_with_unsent_answers(2_000)
        loop.connect()
        loop.signal()
        loop.turn(3)
        assert loop.state() is (Lifecycle.HANDING_OVER if has_successor else Lifecycle.DRAINING)
        loop.signal()
        loop.turn()
        assert loop.state() is Lifecycle.STOPPED


def test_a_client_with_an_incomplete_line_is_not_waited_for(loop: Loop) -> None:
    peer = loop.connect()
    loop.exchange(peer, b"INDEX|a")
    loop.signal()
    loop.turn(3)
    assert peer.has_ended()
    assert len(loop.graph) == 0


def test_a_client_that_reads_slowly_gets_all_its_answers() -> None:
    with Loop(Limits(drain_seconds_max=10.0)) as loop:
        peer = loop.connect_with_unsent_answers(2_000)
        loop.signal()
        answers = b""
        for _ in range(900):
            loop.pass_time(0.01)
            with contextlib.suppress(BlockingIOError):
                answers += peer.socket.recv(100)
        assert answers == b"ERROR\n" * 2_000
        assert peer.has_ended()


def test_a_client_that_does_not_read_delays_the_shutdown_until_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(drain_seconds_max=10.0, tick_seconds=4.0)) as loop:
        loop.connect_with_unsent_answers(2_000)
        loop.signal()
        loop.turn()
        loop.selector.clock = loop.clock
        loop.run_until_stopped()
        assert loop.clock.now == 1_010.0
        assert max(loop.selector.timeouts) == 4.0
        assert "clients that did not get all responses within 10 s: 1" in caplog.text


def test_a_client_that_sends_without_pause_is_answered_up_to_a_limit() -> None:
    limits = Limits(read_bytes_max=1_000, drain_bytes_max=1_000_000, linger_seconds_max=2.0)
    with Loop(limits) as loop:
        peer = loop.connect()
        loop.signal()
        answers = 0
        with contextlib.suppress(EOFError):
            for _ in range(limits.drain_bytes_max // limits.read_bytes_max + 3):
                peer.send_all_that_fits(QUERY)
                loop.turn()
                answers += len(peer.received())
            pytest.fail("the server answers without end")
        assert answers > 0
        for _ in range(100):
            peer.send_all_that_fits(QUERY)  # it is read and discarded, so that the end does not become a reset
            loop.turn()
        assert loop.state() is Lifecycle.DRAINING
        loop.pass_time(2.0)
        loop.run_until_stopped()
        assert loop.clock.now == 1_002.0


def lingering_client(loop: Loop) -> Peer:
    """Return a client that has read all its responses and their end during a shutdown, and has not closed."""
    peer = loop.connect_with_unsent_answers(2_000)
    loop.signal()
    loop.turn(3)
    while not peer.has_ended():
        loop.turn()
    return peer


def test_a_client_that_read_late_is_given_time_to_close() -> None:
    with Loop(Limits(linger_seconds_max=5.0, output_seconds_max=1.0)) as loop:
        peer = lingering_client(loop)
        peer.send(QUERY)
        peer.server_end.error = BlockingIOError()  # a spurious wake-up
        loop.turn()
        peer.server_end.error = None
        loop.pass_time(4.9)
        assert loop.state() is Lifecycle.DRAINING
        loop.pass_time(0.2)
        assert loop.state() is Lifecycle.STOPPED


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_client_that_closes_is_not_waited_for(loop: Loop, is_broken: bool) -> None:
    peer = lingering_client(loop)
    assert loop.state() is Lifecycle.DRAINING
    if is_broken:
        peer.server_end.error = ConnectionResetError()
        peer.send(QUERY)
    else:
        peer.socket.close()
    loop.turn()
    assert loop.state() is Lifecycle.STOPPED


@pytest.mark.parametrize("call", ["send", "shutdown"])
def test_a_client_whose_connection_breaks_is_not_waited_for(loop: Loop, call: str) -> None:
    peer = loop.connect_with_unsent_answers(2_000)
    loop.signal()
    loop.turn(3)
    if call == "send":
        peer.server_end.send_error = ConnectionResetError()
    else:
        peer.server_end.shutdown_error = BrokenPipeError()
    for _ in range(10):
        with contextlib.suppress(EOFError):
            peer.received()
        loop.turn()
    assert loop.state() is Lifecycle.STOPPED


def test_a_client_whose_connection_breaks_at_the_limit_of_its_requests_is_not_waited_for() -> None:
    with Loop(Limits(read_bytes_max=len(QUERY), drain_bytes_max=2 * len(QUERY))) as loop:
        peer = loop.connect()
        peer.send(QUERY * 10)
        peer.server_end.shutdown_error = BrokenPipeError()
        loop.signal()
        loop.turn(3)
        assert loop.state() is Lifecycle.STOPPED
