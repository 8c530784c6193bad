"""Handshakes of connections that are not clients yet, with streams whose handshakes are scripted."""

import contextlib
import errno
import os
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector, SelectorKey
from typing import Any

import pytest

from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer as RemotePeer
from scoop_server.loop import handshakes
from scoop_server.loop.shutdown import Lifecycle

from tests.support.event_loop import ANSWER, QUERY, Loop, Peer, ServerSocket


class ScriptedStream(ServerSocket):
    """A stream each step of whose handshake reads a byte, if there is one, and then returns or raises its script."""

    peer: RemotePeer

    def __init__(self, sock: ServerSocket, *steps: int | OSError) -> None:
        super().__init__(sock)
        self._steps = deque(steps)
        self.step_count = 0

    def handshake(self) -> int:
        self.step_count += 1
        with contextlib.suppress(BlockingIOError):
            self.recv(1)
        step = self._steps.popleft()
        if isinstance(step, OSError):
            raise step
        return step


def connect(loop: Loop, *steps: int | OSError) -> tuple[Peer, ScriptedStream]:
    """Return an accepted connection whose handshake goes through ``steps``."""
    peer = loop.pair()
    stream = ScriptedStream(peer.server_end, *steps)
    loop.resources.enter_context(stream)
    loop.listeners[0].add(stream)
    loop.turn()
    return peer, stream


def take_step(loop: Loop, peer: Peer) -> None:
    peer.send(b"!")
    loop.turn()


def test_a_stream_becomes_a_client_once_its_handshake_is_complete(loop: Loop) -> None:
    peer, stream = connect(loop, EVENT_READ, EVENT_READ, 0)
    for _ in range(3):
        loop.turn()
        take_step(loop, peer)
    assert stream.step_count == 3
    assert loop.exchange(peer) == ANSWER
    assert stream.step_count == 3


def test_the_log_names_the_subject_of_the_clients_certificate(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    peer, _ = connect(loop, 0)
    remote = loop.listeners[0].accepted[0]
    remote.names, remote.certificate = ("CN=build-7",), b"certificate"
    take_step(loop, peer)
    assert "192.0.2.1:1 (CN=build-7) connected" in caplog.messages


def test_a_handshake_that_has_data_to_send_continues_when_it_can(loop: Loop) -> None:
    peer, stream = connect(loop, EVENT_WRITE, EVENT_READ, 0)
    take_step(loop, peer)
    loop.turn(4)
    assert stream.step_count == 2, "it is writable, but waits for input now"
    peer.send(b"!" + QUERY)
    loop.turn(2)
    assert peer.received() == ANSWER


def test_a_turn_advances_a_few_handshakes_and_a_few_turns_advance_all() -> None:
    with Loop(Limits(handshakes_per_turn_max=8)) as loop:
        healthy = loop.connect()
        in_progress = [connect(loop, EVENT_READ, 0) for _ in range(20)]
        for peer, _ in in_progress:
            peer.send(b"!")
        assert loop.exchange(healthy) == ANSWER
        assert sum(stream.step_count for _, stream in in_progress) == 8
        loop.turn(2)
        assert [stream.step_count for _, stream in in_progress] == [1] * 20
        for peer, _ in in_progress:
            peer.send(b"!")
        loop.turn(3)
        assert loop.statistics.connections_now == 21


def test_a_failed_handshake_is_logged_and_affects_nobody_else(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    healthy = loop.connect()
    peer, _ = connect(loop, ConnectionAbortedError("no shared cipher"))
    peer.send(b"!")
    assert loop.exchange(healthy) == ANSWER
    assert peer.has_ended()
    assert "TLS handshake of 192.0.2.1:2 failed: no shared cipher" in caplog.messages


def test_an_error_while_a_failed_handshake_is_closed_is_ignored(loop: Loop) -> None:
    failed, stream = connect(loop, ConnectionAbortedError("no shared cipher"))
    stream.close_error = OSError(errno.EIO, os.strerror(errno.EIO))
    healthy = loop.connect()
    take_step(loop, failed)
    assert failed.has_ended()
    assert loop.exchange(healthy) == ANSWER


class FullSelector(DefaultSelector):
    """A selector that cannot watch the first file."""

    is_full = True

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if self.is_full:
            self.is_full = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().register(fileobj, events, data)


def test_a_handshake_that_cannot_be_watched_is_closed_and_the_next_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "DefaultSelector", FullSelector)
    with Loop() as loop:
        refused, _ = connect(loop, 0)
        assert refused.has_ended()
        peer, _ = connect(loop, 0)
        take_step(loop, peer)
        assert loop.exchange(peer) == ANSWER


def test_a_handshake_is_closed_if_the_selector_of_all_cannot_be_watched_and_the_next_is_not(loop: Loop) -> None:
    loop.selector.register_errors.append(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    refused, _ = connect(loop, 0)
    assert refused.has_ended()
    peer, _ = connect(loop, 0)
    take_step(loop, peer)
    assert loop.exchange(peer) == ANSWER


def test_the_log_counts_handshakes_among_the_open_connections(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    connect(loop, 0)
    loop.connect()
    loop.listeners[0].error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    loop.add_waiting()
    loop.turn()
    assert "cannot accept connections (2 are open): Too many open files; " in caplog.messages[-1]


def test_handshakes_that_take_too_long_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(handshake_seconds_max=10.0)) as loop:
        first, _ = connect(loop, EVENT_READ, EVENT_READ)
        loop.pass_time(5.0)
        second, _ = connect(loop, EVENT_READ, EVENT_READ)
        first.send(b"!")  # progress does not extend the time
        loop.pass_time(5.0)
        assert (first.has_ended(), second.has_ended()) == (True, False)
        assert "TLS handshake of 192.0.2.1:1 failed: time-out: incomplete for 10 s" in caplog.messages
        loop.pass_time(5.0)
        assert second.has_ended()
        loop.pass_time(10.0)
        assert "192.0.2.1:2 failed: time-out: incomplete for 10 s" in caplog.messages[-1], "repeated lines are delayed"


def test_handshakes_do_not_use_the_places_of_clients(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(clients_max=1)) as loop:
        (late, _), *_ = (connect(loop, 0) for _ in range(3))
        assert loop.exchange(loop.connect()) == ANSWER
        take_step(loop, late)
        assert late.has_ended()
        assert "closed the connection of 192.0.2.1:1: too many clients (limit 1)" in caplog.text


def test_over_the_quota_the_address_with_most_handshakes_loses_its_oldest(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(handshakes_max=3)) as loop:
        loop.listeners[0].next_peer = ("192.0.2.9", ())
        good, _ = connect(loop, EVENT_READ, 0)
        loop.listeners[0].next_peer = ("192.0.2.1", ())
        flood = [connect(loop, 0)[0] for _ in range(5)]
        assert [peer.has_ended() for peer in flood] == [True, True, True, False, False]
        assert "192.0.2.1 has 2 of the 3 TLS handshakes that may be in progress; closing its oldest" in caplog.messages
        assert "TLS handshake of 192.0.2.1:2 failed: too many handshakes in progress" in caplog.messages
        take_step(loop, good)
        take_step(loop, good)
        assert loop.exchange(good) == ANSWER


def test_a_turn_advances_handshakes_of_all_addresses() -> None:
    with Loop(Limits(handshakes_per_turn_max=2)) as loop:
        flood = [connect(loop, EVENT_READ)[0] for _ in range(5)]
        loop.listeners[0].next_peer = ("192.0.2.9", ())
        good, _ = connect(loop, 0)
        for peer in flood:
            peer.send(b"!")
        take_step(loop, good)
        assert loop.exchange(good) == ANSWER


def test_handshakes_in_progress_are_counted() -> None:
    with Loop(Limits(handshake_seconds_max=10.0)) as loop:
        successful, _ = connect(loop, 0)
        failing, _ = connect(loop, ConnectionAbortedError("no shared cipher"))
        connect(loop, 0)
        counted = [(loop.statistics.handshakes_now, loop.statistics.connections_now)]
        for peer in (successful, failing):
            take_step(loop, peer)
            counted.append((loop.statistics.handshakes_now, loop.statistics.connections_now))
        assert counted == [(3, 0), (2, 1), (1, 1)]
        loop.pass_time(10.0)
        assert loop.statistics.handshakes_now == 0


@pytest.mark.parametrize("is_signal_first", [False, True])
def test_a_shutdown_closes_handshakes_even_of_the_same_turn(loop: Loop, is_signal_first: bool) -> None:
    peer, stream = connect(loop, EVENT_READ, EVENT_READ)
    if is_signal_first:
        loop.signal()
    peer.send(b"!")
    loop.signal()
    loop.run_until_stopped()
    assert loop.state() is Lifecycle.STOPPED
    assert peer.has_ended()
    assert stream.step_count <= 1


def test_closing_the_server_closes_handshakes(loop: Loop) -> None:
    peer, _ = connect(loop, 0)
    loop.server.close()
    assert peer.has_ended()
    assert loop.statistics.handshakes_now == 0
