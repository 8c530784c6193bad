"""The server's side of a connection: the lines do not depend on how the bytes were split, and little is buffered."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import (
    ENCODING,
    Command,
    Connection,
    ConnectionState,
    DependencyGraph,
    MalformedRequest,
    Request,
    Response,
    encode_request,
    encode_response,
)

from tests.support.graph_strategies import requests
from tests.support.protocol_cases import PROTOCOL_CASES, ProtocolCase
from tests.support.reference import reference_batch

BETWEEN_LINES, IN_LINE, SKIPPING, ENDED = ConnectionState

SMALL_LIMIT = 24
"""So small that generated lines fall on both sides of it."""

places = st.lists(st.integers(0, 2**20), max_size=20)
"""The positions at which a stream is split."""


def receive_all(connection: Connection, pieces: Iterable[bytes]) -> str:
    return "".join(map(connection.receive, pieces))


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[position : position + 1] for position in range(len(stream))]


def split_at(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Split ``stream`` at ``places``, modulo its length; a repeated place makes an empty piece."""
    borders = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(borders)]


def responses(case: ProtocolCase, pieces: Iterable[bytes]) -> bytes:
    """Return the responses to ``pieces`` after the setup of ``case``."""
    graph = DependencyGraph(reject_cycles=case.reject_cycles)
    connection = Connection(max_line_length=case.max_line_length)
    assert set(graph.apply_lines(connection.receive(case.setup)).split()) <= {"OK"}
    return "".join(graph.apply_lines(connection.receive(piece)) for piece in pieces).encode(ENCODING)


@pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
def test_each_case_of_the_protocol(case: ProtocolCase) -> None:
    assert responses(case, [case.sent]) == case.answers
    assert responses(case, byte_by_byte(case.sent)) == case.answers


valid_streams = st.lists(
    st.sampled_from(
        [
            b"QUERY|a|\n",
            b"INDEX|a|b,c\r\n",
            b"REMOVE|a|\n",
            b"INDEX|b|\r\n",
            b"INDEX|abcdefghij|abc,def\n",
            b"\n",
            b"\r\n",
        ]
    ),
    max_size=12,
).map(b"".join)

mutations = st.tuples(st.integers(0, 2**20), st.integers(0, 3), st.binary(max_size=4) | st.sampled_from([b"\n", b"\r"]))


@st.composite
def mutated_streams(draw: st.DrawFn) -> bytes:
    """Valid lines with some bytes replaced, dropped or added."""
    stream = draw(valid_streams)
    for place, dropped, added in draw(st.lists(mutations, max_size=4)):
        start = place % (len(stream) + 1)
        stream = stream[:start] + added + stream[start + dropped :]
    return stream


dense_streams = st.lists(st.sampled_from([b"\n", b"\r", b"|", b"a" * 7, b"a" * SMALL_LIMIT, b"QUERY|a|"]), max_size=30)

streams = st.one_of(valid_streams, mutated_streams(), st.binary(max_size=200), dense_streams.map(b"".join))


class TestPieces:
    @given(stream=streams, places=places)
    @example(stream=b"a" * SMALL_LIMIT + b"\n", places=[])
    @example(stream=b"a" * SMALL_LIMIT + b"\r\n", places=[SMALL_LIMIT, SMALL_LIMIT + 1])
    @example(stream=b"a" * (SMALL_LIMIT - 1) + b"\r\n", places=[SMALL_LIMIT])
    @example(stream=b"\r\r\n\n\r\n", places=[1, 2, 5])
    @example(stream=b"a" * (SMALL_LIMIT + 2) + b"\nb\nc\n", places=[SMALL_LIMIT + 1])
    def test_the_lines_do_not_depend_on_the_pieces(self, stream: bytes, places: list[int]) -> None:
        expected = reference_batch(stream, SMALL_LIMIT)
        for pieces in ([stream], byte_by_byte(stream), split_at(stream, places)):
            assert receive_all(Connection(max_line_length=SMALL_LIMIT), pieces) == expected

    @given(stream=streams, places=places)
    @example(stream=b"a" * (SMALL_LIMIT + 2) + b"\nb", places=[SMALL_LIMIT + 1])
    @example(stream=b"ab\ncd", places=[1])
    @example(stream=b"abcd", places=[1, 1, 2, 4])
    def test_state_number_and_buffer_follow_the_incomplete_line(self, stream: bytes, places: list[int]) -> None:
        connection = Connection(max_line_length=SMALL_LIMIT)
        last_start, received = None, 0
        for piece in split_at(stream, places):
            number = connection.incomplete_line_number
            connection.receive(piece)
            received += len(piece)
            start = stream.rfind(b"\n", 0, received) + 1
            length = received - start
            assert len(connection._incomplete) == (length if length <= SMALL_LIMIT else 0)
            assert connection.incomplete_bytes == (0 if length > SMALL_LIMIT else length)
            assert connection.state is (SKIPPING if length > SMALL_LIMIT else IN_LINE if length else BETWEEN_LINES)
            assert connection.incomplete_line_number - number == (length > 0 and start != last_start)
            if length:
                last_start = start

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_bytes_like_object_is_received(self, kind: Callable[[bytes], bytes]) -> None:
        connection = Connection()
        assert receive_all(connection, map(kind, [b"QUERY|a|\nQU", b"ERY|b|\n", b"QUERY|c|\n"])) == (
            "QUERY|a|\nQUERY|b|\nQUERY|c|\n"
        )

    def test_every_byte_becomes_one_character(self) -> None:
        every_byte = bytes(byte for byte in range(256) if byte != ord("\n"))
        assert Connection().receive(every_byte + b"\n") == "".join(map(chr, every_byte)) + "\n"


class TestLineLimit:
    @pytest.mark.parametrize("split", [lambda stream: [stream], byte_by_byte], ids=["whole", "byte by byte"])
    @pytest.mark.parametrize(
        ("stream", "batch"),
        [
            (b"aaaaaaaa\n", "aaaaaaaa\n"),
            (b"aaaaaaaaa\n", "\n"),
            (b"aaaaaaa\r\n", "aaaaaaa\n"),
            (b"aaaaaaaa\r\n", "\n"),
            (b"\r\r\r\r\r\r\r\r\n", "\r\r\r\r\r\r\r\n"),
            (b"a\naaaaaaaaa\na\n", "a\n\na\n"),
            (b"aaaaaaaaa\naaaaaaaaa\n", "\n\n"),
            (b"aaaaaaaa", ""),
            (b"aaaaaaaa\r", "\n"),
            (b"aaaaaaaaa", "\n"),
            (b"a\naaaaaaaaaaaaaaaaaaaa", "a\n\n"),
        ],
    )
    def test_lines_around_a_limit_of_eight_bytes(
        self, stream: bytes, batch: str, split: Callable[[bytes], list[bytes]]
    ) -> None:
        assert receive_all(Connection(max_line_length=8), split(stream)) == batch

    def test_the_default_limit_is_64_kib(self) -> None:
        assert Connection().receive(b"a" * 65_536 + b"\n") == "a" * 65_536 + "\n"
        assert Connection().receive(b"a" * 65_537 + b"\n") == "\n"

    def test_the_error_is_returned_before_the_line_ends(self) -> None:
        connection = Connection(max_line_length=8)
        assert receive_all(connection, [b"aaaaaaaa", b"a"]) == "\n"
        assert receive_all(connection, [b"a" * 100, b"a\r", b"\nb", b"\n"]) == "b\n"

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_byte_is_rejected(self, limit: int) -> None:
        assert Connection(max_line_length=1).receive(b"a\nab\n") == "a\n\n"
        with pytest.raises(ValueError, match=f"expected a line limit of at least 1 byte, got {limit}"):
            Connection(max_line_length=limit)


class TestEnd:
    @pytest.mark.parametrize("before", [b"", b"QUERY|a|\n", b"QUERY", b"a" * 99])
    def test_the_stream_may_end_in_every_state(self, before: bytes) -> None:
        connection = Connection(max_line_length=50)
        connection.receive(before)
        for _ in range(2):
            connection.receive_end()
            assert connection.state is ENDED
            assert not connection._incomplete

    @pytest.mark.parametrize("data", [b"", b"a", b"QUERY|a|\n"])
    def test_no_bytes_are_received_after_the_end(self, data: bytes) -> None:
        connection = Connection()
        connection.receive_end()
        with pytest.raises(RuntimeError, match=r"^cannot receive bytes: the stream has ended$"):
            connection.receive(data)


class TestRequests:
    def test_each_line_is_a_request_or_an_error(self) -> None:
        connection = Connection(max_line_length=20)
        first, second, third = connection.receive_requests(b"QUERY|a|\r\nINDEX|a b|\nINDEX|" + b"a" * 20)
        assert first == Request.of(Command.QUERY, "a")
        assert isinstance(second, MalformedRequest)
        assert (second.text, second.column) == ("INDEX|a b|", 8)
        assert isinstance(third, MalformedRequest)
        assert third.text == ""  # over the limit

    @given(
        st.lists(
            requests().map(encode_request)
            | st.sampled_from(["\n", "A|b|\n", "QUERY||\n", "QUERY|a|\r\n", "QUERY|a|\r\r\n"])
        )
    )
    def test_one_by_one_and_as_a_batch_have_the_same_effect(self, lines: list[str]) -> None:
        stream = "".join(lines).encode()
        one, batch = DependencyGraph(), DependencyGraph()
        received = [
            one.apply(request) if isinstance(request, Request) else Response.ERROR
            for request in Connection().receive_requests(stream)
        ]
        assert "".join(map(encode_response, received)) == batch.apply_lines(Connection().receive(stream))
        assert one == batch
