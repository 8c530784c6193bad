"""HTTP of the admin endpoint: which requests are answered, and what bad clients can cost."""

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http import HTTPStatus
from selectors import DefaultSelector, SelectorKey

import pytest

from scoop_server.admin.http_server import CONNECTIONS_MAX, HEAD_BYTES_MAX, HttpResponse, HttpServer
from scoop_server.config.addresses import parse_listen_address
from scoop_server.net.listener import Listener, bind

from tests.support.admin import RawClient, get

GET = "GET /path HTTP/1.1"
HOST = "Host: localhost"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def serving(connection_seconds_max: float = 60.0, listener: Listener | None = None) -> Iterator[str]:
    """Give HOST:PORT of a server that answers with the path, except that /defect raises."""

    def respond(path: str) -> HttpResponse:
        if path == "/defect":
            raise ZeroDivisionError("by design")
        return HttpResponse(HTTPStatus.OK, path.encode())

    listener = listener or bind(parse_listen_address("tcp:127.0.0.1:0"))
    listener.listen()
    with closing(HttpServer(listener, respond, connection_seconds_max)):
        yield listener.address


@pytest.fixture
def place() -> Iterator[str]:
    with serving() as each:
        yield each


@pytest.fixture
def client(place: str) -> Iterator[RawClient]:
    with RawClient(place) as each:
        yield each


@pytest.mark.parametrize(
    "head",
    [
        [GET, HOST],
        [GET, HOST, "Connection: keep-alive"],
        [GET, HOST, "Content-Length: 5"],
        [GET, HOST, "Content-Length: 5", "Content-Length: 5"],
        [GET, HOST, "Transfer-Encoding: chunked"],
        ["GET http://localhost/path HTTP/1.1", HOST],
        ["GET /path?query HTTP/1.1", HOST],
        ["GET /path HTTP/1.0"],
    ],
    ids=str,
)
def test_a_connection_carries_one_request_and_one_response(client: RawClient, head: list[str]) -> None:
    client.send(*head, "", SMUGGLED)
    status, header, body = client.response()
    assert (status, body) == (200, b"/path")
    assert header["Connection"] == "close"
    assert header["Content-Length"] == "5"


@pytest.mark.parametrize(
    "head",
    [
        ["QUERY|a|"],
        ["GET /path"],
        ["GET  /path HTTP/1.1", HOST],
        ["get /path HTTP/x", HOST],
        [GET],
        [GET, HOST, HOST],
        [GET, HOST, "without a colon"],
        [GET, HOST, " folded: yes"],
        [GET, "Host : here"],
        [GET, HOST, "Content-Length: 0", "Content-Length: 38"],
        [GET, HOST, "Content-Length: 38", "Content-Length: 0"],
        [GET, HOST, "Content-Length: +0"],
        [GET, HOST, "Content-Length:"],
        [GET, HOST, "Content-Length: 5", "Transfer-Encoding: chunked"],
        [GET, HOST, "X: a\rContent-Length: 38"],
        [GET, HOST, "X: a\nContent-Length: 38"],
        [GET, HOST, "\x0bTransfer-Encoding: chunked"],
        ["GET /\0path HTTP/1.1", HOST],
        ["GET http://[::/path HTTP/1.1", HOST],
        ["\xff\x00\x1b"],
        [""],
    ],
    ids=ascii,
)
def test_an_ambiguous_or_malformed_head_is_rejected_completely(client: RawClient, head: list[str]) -> None:
    client.send(*head, "", SMUGGLED)
    status, _, body = client.response()
    assert (status, body) == (400, b"Bad Request\n")


def test_lines_that_end_in_a_bare_newline_are_rejected(client: RawClient) -> None:
    client.socket.sendall(b"GET /path HTTP/1.1\nHost: localhost\n\n")
    assert client.response()[0] == 400


@pytest.mark.parametrize("extra", ["X: " + "x" * HEAD_BYTES_MAX, "a:\r\n" * 3_000], ids=["long line", "many lines"])
def test_a_head_over_the_limit_is_rejected(client: RawClient, extra: str) -> None:
    client.send(GET, HOST, extra)
    assert client.response()[0] == 431


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "QUERY"])
def test_other_methods_are_not_allowed(client: RawClient, method: str) -> None:
    body = SMUGGLED * 1_000
    client.send(f"{method} /path HTTP/1.1", HOST, f"Content-Length: {len(body)}")
    client.socket.sendall(body.encode())
    status, header, _ = client.response()
    assert (status, header["Allow"]) == (405, "GET, HEAD")


def test_head_gets_the_header_alone(client: RawClient) -> None:
    client.send("HEAD /path HTTP/1.1", HOST)
    status, header, body = client.response()
    assert (status, header["Content-Length"], body) == (200, "5", b"")


def test_a_client_that_has_shut_its_sending_side_is_answered(client: RawClient) -> None:
    client.send(GET, HOST)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.response()[0] == 200


def test_an_incomplete_head_gets_no_response(client: RawClient) -> None:
    client.socket.sendall(b"GET /path HTTP/1.1\r\nHost: localhost\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.has_ended()


def test_a_defect_in_a_response_is_one_log_line(
    place: str, client: RawClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client.send("GET /defect HTTP/1.1", HOST)
    assert client.response()[0] == 500
    assert get(place, "/path") == (200, "/path")
    assert caplog.messages == ["the admin endpoint failed to answer: ZeroDivisionError('by design')"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["rebound.example:9100", "127.0.0.1.example", "localhost.", ""])
def test_a_name_that_another_site_may_have_given_to_loopback_is_rejected(client: RawClient, host: str) -> None:
    client.send(GET, f"Host: {host}")
    assert client.response()[0] == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:9100", "127.1.2.3", "[::1]:9100", "scoop:9100"]
)
def test_addresses_and_local_names_are_accepted(client: RawClient, host: str) -> None:
    client.send(GET, f"Host: {host}")
    assert client.response()[0] == 200


# Limits


def test_a_new_connection_replaces_the_oldest_one(place: str) -> None:
    with ExitStack() as clients:
        waiting = [clients.enter_context(RawClient(place)) for _ in range(CONNECTIONS_MAX)]
        assert get(place, "/path") == (200, "/path")
        assert waiting[0].has_ended()
        waiting[-1].send(GET, HOST)
        assert waiting[-1].response()[0] == 200


@pytest.mark.parametrize("sent", [b"", b"GET /path HTT", SMUGGLED.encode() * 100_000], ids=["nothing", "part", "much"])
def test_a_connection_ends_at_its_deadline(sent: bytes) -> None:
    with serving(connection_seconds_max=0.1) as place, RawClient(place) as client:
        client.socket.setblocking(False)
        client.socket.send(sent)
        client.socket.settimeout(60)
        while client.socket.recv(65_536):
            pass


def test_dripping_bytes_do_not_extend_the_deadline() -> None:
    with serving(connection_seconds_max=0.5) as place, RawClient(place) as client:
        client.socket.settimeout(0.05)
        with pytest.raises(ConnectionError):
            drip(client)


def drip(client: RawClient) -> None:
    """Send a byte each 50 ms. Raises ConnectionError at the end of the connection."""
    for _ in range(1_000):
        client.socket.send(b"G")
        with suppress(TimeoutError):
            if not client.socket.recv(1):
                raise ConnectionResetError


def test_open_connections_do_not_delay_the_end() -> None:
    with ExitStack() as clients, serving() as place:
        for _ in range(CONNECTIONS_MAX):
            clients.enter_context(RawClient(place)).socket.send(b"GET /p")
    # Leaving the block has closed the server: had it waited for the deadline, this test would time out.


class ScarceSocket(socket.socket):
    """A listening socket that finds no descriptor for its first connection."""

    has_descriptor = False

    def accept(self) -> tuple[socket.socket, object]:
        if self.has_descriptor:
            return super().accept()
        self.has_descriptor = True
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_shortage_of_memory_is_one_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    failed = threading.Event()

    def select(selector: DefaultSelector, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return original(selector, timeout)

    original = DefaultSelector.select
    monkeypatch.setattr(DefaultSelector, "select", select)
    with serving() as place:
        assert get(place, "/path") == (200, "/path")
    assert failed.is_set()
    assert caplog.messages == [
        "the admin endpoint cannot accept connections: Cannot allocate memory; raise the limit of open files"
    ]
    assert capfd.readouterr() == ("", "")


def test_a_shortage_of_descriptors_is_logged_and_the_connection_served_once_there_are_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sock = ScarceSocket()
    sock.bind(("127.0.0.1", 0))
    with serving(listener=Listener(sock)) as place:
        assert get(place, "/path") == (200, "/path")
    assert caplog.messages == [
        "the admin endpoint cannot accept connections: Too many open files; raise the limit of open files"
    ]
