"""Turns: reading, executing, committing once, answering; ticks; broken connections."""

import errno
import os
import socket

import pytest

from scoop_server.loop.shutdown import Lifecycle
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, QUERY, Loop


def test_requests_are_answered_in_order(loop: Loop) -> None:
    requests = b"QUERY|a|\nINDEX|a|\nQUERY|a|\nbroken\nREMOVE|a|\nQUERY|a|\n"
    assert loop.exchange(loop.connect(), requests) == b"FAIL\nOK\nOK\nERROR\nOK\nFAIL\n"


def test_a_line_in_pieces_is_answered_once_it_is_complete(loop: Loop) -> None:
    peer = loop.connect()
    assert {loop.exchange(peer, bytes([byte])) for byte in b"INDEX|a|\r"} == {b""}
    assert loop.exchange(peer, b"\n") == b"OK\n"


def test_the_requests_of_a_turn_are_applied_in_the_order_of_the_clients(loop: Loop) -> None:
    first, second = loop.connect(), loop.connect()
    first.send(b"INDEX|a|\n")
    assert loop.exchange(second, b"INDEX|b|a\nREMOVE|a|\n") == b"OK\nFAIL\n"
    assert first.received() == b"OK\n"


def test_one_commit_serves_all_clients_of_a_turn_and_precedes_every_answer(loop: Loop) -> None:
    peers = [loop.connect() for _ in range(3)]
    received: list[bytes] = []
    loop.store.on_commit = lambda: received.extend(peer.received() for peer in peers)
    for number, peer in enumerate(peers):
        peer.send(b"INDEX|p%d|\nQUERY|p%d|\nINDEX|p%d|\n" % (number, number, number))
    loop.turn()
    assert loop.store.commits == [["INDEX|p0|", "INDEX|p1|", "INDEX|p2|"]]
    assert received == [b""] * 3
    assert [peer.received() for peer in peers] == [b"OK\nOK\nOK\n"] * 3


def test_a_client_costs_one_read_and_one_send_per_turn(loop: Loop) -> None:
    peer = loop.connect()
    assert loop.exchange(peer, QUERY * 25) == ANSWER * 25
    assert peer.server_end.received_sizes == [25 * len(QUERY)]
    assert peer.server_end.send_count == 1


def test_a_spurious_wake_up_changes_nothing(loop: Loop) -> None:
    peer = loop.connect()
    peer.server_end.error = BlockingIOError()
    assert loop.exchange(peer) == b""
    peer.server_end.error = None
    loop.turn()
    assert peer.received() == ANSWER


# The end of a connection


def test_complete_lines_before_the_end_of_the_stream_are_executed_and_answered(loop: Loop) -> None:
    closed, half_closed = loop.connect(), loop.connect()
    closed.send(b"INDEX|a|\nQUERY|")
    closed.socket.close()
    half_closed.send(b"INDEX|b|\nQUERY|b|\nQUERY|")
    half_closed.socket.shutdown(socket.SHUT_WR)
    loop.turn(2)
    assert loop.store.commits == [["INDEX|a|", "INDEX|b|"]]
    assert half_closed.received() == b"OK\nOK\n"
    assert half_closed.has_ended()
    assert loop.statistics.connections_closed == {CloseReason.BROKEN: 1, CloseReason.ENDED: 1}


def test_a_half_closed_client_that_reads_late_gets_all_its_answers(loop: Loop) -> None:
    peer = loop.connect(send_buffer_bytes=5_000)
    peer.send(b"\n" * 10_000)
    peer.socket.shutdown(socket.SHUT_WR)
    loop.turn(5)
    assert loop.wait == 1.0, "nothing is left to do until the client reads"
    answers = b""
    while len(answers) < 10_000 * len(b"ERROR\n"):
        answers += peer.received()
        loop.turn()
    assert answers == b"ERROR\n" * 10_000
    assert peer.has_ended()


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError(errno.EHOSTUNREACH, "No route")])
def test_a_broken_connection_is_closed_and_the_others_are_served(loop: Loop, error: OSError) -> None:
    healthy, broken = loop.connect(), loop.connect()
    broken.send(QUERY)
    broken.server_end.error = error
    assert loop.exchange(healthy) == ANSWER
    assert broken.server_end.fileno() == -1
    assert loop.statistics.connections_closed == {CloseReason.BROKEN: 1}


def test_an_error_while_a_client_is_closed_is_ignored(loop: Loop) -> None:
    healthy, broken = loop.connect(), loop.connect()
    broken.server_end.error = ConnectionResetError()
    broken.server_end.close_error = OSError(errno.EIO, os.strerror(errno.EIO))
    broken.send(QUERY)
    assert loop.exchange(healthy) == ANSWER
    assert broken.has_ended()


def test_a_connection_that_breaks_before_its_answer_keeps_its_change(loop: Loop) -> None:
    healthy, broken = loop.connect(), loop.connect()
    broken.send(b"INDEX|a|\n")
    broken.server_end.send_error = ConnectionResetError()
    loop.turn()
    assert broken.server_end.fileno() == -1
    assert loop.exchange(healthy) == b"OK\n"


def test_close_closes_everything_and_may_be_repeated(loop: Loop) -> None:
    peers = [loop.connect() for _ in range(3)]
    for _ in range(2):
        loop.server.close()
    assert all(peer.has_ended() for peer in peers)
    assert loop.listeners[0].is_closed


# Time


def test_run_takes_turns_until_the_server_has_stopped(loop: Loop) -> None:
    peer = loop.connect()
    peer.send(QUERY)
    loop.signal()
    loop.server.run()
    assert loop.state() is Lifecycle.STOPPED
    assert peer.received() == ANSWER


def test_an_idle_server_wakes_up_once_per_tick_and_records_the_time() -> None:
    with Loop(counts=True) as loop:
        recorded = [loop.statistics.last_tick]
        loop.selector.clock = loop.clock
        for _ in range(4):
            loop.turn()
            recorded.append(loop.statistics.last_tick)
        assert recorded == [1_000.0, 1_001.0, 1_002.0, 1_003.0, 1_004.0]
        assert loop.wait == 1.0


def test_the_time_of_a_tick_is_taken_at_the_end_of_a_long_turn() -> None:
    with Loop(counts=True) as loop:
        loop.store.on_commit = lambda: loop.clock.advance(20.0)
        loop.connect().send(b"INDEX|a|\n")
        loop.pass_time(1.0)
        assert loop.statistics.last_tick == 1_021.0


def test_tick_callbacks_are_called_once_per_tick(loop: Loop) -> None:
    ticks: list[float] = []
    loop.server.on_tick(lambda: ticks.append(loop.clock.now))
    for seconds in (1.0, 1.0, 0.5):
        loop.pass_time(seconds)
    assert ticks == [1_001.0, 1_002.0]


def test_a_callback_for_later_is_called_once(loop: Loop) -> None:
    calls: list[float] = []
    loop.server.call_later(0.5, lambda: calls.append(loop.clock.now))
    for seconds in (0.25, 0.5, 0.5):
        loop.pass_time(seconds)
    assert calls == [1_000.75]


@pytest.mark.parametrize("counts", [False, True])
def test_bytes_are_always_counted_but_requests_and_turns_only_if_asked_for(counts: bool) -> None:
    with Loop(counts=counts) as loop:
        statistics = loop.statistics
        peer = loop.connect()
        assert loop.exchange(peer, b"INDEX|a|\nQUERY|b|\nQU") + loop.exchange(peer, b"ERY|a|\r\n?\n")
        assert (statistics.bytes_received, statistics.bytes_sent) == (30, 17)
        counted = {(command, str(response)): count for command, response, count in statistics.tally if count}
        requests = {("INDEX", "OK"): 1, ("QUERY", "FAIL"): 1, ("QUERY", "OK"): 1, ("unknown", "ERROR"): 1}
        assert counted == (requests if counts else {})
        assert sum(statistics.turn_seconds.counts) == (3 if counts else 0)
        assert sum(statistics.commit_seconds.counts) == (1 if counts else 0)
