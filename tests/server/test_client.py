import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from scoop_server.config.limits import Limits
from scoop_server.loop.client import Client, Phase

LIMITS = Limits(line_bytes_max=100, read_bytes_max=64, output_bytes_high_water=1_000, output_bytes_max=2_000)


class UnreadySocket:
    """A connected socket of a system that changes its mind: each call gives the next of what is ``scripted``."""

    def __init__(self, *scripted: bytes | int | OSError) -> None:
        self.scripted = list(scripted)
        self.sent = b""
        self.calls: list[str] = []

    def _next(self) -> bytes | int:
        outcome = self.scripted.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def recv(self, size: int, /) -> bytes:
        self.calls.append(f"recv {size}")
        data = self._next()
        assert isinstance(data, bytes)
        return data

    def send(self, data: bytes | bytearray, /) -> int:
        taken = self._next()
        assert isinstance(taken, int)
        self.sent += data[:taken]
        return taken

    def shutdown(self, how: int, /) -> None:
        self.calls.append(f"shutdown {how}")
        self._next()

    def setblocking(self, flag: bool, /) -> None:
        self.calls.append(f"setblocking {flag}")

    def close(self) -> None:
        self.calls.append("close")

    def fileno(self) -> int:
        return -1


def read(client: Client) -> str:
    """Read once, and return the lines that are complete then."""
    return client.connection.receive(data) if (data := client.read()) else ""


def scripted_client(*scripted: bytes | int | OSError) -> tuple[Client, UnreadySocket]:
    sock = UnreadySocket(*scripted)
    return Client(sock, "a test", LIMITS, now=0.0), sock


@pytest.fixture
def ends() -> Iterator[tuple[Client, socket.socket]]:
    """Give a client and its peer's socket."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield Client(near, "a test", LIMITS, now=0.0), far


def test_a_new_client_may_ask_and_is_watched_for_reading(ends: tuple[Client, socket.socket]) -> None:
    client, _ = ends
    assert client.phase is Phase.OPEN
    assert client.may_ask
    assert client.wanted_events == client.registered_events == EVENT_READ
    assert not client.is_in_line


def test_it_hands_on_complete_lines_and_keeps_the_incomplete_one(ends: tuple[Client, socket.socket]) -> None:
    client, peer = ends
    peer.sendall(b"QUERY|a|\r\nQUERY|b|\nQUERY|")
    assert read(client) == "QUERY|a|\nQUERY|b|\n"
    assert client.is_in_line
    peer.sendall(b"c|\n")
    assert read(client) == "QUERY|c|\n"
    assert not client.is_in_line


def test_one_read_takes_a_bounded_number_of_bytes(ends: tuple[Client, socket.socket]) -> None:
    client, peer = ends
    peer.sendall(b"\n" * (LIMITS.read_bytes_max + 3))
    assert read(client) == "\n" * LIMITS.read_bytes_max
    assert read(client) == "\n" * 3


def test_it_holds_its_server_to_the_line_limit(ends: tuple[Client, socket.socket]) -> None:
    client, peer = ends
    peer.sendall(b"x" * (LIMITS.line_bytes_max + 1))
    assert read(client) == ""
    assert read(client) == "\n"
    assert client.is_in_line  # the rest of the line is still to be skipped
    peer.sendall(b"xxx\nQUERY|a|\n")
    assert read(client) == "QUERY|a|\n"


def test_the_end_of_the_stream_makes_it_a_finishing_client(ends: tuple[Client, socket.socket]) -> None:
    client, peer = ends
    peer.sendall(b"QUERY|a|\nQUERY|b")
    peer.shutdown(socket.SHUT_WR)
    assert read(client) == "QUERY|a|\n"
    assert read(client) == ""
    assert client.phase is Phase.FINISHING
    assert not client.may_ask
    assert not client.is_in_line
    assert client.wanted_events == 0
    assert not client.send("OK\n")  # it is taken, and yet the client cannot simply go on
    assert client.wanted_events == 0
    assert peer.recv(100) == b"OK\n"


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError()])
def test_a_socket_that_was_not_ready_to_be_read_changes_nothing(error: OSError) -> None:
    client, _ = scripted_client(error, error, b"QUERY|a|\n")
    assert read(client) == ""
    assert client.discard()
    assert client.phase is Phase.OPEN
    assert read(client) == "QUERY|a|\n"


def test_a_broken_connection_is_an_os_error() -> None:
    client, _ = scripted_client(ConnectionResetError(), ConnectionResetError(), BrokenPipeError(), BrokenPipeError())
    with pytest.raises(ConnectionResetError):
        read(client)
    with pytest.raises(ConnectionResetError):
        client.discard()
    with pytest.raises(BrokenPipeError):
        client.send("OK\n")
    with pytest.raises(BrokenPipeError):
        client.linger()


def test_answers_that_are_taken_whole_leave_nothing_to_wait_for(ends: tuple[Client, socket.socket]) -> None:
    client, peer = ends
    assert client.send("OK\nFAIL\n")
    assert client.wanted_events == EVENT_READ
    assert peer.recv(100) == b"OK\nFAIL\n"
    assert client.send("")  # nothing to send is nothing to wait for either


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError()])
def test_what_the_peer_does_not_take_is_kept_and_sent_in_order(error: OSError) -> None:
    client, sock = scripted_client(4, error, 3, error, 100)
    assert not client.send("OK\nFAIL\n")
    assert client.wanted_events == EVENT_READ | EVENT_WRITE
    assert not client.send("")
    assert not client.send("ERROR\n")
    assert not client.send("OK\n")
    assert client.send("OK\n")
    assert sock.sent == b"OK\nFAIL\nERROR\nOK\nOK\n"
    assert client.wanted_events == EVENT_READ


def test_a_first_send_that_would_wait_keeps_everything() -> None:
    client, sock = scripted_client(BlockingIOError(), 100)
    assert not client.send("OK\n")
    assert client.send("")
    assert sock.sent == b"OK\n"


def test_above_the_high_water_mark_it_may_not_ask() -> None:
    client, sock = scripted_client(BlockingIOError(), BlockingIOError(), 1, 10_000)
    client.send("x" * LIMITS.output_bytes_high_water)
    assert client.wanted_events == EVENT_READ | EVENT_WRITE
    client.send("x")
    assert not client.may_ask
    assert client.wanted_events == EVENT_WRITE
    client.send("")  # one byte goes
    assert client.wanted_events == EVENT_READ | EVENT_WRITE
    assert client.send("")
    assert client.wanted_events == EVENT_READ
    assert len(sock.sent) == LIMITS.output_bytes_high_water + 1


def test_above_the_hard_limit_it_is_an_error() -> None:
    client, _ = scripted_client(BlockingIOError(), BlockingIOError(), BlockingIOError())
    client.send("x" * LIMITS.output_bytes_max)
    client.send("")
    with pytest.raises(ConnectionAbortedError, match=r"^2,001 bytes of answers are unsent$"):
        client.send("x")


def test_lingering_shows_the_peer_the_end_and_throws_away_what_it_goes_on_sending(
    ends: tuple[Client, socket.socket],
) -> None:
    client, peer = ends
    client.linger()
    assert client.phase is Phase.LINGERING
    assert client.wanted_events == EVENT_READ
    assert not client.may_ask
    assert peer.recv(1) == b""
    peer.sendall(b"QUERY|a|\n")
    assert client.discard()
    assert client.discard()
    peer.close()
    assert not client.discard()


def test_discarding_reads_a_bounded_number_of_bytes() -> None:
    client, sock = scripted_client(b"x")
    assert client.discard()
    assert sock.calls == [f"recv {LIMITS.read_bytes_max}"]


def test_close_closes_the_socket(ends: tuple[Client, socket.socket]) -> None:
    client, peer = ends
    client.close()
    assert client.phase is Phase.CLOSED
    assert peer.recv(1) == b""
