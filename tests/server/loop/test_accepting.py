"""Accepting connections, and pausing while descriptors or memory are exhausted."""

import errno
import os

import pytest

from scoop_server.config.access import AccessPolicy
from scoop_server.config.limits import Limits
from scoop_server.telemetry.statistics import CloseReason

from tests.support.event_loop import ANSWER, QUERY, Loop


def test_many_connections_are_accepted_over_several_turns() -> None:
    with Loop(Limits(accepts_per_turn_max=4)) as loop:
        peers = [loop.add_waiting() for _ in range(10)]
        for peer in peers:
            peer.send(QUERY)
        loop.turn(2)
        assert [peer.received() for peer in peers] == [ANSWER] * 4 + [b""] * 6
        loop.turn(3)
        assert [peer.received() for peer in peers] == [b""] * 4 + [ANSWER] * 6


def test_a_connection_over_the_limit_of_clients_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(clients_max=2, clients_per_peer_max=2)) as loop:
        peers = [loop.connect() for _ in range(3)]
        assert [peer.has_ended() for peer in peers] == [False, False, True]
        assert (
            "192.0.2.1 holds most places (2); closed the connection of 192.0.2.1:3: too many clients (limit 2)"
        ) in caplog.messages
        assert loop.statistics.connections_closed == {CloseReason.TOO_MANY_CLIENTS: 1}
        peers[0].socket.close()
        loop.turn()
        assert loop.exchange(loop.connect()) == ANSWER
        assert loop.exchange(peers[1]) == ANSWER


def test_one_address_has_a_quarter_of_the_places_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(clients_max=8)) as loop:
        flood = [loop.connect() for _ in range(5)]
        assert [peer.has_ended() for peer in flood] == [False, False, True, True, True]
        loop.listeners[0].next_peer = ("192.0.2.2", ())
        assert loop.exchange(loop.connect()) == ANSWER
        assert "192.0.2.1 holds most places (2); closed the connection of 192.0.2.1:3: too many clients" in caplog.text
        flood[0].socket.close()
        loop.turn()
        loop.listeners[0].next_peer = ("192.0.2.1", ())
        assert loop.exchange(loop.connect()) == ANSWER


def test_anonymous_clients_leave_places_to_named_ones() -> None:
    with Loop(Limits(clients_max=8), listener_admits_named=True) as loop:
        for number in range(8):
            loop.listeners[0].next_peer = (f"192.0.2.{number}", ())
            assert loop.connect().has_ended() == (number >= 6)
        loop.listeners[0].next_peer = ("192.0.2.1", ("CN=builder",))
        assert loop.exchange(loop.connect()) == ANSWER


def test_a_named_client_takes_places_of_its_name_and_not_of_its_address() -> None:
    with Loop(Limits(clients_max=8, clients_per_peer_max=1)) as loop:
        for names, is_refused in ((), False), ((), True), (("CN=a",), False), (("CN=a", "DNS=b"), True):
            loop.listeners[0].next_peer = ("192.0.2.1", names)
            assert loop.connect().has_ended() == is_refused


def test_a_listener_has_at_most_its_own_limit_of_clients(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(policy=AccessPolicy(clients_max=2)) as loop:
        peers = [loop.connect() for _ in range(3)]
        assert [peer.has_ended() for peer in peers] == [False, False, True]
        assert "(limit 2 of 127.0.0.1:1)" in caplog.text


def test_an_error_while_a_connection_over_the_limit_is_closed_is_ignored() -> None:
    with Loop(Limits(clients_max=1)) as loop:
        healthy, refused = loop.connect(), loop.add_waiting()
        refused.server_end.close_error = OSError(errno.EIO, os.strerror(errno.EIO))
        loop.turn()
        assert refused.has_ended()
        assert loop.exchange(healthy) == ANSWER


def test_a_connection_that_is_aborted_before_it_is_accepted_does_not_delay_the_next(loop: Loop) -> None:
    loop.listeners[0].add(ConnectionAbortedError())
    assert loop.exchange(loop.connect()) == ANSWER
    assert loop.statistics.connections_accepted == 2
    assert loop.statistics.connections_closed == {CloseReason.ENDED: 1}


def test_a_connection_that_cannot_be_watched_is_closed(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.selector.register_errors.append(OSError(errno.ENOSPC, "No space left on device"))  # the limit on watches
    peer = loop.connect()
    assert peer.has_ended()
    assert caplog.records[-1].levelname == "WARNING"
    assert "closed the connection of 192.0.2.1:1: " in caplog.messages[-1]
    assert loop.statistics.connections_closed == {CloseReason.BROKEN: 1}


EXHAUSTED = [
    OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
]


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: errno.errorcode[error.errno])
def test_out_of_descriptors_or_memory_accepting_pauses_and_resumes(
    error: OSError, caplog: pytest.LogCaptureFixture
) -> None:
    with Loop() as loop:
        healthy = loop.connect()
        loop.listeners[0].error = error
        waiting = loop.add_waiting()
        waiting.send(QUERY)
        loop.turn()
        assert f"cannot accept connections (1 are open): {error.strerror}" in caplog.text
        for _ in range(5):
            loop.turn()
            assert loop.wait > 0, "the waiting connection causes no turns"
        assert loop.exchange(healthy) == ANSWER
        loop.pass_time(1.0)
        loop.turn()
        assert [record.levelname for record in caplog.records] == ["DEBUG", "WARNING"], "another is held back"
        loop.listeners[0].error = None
        loop.pass_time(1.0)
        loop.turn(2)
        assert waiting.received() == ANSWER


def test_listeners_that_cannot_be_watched_again_are_retried(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(listener_count=2) as loop:
        healthy, leaving = loop.connect(), loop.connect()
        for listener in loop.listeners:
            listener.error = EXHAUSTED[0]
        waiting = [loop.add_waiting(listener=number) for number in (0, 1)]
        loop.turn()
        loop.listeners[0].error = loop.listeners[1].error = None
        loop.selector.register_errors += [None, *[OSError(errno.ENOSPC, "No space left on device")] * 2]
        leaving.socket.close()
        loop.turn()  # watches the first one, and not the second
        loop.pass_time(1.0)
        assert loop.exchange(healthy) == ANSWER
        assert [record.levelname for record in caplog.records].count("WARNING") == 1
        loop.pass_time(1.0)
        for peer in waiting:
            peer.send(QUERY)
        loop.turn(2)
        assert [peer.received() for peer in waiting] == [ANSWER, ANSWER]


def test_a_server_whose_listeners_cannot_be_watched_at_its_start_retries(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(register_error=OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))) as loop:
        assert "cannot accept connections (0 are open): Cannot allocate memory; " in caplog.text
        loop.pass_time(1.0)
        assert loop.exchange(loop.connect()) == ANSWER


def test_accepting_resumes_when_a_client_disconnects(loop: Loop) -> None:
    leaving = loop.connect()
    loop.listeners[0].error = EXHAUSTED[0]
    waiting = loop.add_waiting()
    loop.turn()
    loop.listeners[0].error = None
    waiting.send(QUERY)
    leaving.socket.close()
    loop.turn(3)
    assert waiting.received() == ANSWER
