"""The client's side of a connection: questions out, answers matched in order, and a peer that does not keep to it."""

import pickle
from collections.abc import Callable

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
    ConnectionState,
    DependencyGraph,
    LimitExceeded,
    MalformedRequest,
    PeerViolation,
    ProtocolError,
    Request,
    Response,
    encode_request,
    encode_response,
)

from tests.support.graph_strategies import requests

QUERY_A, QUERY_B, QUERY_C = (Request.of(Command.QUERY, name) for name in "abc")


def client_that_asked(*questions: Request) -> ClientConnection:
    client = ClientConnection()
    for question in questions:
        client.send(question)
    return client


def test_a_request_goes_out_in_its_wire_form() -> None:
    assert ClientConnection().send(Request.of(Command.INDEX, "isl", ["gmp", "mpfr"])) == b"INDEX|isl|gmp,mpfr\n"


def test_answers_are_matched_in_order_and_the_state_follows() -> None:
    client = ClientConnection()
    states = [client.state]
    for question in (QUERY_A, QUERY_B, QUERY_C):
        client.send(question)
    states.append(client.state)
    assert list(client.unanswered) == [QUERY_A, QUERY_B, QUERY_C]
    assert client.receive(b"OK\nFAI") == [(QUERY_A, Response.OK)]
    states.append(client.state)
    assert list(client.unanswered) == [QUERY_B, QUERY_C]
    assert client.receive(b"L\nERROR\n") == [(QUERY_B, Response.FAIL), (QUERY_C, Response.ERROR)]
    states.append(client.state)
    assert not client.unanswered
    assert client.receive(b"") == []
    client.receive_end()
    states.append(client.state)
    idle, waiting, ended, _ = ClientConnectionState
    assert states == [idle, waiting, waiting, idle, ended]


@given(st.lists(st.tuples(requests(), st.sampled_from(Response))), st.data())
def test_answers_may_arrive_in_any_pieces(exchanges: list[tuple[Request, Response]], data: st.DataObject) -> None:
    client = client_that_asked(*(request for request, _ in exchanges))
    stream = "".join(encode_response(response) for _, response in exchanges).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += client.receive(stream[start:end])
    assert received == exchanges
    client.receive_end()


@given(st.lists(requests()))
def test_both_sides_understand_each_other(questions: list[Request]) -> None:
    client, server = ClientConnection(), Connection()
    asked, expected = DependencyGraph(), DependencyGraph()
    answers = asked.apply_lines(server.receive(b"".join(map(client.send, questions))))
    assert client.receive(answers.encode()) == [(each, expected.apply(each)) for each in questions]
    assert asked == expected


@pytest.mark.parametrize(
    ("questions", "data", "message"),
    [
        ([], b"OK\n", "an answer without a question: 'OK'"),
        ([], b"YES\n", "neither OK nor FAIL nor ERROR: 'YES'"),
        ([QUERY_A], b"\n", "neither OK nor FAIL nor ERROR: ''"),
        ([QUERY_A], b"ok\n", "neither OK nor FAIL nor ERROR: 'ok'"),
        ([QUERY_A], b"OK\r\n", r"neither OK nor FAIL nor ERROR: 'OK\r'"),
        ([QUERY_A], b"\xff\xfe\n", r"neither OK nor FAIL nor ERROR: '\xff\xfe'"),
        ([QUERY_A], b"HTTP/1", "neither OK nor FAIL nor ERROR: 'HTTP/1'"),
    ],
)
def test_a_violation_is_an_error_of_its_own_and_stays(questions: list[Request], data: bytes, message: str) -> None:
    client = client_that_asked(*questions)
    with pytest.raises(PeerViolation) as caught:
        client.receive(data)
    assert str(caught.value) == message
    assert isinstance(caught.value, ProtocolError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    assert client.state is ClientConnectionState.BROKEN
    assert list(client.unanswered) == questions
    for call in (lambda: client.receive(b""), client.receive_end, lambda: client.send(QUERY_B)):
        with pytest.raises(PeerViolation) as again:
            call()
        assert again.value is caught.value


def test_five_bytes_without_a_newline_may_still_become_an_answer_and_six_may_not() -> None:
    client = client_that_asked(QUERY_A)
    assert client.receive(b"ERROR") == []
    with pytest.raises(PeerViolation, match="'ERRORS'"):
        client.receive(b"S")


def test_answers_before_a_violation_are_not_lost() -> None:
    client = client_that_asked(QUERY_A, QUERY_B)
    assert client.receive(b"OK\nWHAT\nOK\n") == [(QUERY_A, Response.OK)]
    assert client.state is ClientConnectionState.BROKEN
    assert client.unanswered == (QUERY_B,)
    with pytest.raises(PeerViolation, match="'WHAT'"):
        client.receive(b"OK\n")


def test_also_where_the_last_line_is_the_violation_and_incomplete() -> None:
    client = client_that_asked(QUERY_A)
    assert client.receive(b"OK\nWHATEVER") == [(QUERY_A, Response.OK)]
    with pytest.raises(PeerViolation, match="'WHATEVER'"):
        client.receive_end()


@pytest.mark.parametrize(
    ("questions", "data", "message"),
    [
        ([QUERY_A], b"", "the stream ended with 1 request unanswered: ''"),
        ([QUERY_A, QUERY_B, QUERY_C], b"OK\nFA", "the stream ended with 2 requests unanswered: 'FA'"),
        ([], b"OK", "the stream ended with 0 requests unanswered: 'OK'"),
    ],
)
def test_a_stream_that_ends_too_early_is_a_violation(questions: list[Request], data: bytes, message: str) -> None:
    client = client_that_asked(*questions)
    client.receive(data)
    with pytest.raises(PeerViolation) as caught:
        client.receive_end()
    assert str(caught.value) == message
    assert client.state is ClientConnectionState.BROKEN


def test_nothing_comes_after_the_end() -> None:
    client = ClientConnection()
    client.receive_end()
    calls: dict[str, Callable[[], object]] = {
        "bytes": lambda: client.receive(b""),
        "an end": client.receive_end,
        "a request": lambda: client.send(QUERY_B),
    }
    for what, call in calls.items():
        with pytest.raises(RuntimeError, match=f"^{what} after the end of the stream$"):
            call()


def test_a_line_over_the_limit_is_not_sent() -> None:
    exact = len(encode_request(QUERY_A)) - 1
    client = ClientConnection(max_line_length=exact)
    client.send(QUERY_A)
    with pytest.raises(LimitExceeded) as caught:
        client.send(Request.of(Command.QUERY, "aa"))
    assert (caught.value.actual, caught.value.limit) == (exact + 1, exact)
    assert caught.value.args == (exact + 1, exact, "bytes in a line")
    assert str(caught.value) == "9 bytes in a line, where 8 are the most"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert client.unanswered == (QUERY_A,)


def test_only_so_many_requests_may_be_unanswered() -> None:
    client = ClientConnection(max_unanswered=2)
    client.send(QUERY_A)
    client.send(QUERY_B)
    with pytest.raises(LimitExceeded, match=r"^3 requests without an answer, where 2 are the most$"):
        client.send(QUERY_C)
    client.receive(b"OK\n")
    assert client.send(QUERY_C) == b"QUERY|c|\n"


def test_the_limits_are_named_and_leave_room() -> None:
    assert (MAX_LINE_LENGTH, MAX_UNANSWERED) == (65_536, 100_000)
    for limits in ({"max_line_length": 0}, {"max_unanswered": 0}):
        with pytest.raises(ValueError, match="leave nothing to send"):
            ClientConnection(**limits)
    ClientConnection(max_line_length=1, max_unanswered=1)


def test_a_servers_connection_stands_between_lines_before_the_first_and_after_each() -> None:
    connection = Connection(max_line_length=8)
    states = [connection.state]
    for data in (b"QUERY|", b"a|\n", b"QUERY|far|", b"too long\n"):
        connection.receive(data)
        states.append(connection.state)
    between, within, skipping, _ = ConnectionState
    assert states == [between, within, between, skipping, between]


class TestReceiveRequests:
    def test_each_line_is_a_request_or_the_error_that_says_why_not(self) -> None:
        connection = Connection(max_line_length=20)
        first, second = connection.receive_requests(b"QUERY|a|\r\nINDEX|emacs elisp|\nQUERY|b")
        assert first == QUERY_A
        assert isinstance(second, MalformedRequest)
        assert (second.column, second.reason) == (12, "a space at column 12 of the line")
        assert connection.receive_requests(b"|\n\n") == [QUERY_B, MatchesMalformed("")]
        assert connection.receive_requests(b"QUERY|" + b"n" * 20) == [MatchesMalformed("")]
        assert connection.receive_requests(b"|\n") == []

    @given(
        st.lists(
            st.one_of(
                requests().map(encode_request),
                st.sampled_from(["\n", "A|b|\n", "QUERY||\n", "QUERY|a|\r\n", "QUERY|a|\r\r\n"]),
            )
        )
    )
    def test_it_agrees_with_the_batch(self, lines: list[str]) -> None:
        stream = "".join(lines).encode()
        one, batch = DependencyGraph(), DependencyGraph()
        answers = [
            one.apply(each) if isinstance(each, Request) else Response.ERROR
            for each in Connection().receive_requests(stream)
        ]
        assert "".join(map(encode_response, answers)) == batch.apply_lines(Connection().receive(stream))
        assert one == batch


class MatchesMalformed:
    """Equal to a MalformedRequest with this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MalformedRequest) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]  # equal by content of something mutable


@pytest.mark.parametrize(
    ("line", "column"),
    [("", 0), ("QUERY|a", 0), ("LIZARD|a|", 1), ("QUERY||", 7), ("INDEX|a|b,,c", 11), ("INDEX|a|b,c,d e", 14)],
)
def test_a_malformed_request_knows_the_column_of_the_line(line: str, column: int) -> None:
    [error] = Connection().receive_requests(f"{line}\n".encode())
    assert isinstance(error, MalformedRequest)
    assert error.column == column
