"""Handshakes before clients, with a stream whose handshake goes as the test says."""

import contextlib
import errno
import logging
import os
import socket
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from scoop_server.config.limits import Limits
from scoop_server.loop import handshakes
from scoop_server.loop.ports import HandshakingStream
from scoop_server.loop.shutdown import Lifecycle

from tests.support.event_loop import ANSWER, QUERY, Loop, Peer


class ScriptedStream:
    """A stream each step of whose handshake takes a byte, if one is there, and returns or raises what the step is."""

    def __init__(self, sock: socket.socket, *steps: int | OSError) -> None:
        self._socket = sock
        self._steps = deque(steps)
        self.handshake_count = 0

    @property
    def peer_subject(self) -> str:
        return ""

    def handshake(self) -> int:
        self.handshake_count += 1
        with contextlib.suppress(BlockingIOError):
            self._socket.recv(1)
        step = self._steps.popleft()
        if isinstance(step, OSError):
            raise step
        return step

    def recv(self, size: int, /) -> bytes:
        return self._socket.recv(size)

    def send(self, data: bytes | bytearray, /) -> int:
        return self._socket.send(data)

    def shutdown(self, how: int, /) -> None:
        self._socket.shutdown(how)

    def setblocking(self, flag: bool, /) -> None:
        self._socket.setblocking(flag)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()


def connect(loop: Loop, *steps: int | OSError) -> tuple[Peer, ScriptedStream]:
    """Return the far end of an accepted connection whose handshake goes through ``steps``, and the near one."""
    near, peer = loop.pair()
    stream = ScriptedStream(near, *steps)
    loop.listeners[0].add(stream)
    loop.turn()
    return peer, stream


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="scoop_server")


def test_a_stream_is_a_client_once_its_handshake_is_complete() -> None:
    with Loop() as loop:
        peer, stream = connect(loop, EVENT_READ, EVENT_READ, 0)
        assert isinstance(stream, HandshakingStream)
        for _ in range(3):
            loop.turn()
            peer.send(b"!")
            loop.turn()
        assert stream.handshake_count == 3
        peer.send(QUERY)
        loop.turn()
        assert peer.received() == ANSWER
        assert stream.handshake_count == 3


def test_a_handshake_that_has_something_to_send_goes_on_when_it_can() -> None:
    with Loop() as loop:
        peer, stream = connect(loop, EVENT_WRITE, EVENT_READ, 0)
        loop.turn()
        peer.send(b"!")
        loop.turn(4)
        assert stream.handshake_count == 2  # it can always be sent to, and nothing comes from it
        peer.send(b"!" + QUERY)
        loop.turn(2)
        assert peer.received() == ANSWER


def test_a_turn_takes_a_few_handshakes_further_and_soon_all_of_them() -> None:
    with Loop(Limits(handshakes_per_turn_max=8)) as loop:
        healthy = loop.connect()
        shaking = [connect(loop, EVENT_READ, 0) for _ in range(20)]
        for peer, _ in shaking:
            peer.send(b"!")
        healthy.send(QUERY)
        loop.turn()
        assert healthy.received() == ANSWER
        assert sum(stream.handshake_count for _, stream in shaking) == 8
        loop.turn(2)
        assert [stream.handshake_count for _, stream in shaking] == [1] * 20
        for peer, _ in shaking:
            peer.send(b"!")
        loop.turn(3)
        assert loop.statistics.connections_now == 21


def test_a_handshake_that_fails_costs_no_one_else(caplog: pytest.LogCaptureFixture) -> None:
    with Loop() as loop:
        healthy = loop.connect()
        peer, _ = connect(loop, ConnectionAbortedError("no shared cipher"))
        peer.send(b"!")
        healthy.send(QUERY)
        loop.turn()
        assert peer.has_ended()
        assert healthy.received() == ANSWER
        assert "TLS handshake of 192.0.2.1:2 failed: no shared cipher" in caplog.messages


def test_a_handshake_for_which_descriptors_are_missing_costs_no_one_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_descriptors() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Loop() as loop:
        healthy = loop.connect()
        with monkeypatch.context() as patch:
            patch.setattr(handshakes, "DefaultSelector", out_of_descriptors)
            refused, _ = connect(loop, 0)
            assert refused.has_ended()
        peer, _ = connect(loop, 0)
        peer.send(b"!")
        loop.turn()
        for each in (healthy, peer):
            each.send(QUERY)
        loop.turn()
        assert [healthy.received(), peer.received()] == [ANSWER, ANSWER]


def test_the_connections_that_keep_others_from_being_accepted_are_told_with_handshakes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Loop() as loop:
        connect(loop, 0)
        loop.connect()
        loop.listeners[0].error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        loop.call()
        loop.turn()
        assert "cannot accept connections (2 are open): Too many open files; " in caplog.messages[-1]


def test_handshakes_that_take_too_long_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(handshake_seconds_max=10.0)) as loop:
        loop.turn()
        waits = [loop.wait]
        first, _ = connect(loop, EVENT_READ, EVENT_READ)
        loop.turn()
        waits.append(loop.wait)
        assert waits == [1.0, 1.0]
        loop.pass_time(5.0)
        second, _ = connect(loop, EVENT_READ, EVENT_READ)
        first.send(b"!")  # to go on with it changes nothing
        loop.pass_time(5.0)
        assert (first.has_ended(), second.has_ended()) == (True, False)
        assert "TLS handshake of 192.0.2.1:1 failed: time-out: incomplete for 10 s" in caplog.messages
        loop.pass_time(5.0)
        assert second.has_ended()
        loop.turn()
        assert loop.wait == 1.0  # a second failure within seconds is only counted, and will be told
        loop.pass_time(10.0)
        assert "192.0.2.1:2 failed: time-out: incomplete for 10 s" in caplog.messages[-1]


def test_handshakes_do_not_take_the_places_of_clients() -> None:
    with Loop(Limits(clients_max=1)) as loop:
        for _ in range(3):
            connect(loop, 0)
        plain = loop.connect()
        plain.send(QUERY)
        loop.turn()
        assert plain.received() == ANSWER


def test_a_handshake_that_completes_when_there_is_no_place_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(clients_max=1)) as loop:
        late, _ = connect(loop, 0)
        loop.connect()
        late.send(b"!")
        loop.turn()
        assert late.has_ended()
        assert "closed the connection of 192.0.2.1:1: too many clients (limit 1)" in caplog.messages


def test_over_the_quota_a_new_handshake_takes_the_place_of_the_oldest(caplog: pytest.LogCaptureFixture) -> None:
    with Loop(Limits(handshakes_max=2)) as loop:
        peers = [connect(loop, 0)[0] for _ in range(3)]
        assert [peer.has_ended() for peer in peers] == [True, False, False]
        assert "TLS handshake of 192.0.2.1:1 failed: too many handshakes in progress" in caplog.messages
        peers[2].send(b"!")
        loop.turn()
        peers[2].send(QUERY)
        loop.turn()
        assert peers[2].received() == ANSWER


def test_handshakes_are_counted_while_they_last() -> None:
    with Loop(Limits(handshake_seconds_max=10.0)) as loop:
        through, _ = connect(loop, 0)
        failing, _ = connect(loop, ConnectionAbortedError("no shared cipher"))
        connect(loop, 0)
        counted = [(loop.statistics.handshakes_now, loop.statistics.connections_now)]
        for peer in (through, failing):
            peer.send(b"!")
            loop.turn()
            counted.append((loop.statistics.handshakes_now, loop.statistics.connections_now))
        assert counted == [(3, 0), (2, 1), (1, 1)]
        loop.pass_time(10.0)
        assert loop.statistics.handshakes_now == 0
        connect(loop, 0)
        assert loop.statistics.handshakes_now == 1
        loop.server.close()
        assert loop.statistics.handshakes_now == 0


def test_a_shutdown_closes_what_is_not_a_client_yet() -> None:
    with Loop() as loop:
        peer, stream = connect(loop, EVENT_READ, 0)
        peer.send(b"!")
        loop.turn()
        peer.send(b"!")
        loop.signal()  # in the same turn as the last step, whichever comes first
        loop.run_down()
        assert peer.has_ended()
        assert stream.handshake_count <= 2


def test_what_was_closed_earlier_in_a_turn_is_left_alone() -> None:
    with Loop() as loop:
        peer, stream = connect(loop, 0)
        loop.signal()  # it is ready first, and is reported first
        peer.send(b"!")
        loop.run_down()
        assert loop.state() is Lifecycle.STOPPED
        assert stream.handshake_count == 0


def test_closing_the_server_closes_handshakes() -> None:
    with Loop() as loop:
        peer, _ = connect(loop, 0)
        loop.server.close()
        assert peer.has_ended()
