"""The blocking client: its methods, its connection, and Ctrl-C."""

import os
import signal
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from scoop_core import Request, Response

from scoop_client import Client, parse_address

from tests.support.clients import index, query
from tests.support.process import ServerProcess
from tests.support.scripted_server import ScriptedServer, answer_all, answer_of, lines_of, read_lines, wait_for_end

OK, FAIL, ERROR = Response


def test_the_methods() -> None:
    with ServerProcess("--memory") as server, Client(f"127.0.0.1:{server.port}") as client:
        assert 0 < client.ping() < 10
        assert client.address == parse_address(f"127.0.0.1:{server.port}")
        assert (client.index("isl", ["gmp"]), client.index("gmp"), client.index("isl", ["gmp"])) == (FAIL, OK, OK)
        assert (client.query("isl"), client.remove("gmp"), client.remove("isl")) == (OK, FAIL, OK)
        assert client.send_all([index("a"), query("a"), query("b")]) == [OK, OK, FAIL]
        assert client.send_all([]) == []


def test_a_stream_takes_at_most_as_many_requests_ahead_as_it_may_leave_unanswered() -> None:
    taken = 0

    def source() -> Iterator[Request]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield query("a")

    with ScriptedServer(answer_all) as server, Client(server.address, max_unanswered=10) as client:
        for received, _ in enumerate(client.stream(source())):
            assert taken <= received + 10


def test_an_abandoned_stream_closes_the_connection() -> None:
    with ScriptedServer(answer_all) as server, Client(server.address) as client:
        stream = client.stream([query("a"), query("b")])
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # it is a generator
        assert client.query("b").value == answer_of("|b")
        assert server.connection_count <= 2


def test_another_call_during_a_stream_is_an_error() -> None:
    with ScriptedServer(answer_all) as server, Client(server.address) as client:
        for _ in client.stream([query("a"), query("b")]):
            with pytest.raises(RuntimeError, match="a stream of this client has not ended"):
                client.query("c")


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    def answer_one(sock: socket.socket, _number: int) -> None:
        [line] = read_lines(sock, 1)
        sock.sendall(f"{answer_of(line)}\n".encode())
        sock.shutdown(socket.SHUT_RDWR)

    with ScriptedServer(answer_one) as server, Client(server.address) as client:
        client.query("a")
        while not client._link or not client._link.is_stale():  # the end of the stream is on its way
            pass
        client.index("b")  # would not be sent again after a loss


def test_ctrl_c_closes_the_connection_and_the_client_stays_usable() -> None:
    def interrupt_first(sock: socket.socket, number: int) -> None:
        if number == 0:
            read_lines(sock, 1)
            os.kill(os.getpid(), signal.SIGINT)
            wait_for_end(sock)
        else:
            answer_all(sock, number)

    with ScriptedServer(interrupt_first) as server, Client(server.address) as client:
        with pytest.raises(KeyboardInterrupt):
            client.query("a")
        assert client.address is None
        assert client.query("b").value == answer_of("|b")


def test_a_closed_client_raises_an_error() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.query("a")


def test_addresses_are_texts() -> None:
    with pytest.raises(TypeError, match=r"expected addresses such as '127\.0\.0\.1:8080', got \[\]"):
        Client(cast("str", []))


@pytest.mark.parametrize(
    ("addresses", "options", "message"),
    [
        ((), {}, "expected at least one address, got none"),
        (("h:0",), {}, "expected a port from 1 to 65535, got 'h:0'"),
        (("h:1",), {"max_unanswered": 0}, "expected max_unanswered from 1 to 100000, got 0"),
    ],
)
def test_invalid_options(addresses: tuple[str, ...], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client(*addresses, **options)  # type: ignore[arg-type]  # numbers are accepted for all of them


def test_a_server_that_answers_byte_by_byte() -> None:
    def answer_slowly(sock: socket.socket, _number: int) -> None:
        for line in lines_of(sock):
            for byte in f"{answer_of(line)}\n".encode():
                sock.sendall(bytes([byte]))

    with ScriptedServer(answer_slowly) as server, Client(server.address) as client:
        sent = [query(name) for name in "abc"]
        assert client.send_all(sent) == [Response(answer_of(f"|{each.package}")) for each in sent]
