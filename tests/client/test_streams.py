"""Both clients: responses in order, resending, failover, time-outs, and servers that violate the protocol."""

import errno
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from scoop_core import Command, DependencyGraph, InvalidName, PackageName, Request, Response

from scoop_client import (
    ConnectionFailed,
    ConnectionLost,
    InvalidResponse,
    ResponseTimeout,
    TlsRejected,
    create_tls_context,
)

from tests.support.certificates import CertificateFiles
from tests.support.clients import STREAMS, Stream, index, query, remove
from tests.support.graph_strategies import requests as any_requests
from tests.support.process import WAIT_SECONDS, ServerProcess, free_port
from tests.support.scripted_server import ScriptedServer, answer_all, answer_of, lines_of, read_lines, wait_for_end

OK, FAIL, ERROR = Response

both = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.__name__)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--memory") as process:
        yield process


def address_of(server: ServerProcess) -> str:
    return f"127.0.0.1:{server.port}"


@both
class TestRealServer:
    def test_responses_are_those_of_a_graph(self, stream: Stream, server: ServerProcess) -> None:
        graph = DependencyGraph()
        sent = [
            remove("b"),
            remove("a"),
            index("b", "a"),
            index("a"),
            index("b", "a"),
            remove("a"),
            query("b"),
            query("c"),
        ]
        expected = [(request, graph.apply(request)) for request in sent]
        assert stream(sent, address_of(server)).answered == expected

    @pytest.mark.parametrize("max_unanswered", [1, 2, 7, 1_000])
    def test_any_window(self, stream: Stream, server: ServerProcess, max_unanswered: int) -> None:
        sent = [query(f"p{number}") for number in range(2_500)]
        outcome = stream(iter(sent), address_of(server), max_unanswered=max_unanswered)
        assert outcome == ([(request, FAIL) for request in sent], None)

    def test_requests_that_exceed_the_socket_buffers(self, stream: Stream, server: ServerProcess) -> None:
        # 20 MB of requests are under way while their responses have to be read.
        names = [f"{number:0>250}" for number in range(200)]
        sent = [index("big", *names)] * 400
        outcome = stream(sent, address_of(server), max_unanswered=400)
        assert outcome.answered == [(request, FAIL) for request in sent]

    def test_a_unix_socket(self, stream: Stream, tmp_path: Path) -> None:
        with ServerProcess("--memory", "--listen", f"unix:{tmp_path}/s") as server:
            assert stream([index("a"), query("a")], server.addresses[0]).answered[1][1] is OK

    def test_tls_with_a_client_certificate(self, stream: Stream, tmp_path: Path) -> None:
        files = CertificateFiles.make(tmp_path / "certificates")
        with ServerProcess("--memory", "--listen", "tls:127.0.0.1:0", *files.mutual_arguments) as server:
            address = f"tls:127.0.0.1:{server.port}"
            tls = create_tls_context(files.authority, files.client_cert)
            sent = [index(f"p{number}") for number in range(3_000)]
            assert stream(sent, address, tls=tls).answered == [(request, OK) for request in sent]
            rejected = stream([query("a")], address, tls=create_tls_context(files.authority))
            assert isinstance(rejected.error, TlsRejected)
            assert "certificate required" in str(rejected.error)
            plain = stream([query("a")], address.removeprefix("tls:"))
            assert isinstance(plain.error, InvalidResponse)
            assert plain.error.reason == f"it expects TLS; use the address {address}"
            untrusted = stream([query("a")], address)
            assert isinstance(untrusted.error, ConnectionFailed)
            assert "certificate verify failed" in str(untrusted.error)

    def test_a_restart_under_load(self, stream: Stream, tmp_path: Path) -> None:
        arguments = ("--data-dir", str(tmp_path / "data"), "--listen", f"unix:{tmp_path}/s")
        servers = [ServerProcess(*arguments)]

        def load() -> Iterator[Request]:
            yield from (index(f"p{number}") for number in range(100))
            for number in range(20_000):
                if number == 10_000:
                    servers[0].kill()
                    servers.append(ServerProcess(*arguments))
                yield query(f"p{number % 200}")

        try:
            outcome = stream(load(), f"unix:{tmp_path}/s")
        finally:
            servers[-1].stop()
        assert outcome.error is None
        assert len(outcome.answered) == 20_100
        for request, response in outcome.answered:
            assert response is (OK if int(request.package[1:]) < 100 else FAIL)


@both
class TestFailover:
    def test_the_next_address_is_used_if_one_cannot_be_connected(self, stream: Stream, server: ServerProcess) -> None:
        outcome = stream([query("nothing")], f"127.0.0.1:{free_port()}", "unix:/nonexistent", address_of(server))
        assert outcome == ([(query("nothing"), FAIL)], None)

    def test_the_error_names_every_address(self, stream: Stream) -> None:
        port = free_port()
        error = stream([query("a")], f"127.0.0.1:{port}", "unix:/nonexistent").error
        assert isinstance(error, ConnectionFailed)
        assert [str(address) for address, _ in error.attempts] == [f"tcp:127.0.0.1:{port}", "unix:/nonexistent"]
        assert str(error) == (
            f"cannot connect to tcp:127.0.0.1:{port}: connection refused; "
            f"cannot connect to unix:/nonexistent: {os.strerror(errno.ENOENT).lower()}"
        )

    def test_the_next_address_is_used_after_a_loss(self, stream: Stream) -> None:
        def close_at_once(sock: socket.socket, _number: int) -> None:
            read_lines(sock, 1)

        with ScriptedServer(close_at_once) as first, ScriptedServer(answer_all) as second:
            assert stream([query("a")], first.address, second.address).error is None
            assert (first.connection_count, second.connection_count) == (1, 1)


def answer_one_and_close(sock: socket.socket, _number: int) -> None:
    line, *_ = read_lines(sock, 3)
    sock.sendall(f"{answer_of(line)}\nFA".encode())


@both
class TestResending:
    def test_queries_are_sent_again(self, stream: Stream) -> None:
        def fail_twice(sock: socket.socket, number: int) -> None:
            (answer_one_and_close if number < 2 else answer_all)(sock, number)

        sent = [query(name) for name in "abcde"]
        with ScriptedServer(fail_twice) as server:
            assert stream(sent, server.address) == (
                [(each, Response(answer_of(f"|{each.package}"))) for each in sent],
                None,
            )
            assert server.connection_count == 3

    def test_changes_are_not_sent_again(self, stream: Stream) -> None:
        with ScriptedServer(answer_one_and_close) as server:
            outcome = stream([query("a"), index("b"), query("c")], server.address)
            assert server.connection_count == 1
        assert [request.package for request, _ in outcome.answered] == ["a"]
        assert isinstance(outcome.error, ConnectionLost)
        assert outcome.error.unanswered == (index("b"), query("c"))
        assert str(outcome.error) == (
            f"lost the connection to {server.address}: closed by the server; outcome unknown: 1 of the changes"
        )

    def test_queries_before_a_change_are_sent_again(self, stream: Stream) -> None:
        def serve(sock: socket.socket, number: int) -> None:
            if number == 0:
                read_lines(sock, 3)
            else:
                answer_all(sock, number)

        with ScriptedServer(serve) as server:
            outcome = stream([query("a"), query("b"), remove("c")], server.address)
        assert [request.package for request, _ in outcome.answered] == ["a", "b"]
        assert isinstance(outcome.error, ConnectionLost)
        assert outcome.error.unanswered == (remove("c"),)

    def test_changes_are_sent_again_on_request(self, stream: Stream) -> None:
        def serve(sock: socket.socket, number: int) -> None:
            (answer_all if number else answer_one_and_close)(sock, number)

        sent = [index("a"), index("b", "a"), remove("b")]
        with ScriptedServer(serve) as server:
            outcome = stream(sent, server.address, resend_changes=True)
        assert [request for request, _ in outcome.answered] == sent
        assert outcome.error is None

    def test_the_time_for_new_connections_is_limited(self, stream: Stream) -> None:
        with ScriptedServer(lambda sock, _: sock.close()) as server:
            error = stream([query("a")], server.address, reconnect_timeout=0.2).error
        assert isinstance(error, ConnectionLost)
        assert error.unanswered == (query("a"),)


@both
class TestFaults:
    def test_a_server_that_does_not_answer(self, stream: Stream) -> None:
        was_accepted = threading.Event()

        def never_answer(sock: socket.socket, _number: int) -> None:
            was_accepted.set()
            wait_for_end(sock)

        with ScriptedServer(never_answer) as server:
            error = stream([query("a")], server.address, response_timeout=0.1).error
            assert was_accepted.wait(WAIT_SECONDS)  # it may be later than the time-out
            assert server.connection_count == 1
        assert isinstance(error, ResponseTimeout)
        assert str(error) == f"lost the connection to {server.address}: no response for 0.1 s"

    def test_slow_answers_are_no_time_out_while_they_arrive(self, stream: Stream) -> None:
        pause = threading.Event()

        def answer_slowly(sock: socket.socket, _number: int) -> None:
            for line in lines_of(sock):
                pause.wait(0.15)
                sock.sendall(f"{answer_of(line)}\n".encode())

        with ScriptedServer(answer_slowly) as server:
            outcome = stream([query("a")] * 15, server.address, response_timeout=2)  # less than all pauses
        assert (len(outcome.answered), outcome.error) == (15, None)

    def test_a_handshake_that_does_not_end(self, stream: Stream) -> None:
        with ScriptedServer(lambda sock, _: wait_for_end(sock)) as server:
            error = stream([query("a")], f"tls:127.0.0.1:{server.port}", connect_timeout=0.1).error
        assert isinstance(error, ConnectionFailed)
        assert [reason for _, reason in error.attempts] == ["time-out"]

    def test_garbage(self, stream: Stream) -> None:
        def answer_one_and_garbage(sock: socket.socket, _number: int) -> None:
            line, *_ = read_lines(sock, 3)
            sock.sendall(f"{answer_of(line)}\nHTTP/1.1 400 Bad Request\r\n".encode())
            wait_for_end(sock)

        with ScriptedServer(answer_one_and_garbage) as server:
            outcome = stream([query("a"), query("b"), query("c")], server.address)
            assert server.connection_count == 1
        assert outcome.answered == [(query("a"), Response(answer_of("|a")))]
        assert isinstance(outcome.error, InvalidResponse)
        assert outcome.error.reason == "expected OK, FAIL or ERROR: 'HTTP/1.1 400 Bad Request\\r'"
        assert outcome.error.unanswered == (query("b"), query("c"))

    def test_a_response_without_a_request(self, stream: Stream) -> None:
        def answer_twice(sock: socket.socket, _number: int) -> None:
            read_lines(sock, 1)
            sock.sendall(b"OK\nOK\n")
            wait_for_end(sock)

        with ScriptedServer(answer_twice) as server:
            outcome = stream([query("a"), query("b")], server.address, max_unanswered=1)
            assert server.connection_count == 1
        assert outcome.answered == [(query("a"), OK)]
        assert isinstance(outcome.error, InvalidResponse)
        assert outcome.error.reason == "response without a request: 'OK'"

    def test_an_expired_certificate(self, stream: Stream, tmp_path: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        past = datetime.now(UTC) - timedelta(days=1)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", not_before=past - timedelta(days=9), not_after=past).configure_cert(tls)
        with ScriptedServer(answer_all, tls) as server:
            error = stream([query("a")], server.address, tls=create_tls_context(tmp_path / "authority.pem")).error
        assert isinstance(error, ConnectionFailed)
        assert [reason for _, reason in error.attempts] == ["certificate verify failed: certificate has expired"]


@both
class TestInvalidRequests:
    def test_responses_before_an_invalid_request_are_yielded(self, stream: Stream, server: ServerProcess) -> None:
        sent = [query("a1"), query("a2"), Request(Command.QUERY, PackageName("no name")), query("a3")]
        outcome = stream(sent, address_of(server))
        assert outcome.answered == [(query("a1"), FAIL), (query("a2"), FAIL)]
        assert isinstance(outcome.error, InvalidName)

    def test_responses_before_an_exception_of_the_source_are_yielded(
        self, stream: Stream, server: ServerProcess
    ) -> None:
        def source() -> Iterator[Request]:
            yield query("a1")
            raise ZeroDivisionError

        outcome = stream(source(), address_of(server))
        assert outcome.answered == [(query("a1"), FAIL)]
        assert isinstance(outcome.error, ZeroDivisionError)


class TestNoAnswerIsMatchedToTheWrongRequest:
    """A server that closes the connection after any number of bytes, over and over."""

    @settings(max_examples=30)
    @given(
        sent=st.lists(any_requests(), min_size=1, max_size=60),
        cuts=st.lists(st.integers(0, 80), max_size=8),
        max_unanswered=st.sampled_from([1, 3, 100]),
        resend_changes=st.booleans(),
        stream=st.sampled_from(STREAMS),
    )
    def test_random_cuts(
        self, sent: list[Request], cuts: list[int], max_unanswered: int, resend_changes: bool, stream: Stream
    ) -> None:
        def answer_up_to_the_cut(sock: socket.socket, number: int) -> None:
            left = cuts[number] if number < len(cuts) else 1_000_000
            for line in lines_of(sock):
                answer = f"{answer_of(line)}\n".encode()[:left]
                sock.sendall(answer)
                left -= len(answer)
                if not left:
                    return

        with ScriptedServer(answer_up_to_the_cut) as server:
            outcome = stream(sent, server.address, max_unanswered=max_unanswered, resend_changes=resend_changes)
        received = [request for request, _ in outcome.answered]
        assert received == sent[: len(received)]
        for request, response in outcome.answered:
            assert response.value == answer_of(f"|{request.package}")
        if outcome.error is None:
            assert received == sent
        else:
            # Only a change is not sent again.
            assert not resend_changes
            assert isinstance(outcome.error, ConnectionLost)
            assert outcome.error.unanswered[0] == sent[len(received)]
            assert outcome.error.unanswered[0].command is not Command.QUERY
