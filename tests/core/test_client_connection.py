"""The client's side of a connection: requests out, responses in order, and servers that violate the protocol."""

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_core import (
    MAX_LINE_LENGTH,
    MAX_UNANSWERED,
    ClientConnection,
    ClientConnectionState,
    Command,
    Connection,
    DependencyGraph,
    InvalidName,
    LimitExceeded,
    PackageName,
    PeerViolation,
    Request,
    Response,
    encode_request,
    encode_response,
)

from tests.support.graph_strategies import requests

QUERY_A, QUERY_B, QUERY_C = (Request.of(Command.QUERY, name) for name in "abc")
IDLE, WAITING, ENDED, BROKEN = ClientConnectionState


def client_with(*unanswered: Request) -> ClientConnection:
    client = ClientConnection()
    for request in unanswered:
        client.send(request)
    return client


def result_or_error(call: Callable[[], bytes]) -> bytes | str:
    """Return the result of ``call``, or the text of its InvalidName."""
    try:
        return call()
    except InvalidName as error:
        return str(error)


def unchecked_requests() -> st.SearchStrategy[Request]:
    """Return requests whose names may be any text, and often contain separators or are empty or long."""
    names = st.text("ab|,\n\r\u00e9\u20ac ", max_size=4) | st.sampled_from(["a" * 255, "a" * 256])
    texts = names.map(lambda text: cast("PackageName", text))
    return st.builds(Request, st.sampled_from(Command), texts, st.lists(texts, max_size=2).map(tuple))


class TestRequestsAndResponses:
    def test_the_state_and_the_unanswered_requests_follow(self) -> None:
        client = client_with(QUERY_A, QUERY_B)
        assert (client.state, client.unanswered, client.unanswered_count) == (WAITING, (QUERY_A, QUERY_B), 2)
        assert client.receive(b"OK\nFAI") == [(QUERY_A, Response.OK)]
        assert (client.state, client.unanswered, client.unanswered_count) == (WAITING, (QUERY_B,), 1)
        assert client.receive(b"L\n") == [(QUERY_B, Response.FAIL)]
        assert (client.state, client.unanswered, client.unanswered_count) == (IDLE, (), 0)
        client.receive_end()
        assert client.state is ENDED

    @given(st.lists(st.tuples(requests(), st.sampled_from(Response))), st.data())
    def test_responses_may_be_split_anywhere(
        self, exchanges: list[tuple[Request, Response]], data: st.DataObject
    ) -> None:
        client = client_with(*(request for request, _ in exchanges))
        stream = "".join(encode_response(response) for _, response in exchanges).encode()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
        received = []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            received += client.receive(stream[start:end])
        assert received == exchanges

    @given(st.lists(requests()))
    def test_a_client_and_a_server_understand_each_other(self, sent: list[Request]) -> None:
        client, server, graph, expected = ClientConnection(), Connection(), DependencyGraph(), DependencyGraph()
        responses = graph.apply_lines(server.receive(b"".join(map(client.send, sent))))
        assert client.receive(responses.encode()) == [(request, expected.apply(request)) for request in sent]
        assert graph == expected

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_bytes_like_object_is_received(self, kind: Callable[[bytes], bytes]) -> None:
        assert client_with(QUERY_A).receive(kind(b"OK\n")) == [(QUERY_A, Response.OK)]


class TestSending:
    def test_an_invalid_name_is_not_sent(self) -> None:
        client = ClientConnection()
        with pytest.raises(InvalidName):
            client.send(Request(Command.QUERY, cast("PackageName", "a|\nREMOVE|b")))
        assert (client.state, client.unanswered_count) == (IDLE, 0)

    def test_a_line_over_the_limit_is_not_sent(self) -> None:
        client = ClientConnection(max_line_length=len(encode_request(QUERY_A)) - 1)
        client.send_all([QUERY_A, QUERY_A])
        with pytest.raises(LimitExceeded, match=r"^cannot send the request: 9 bytes in a line \(limit 8\)$"):
            client.send(Request.of(Command.QUERY, "aa"))
        assert client.unanswered == (QUERY_A, QUERY_A)

    def test_a_request_over_the_limit_of_unanswered_ones_is_not_sent(self) -> None:
        client = ClientConnection(max_unanswered=2)
        client.send(QUERY_A)
        client.send(QUERY_B)
        with pytest.raises(LimitExceeded, match=r"3 unanswered requests \(limit 2\)$"):
            client.send(QUERY_C)
        client.receive(b"OK\n")
        assert client.send(QUERY_C) == b"QUERY|c|\n"

    @pytest.mark.parametrize("limits", [{"max_line_length": 0}, {"max_unanswered": 0}])
    def test_limits_are_at_least_one(self, limits: dict[str, int]) -> None:
        ClientConnection(**dict.fromkeys(limits, 1))
        with pytest.raises(ValueError, match="expected limits of at least 1"):
            ClientConnection(**limits)

    @given(st.lists(requests()))
    def test_a_batch_is_sent_as_its_requests_one_by_one(self, batch: list[Request]) -> None:
        together, one_by_one = ClientConnection(), ClientConnection()
        assert together.send_all(batch) == b"".join(map(one_by_one.send, batch))
        assert (together.state, together.unanswered) == (one_by_one.state, one_by_one.unanswered)

    @given(st.lists(unchecked_requests(), max_size=3))
    def test_a_batch_of_any_texts_is_checked_as_its_requests_one_by_one(self, batch: list[Request]) -> None:
        one_by_one, together = ClientConnection(), ClientConnection()
        expected = result_or_error(lambda: b"".join(map(one_by_one.send, batch)))
        assert result_or_error(lambda: together.send_all(batch)) == expected

    @pytest.mark.parametrize(
        ("request_", "error"),
        [
            (Request(Command.QUERY, cast("PackageName", "a|\nREMOVE|b")), InvalidName),
            (Request(Command.INDEX, PackageName("a"), (cast("PackageName", ""),)), InvalidName),
            (Request(Command.INDEX, PackageName("a"), (cast("PackageName", "b,c"),)), InvalidName),
            (Request(Command.INDEX, PackageName("a"), (cast("PackageName", "b,c,d"),)), InvalidName),
            (Request(Command.INDEX, PackageName("a"), cast("tuple[PackageName]", "bc")), TypeError),
            (Request.of(Command.QUERY, "a" * 20), LimitExceeded),
        ],
    )
    def test_nothing_of_a_batch_with_an_invalid_request_is_sent(
        self, request_: Request, error: type[Exception]
    ) -> None:
        client = ClientConnection(max_line_length=20)
        with pytest.raises(error):
            client.send_all([QUERY_A, request_, QUERY_B])
        assert (client.state, client.unanswered_count) == (IDLE, 0)

    def test_a_batch_over_the_limit_of_unanswered_requests_is_not_sent(self) -> None:
        client = ClientConnection(max_unanswered=2)
        client.send(QUERY_A)
        with pytest.raises(LimitExceeded, match=r"3 unanswered requests \(limit 2\)$"):
            client.send_all([QUERY_B, QUERY_C])
        assert client.unanswered == (QUERY_A,)

    def test_the_default_limits(self) -> None:
        assert (MAX_LINE_LENGTH, MAX_UNANSWERED) == (65_536, 100_000)


class TestViolations:
    @pytest.mark.parametrize(
        ("unanswered", "data", "message"),
        [
            ([], b"OK\n", "response without a request: 'OK'"),
            ([], b"YES\n", "expected OK, FAIL or ERROR: 'YES'"),
            ([QUERY_A], b"\n", "expected OK, FAIL or ERROR: ''"),
            ([QUERY_A], b"ok\n", "expected OK, FAIL or ERROR: 'ok'"),
            ([QUERY_A], b"OK\r\n", r"expected OK, FAIL or ERROR: 'OK\r'"),
            ([QUERY_A], b"\xff\xfe\n", r"expected OK, FAIL or ERROR: '\xff\xfe'"),
            ([QUERY_A], b"HTTP/1", "expected OK, FAIL or ERROR: 'HTTP/1'"),
        ],
    )
    def test_a_violation_breaks_the_connection(self, unanswered: list[Request], data: bytes, message: str) -> None:
        client = client_with(*unanswered)
        for call in (lambda: client.receive(data), client.receive_end, lambda: client.send(QUERY_B)):
            with pytest.raises(PeerViolation) as caught:
                call()
            assert str(caught.value) == message
        assert (client.state, client.unanswered) == (BROKEN, tuple(unanswered))

    @pytest.mark.parametrize("data", [b"OK\nWHAT\nOK\n", b"OK\nWHATEVER"])
    def test_a_violation_after_a_response_is_raised_at_once_and_carries_the_response(self, data: bytes) -> None:
        client = client_with(QUERY_A, QUERY_B)
        with pytest.raises(PeerViolation, match="'WHAT") as caught:
            client.receive(data)
        assert caught.value.answered == ((QUERY_A, Response.OK),)
        assert client.unanswered == (QUERY_B,)
        with pytest.raises(PeerViolation) as again:
            client.receive_end()
        assert again.value.answered == ()  # each response is reported once

    def test_five_bytes_may_become_a_response_and_six_cannot(self) -> None:
        client = client_with(QUERY_A)
        assert client.receive(b"ERROR") == []
        with pytest.raises(PeerViolation, match="'ERRORS'"):
            client.receive(b"S")

    @pytest.mark.parametrize(
        ("unanswered", "data", "message"),
        [
            ([QUERY_A], b"", "early end of the stream (unanswered requests: 1): ''"),
            ([QUERY_A, QUERY_B, QUERY_C], b"OK\nFA", "early end of the stream (unanswered requests: 2): 'FA'"),
            ([], b"OK", "early end of the stream (unanswered requests: 0): 'OK'"),
        ],
    )
    def test_an_early_end_of_the_stream(self, unanswered: list[Request], data: bytes, message: str) -> None:
        client = client_with(*unanswered)
        client.receive(data)
        with pytest.raises(PeerViolation) as caught:
            client.receive_end()
        assert str(caught.value) == message
        assert client.state is BROKEN


def test_a_connection_raises_an_error_after_its_end() -> None:
    client = ClientConnection()
    client.receive_end()
    calls: dict[str, Callable[[], object]] = {
        "receive bytes": lambda: client.receive(b""),
        "receive an end": client.receive_end,
        "send a request": lambda: client.send(QUERY_B),
        "send requests": lambda: client.send_all([QUERY_B]),
    }
    for action, call in calls.items():
        with pytest.raises(RuntimeError, match=f"^cannot {action}: the stream has ended$"):
            call()
