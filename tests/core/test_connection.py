"""The sans-I/O connection: whatever pieces the bytes arrive in, the same lines come out, and little is kept."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scoop_core import ENCODING, Changes, Connection, ConnectionState, DependencyGraph

from tests.support.protocol_cases import PROTOCOL_CASES, ProtocolCase
from tests.support.reference import reference_batch

BETWEEN_LINES = ConnectionState.BETWEEN_LINES
IN_LINE = ConnectionState.IN_LINE
SKIPPING = ConnectionState.SKIPPING
ENDED = ConnectionState.ENDED

SMALL_LIMIT = 24
"""So small that generated lines fall on both sides of it."""


def receive_all(connection: Connection, pieces: Iterable[bytes]) -> str:
    """Return what the pieces complete, one after the other; check on the way what is kept of them."""
    batches = []
    for piece in pieces:
        batch = connection.receive(piece)
        assert batch == "" or batch.endswith("\n")
        batches.append(batch)
    return "".join(batches)


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[position : position + 1] for position in range(len(stream))]


def cut_at(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the pieces of ``stream``, cut at some places within it; a place given twice makes an empty piece."""
    borders = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(borders)]


def answers(case: ProtocolCase, cut: Iterable[bytes]) -> bytes:
    """Return what a server answers to the bytes of a case, as they come in pieces."""
    graph = DependencyGraph(reject_cycles=case.reject_cycles)
    connection = Connection(max_line_length=case.max_line_length)
    setup_answers = graph.apply_lines(connection.receive(case.setup), Changes())
    assert set(setup_answers.split()) <= {"OK"}
    sent = [graph.apply_lines(connection.receive(piece), Changes()) for piece in cut]
    connection.receive_end()
    return "".join(sent).encode(ENCODING)


class TestProtocol:
    @pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
    def test_whole(self, case: ProtocolCase) -> None:
        assert answers(case, [case.sent]) == case.answers

    @pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
    def test_byte_by_byte(self, case: ProtocolCase) -> None:
        assert answers(case, byte_by_byte(case.sent)) == case.answers

    @pytest.mark.parametrize("case", PROTOCOL_CASES, ids=str)
    def test_line_by_line_and_newline_first(self, case: ProtocolCase) -> None:
        assert answers(case, case.sent.splitlines(keepends=True)) == case.answers
        newlines = [place for place, byte in enumerate(case.sent) if byte == ord("\n")]
        assert answers(case, cut_at(case.sent, newlines)) == case.answers

    @given(case=st.sampled_from(PROTOCOL_CASES), places=st.lists(st.integers(0, 2**20), max_size=20))
    def test_in_random_cuts(self, case: ProtocolCase, places: list[int]) -> None:
        assert answers(case, cut_at(case.sent, places)) == case.answers


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
    @given(stream=streams, places=st.lists(st.integers(0, 2**20), max_size=20))
    @example(stream=b"a" * SMALL_LIMIT + b"\n", places=[])
    @example(stream=b"a" * SMALL_LIMIT + b"\r\n", places=[SMALL_LIMIT, SMALL_LIMIT + 1])
    @example(stream=b"a" * (SMALL_LIMIT - 1) + b"\r\n", places=[SMALL_LIMIT])
    @example(stream=b"\r\r\n\n\r\n", places=[1, 2, 5])
    def test_the_same_lines_come_out_however_the_stream_is_cut(self, stream: bytes, places: list[int]) -> None:
        expected = reference_batch(stream, SMALL_LIMIT)
        for pieces in ([stream], byte_by_byte(stream), cut_at(stream, places)):
            assert receive_all(Connection(max_line_length=SMALL_LIMIT), pieces) == expected

    @given(streams)
    def test_the_state_tells_what_is_incomplete(self, stream: bytes) -> None:
        connection = Connection(max_line_length=SMALL_LIMIT)
        for position, piece in enumerate(byte_by_byte(stream), start=1):
            connection.receive(piece)
            rest = stream[:position].rpartition(b"\n")[2]
            assert connection.state is (SKIPPING if len(rest) > SMALL_LIMIT else IN_LINE if rest else BETWEEN_LINES)

    @given(stream=streams, places=st.lists(st.integers(0, 2**20), max_size=20))
    @example(stream=b"a" * (SMALL_LIMIT + 2) + b"\nb", places=[SMALL_LIMIT + 1])
    @example(stream=b"ab\ncd", places=[1])
    @example(stream=b"abcd", places=[1, 1, 2, 4])
    def test_the_incomplete_line_has_a_new_number_exactly_when_it_is_another_line(
        self, stream: bytes, places: list[int]
    ) -> None:
        connection = Connection(max_line_length=SMALL_LIMIT)
        start_of_line = None
        received = 0
        for piece in cut_at(stream, places):
            number = connection.incomplete_line_number
            connection.receive(piece)
            received += len(piece)
            if connection.state is not BETWEEN_LINES:
                start = stream.rfind(b"\n", 0, received) + 1
                assert connection.incomplete_line_number == number + (start != start_of_line)
                start_of_line = start
            else:
                assert connection.incomplete_line_number == number

    @given(st.lists(st.binary(max_size=60), max_size=20))
    def test_never_more_than_the_limit_is_kept(self, pieces: list[bytes]) -> None:
        connection = Connection(max_line_length=SMALL_LIMIT)
        for piece in pieces:
            connection.receive(piece)
            assert len(connection._incomplete) <= SMALL_LIMIT

    def test_a_cut_between_cr_and_lf(self) -> None:
        connection = Connection()
        assert connection.receive(b"QUERY|a|\r") == ""
        assert connection.state is IN_LINE
        assert connection.receive(b"\n") == "QUERY|a|\n"
        assert connection.state is BETWEEN_LINES
        assert connection.receive(b"QUERY|a|\nQUERY|b|\r") == "QUERY|a|\n"
        assert connection.receive(b"\nQUERY|c|\r\n") == "QUERY|b|\nQUERY|c|\n"

    def test_a_cr_at_the_end_of_a_piece_is_kept_where_no_newline_follows(self) -> None:
        connection = Connection()
        assert connection.receive(b"QUERY|a\r") == ""
        assert connection.receive(b"|\n") == "QUERY|a\r|\n"

    def test_an_empty_piece_changes_nothing(self) -> None:
        connection = Connection(max_line_length=3)
        for piece, state in [(b"", BETWEEN_LINES), (b"ab", IN_LINE), (b"abcd", SKIPPING)]:
            connection.receive(piece)
            assert connection.receive(b"") == ""
            assert connection.state is state

    def test_every_byte_comes_through_as_one_character(self) -> None:
        every_byte = bytes(byte for byte in range(256) if byte != ord("\n"))
        assert Connection().receive(every_byte + b"\n") == "".join(map(chr, every_byte)) + "\n"


class TestLineLimit:
    @pytest.mark.parametrize("cut", [lambda stream: [stream], byte_by_byte], ids=["whole", "byte by byte"])
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
    def test_eight_bytes_where_eight_is_the_limit(
        self, stream: bytes, batch: str, cut: Callable[[bytes], list[bytes]]
    ) -> None:
        assert receive_all(Connection(max_line_length=8), cut(stream)) == batch

    def test_the_limit_is_64_kib_unless_told_otherwise(self) -> None:
        assert Connection().receive(b"a" * 65_536 + b"\n") == "a" * 65_536 + "\n"
        assert Connection().receive(b"a" * 65_537 + b"\n") == "\n"

    def test_a_line_over_the_limit_is_told_at_its_first_byte_too_many(self) -> None:
        connection = Connection(max_line_length=8)
        assert connection.receive(b"aaaaaaaa") == ""
        assert connection.receive(b"a") == "\n"
        assert connection.state is SKIPPING
        assert connection.receive(b"a" * 100) == ""
        assert connection.receive(b"a\r") == ""
        assert connection.state is SKIPPING
        assert connection.receive(b"\nb") == ""
        assert connection.state is IN_LINE
        assert connection.receive(b"\n") == "b\n"

    def test_a_newline_ends_the_skipping_and_nothing_else_is_lost(self) -> None:
        connection = Connection(max_line_length=8)
        assert connection.receive(b"a" * 9) == "\n"
        assert connection.receive(b"a\nb\nc\n") == "b\nc\n"
        assert connection.state is BETWEEN_LINES

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_byte_is_refused(self, limit: int) -> None:
        with pytest.raises(ValueError, match=f"{limit} bytes leaves no room"):
            Connection(max_line_length=limit)

    def test_a_limit_of_one_byte(self) -> None:
        connection = Connection(max_line_length=1)
        assert connection.receive(b"a\n\nab\n\r\na") == "a\n\n\n\n"
        assert connection.receive(b"\n") == "a\n"


class TestEnd:
    @pytest.mark.parametrize(
        ("before", "state"),
        [(b"", BETWEEN_LINES), (b"QUERY|a|\n", BETWEEN_LINES), (b"QUERY", IN_LINE), (b"a" * 99, SKIPPING)],
    )
    def test_the_stream_may_end_in_every_state(self, before: bytes, state: ConnectionState) -> None:
        connection = Connection(max_line_length=50)
        connection.receive(before)
        assert connection.state is state
        connection.receive_end()
        assert connection.state is ENDED
        assert not connection._incomplete
        connection.receive_end()
        assert connection.state is ENDED

    @pytest.mark.parametrize("data", [b"", b"a", b"QUERY|a|\n"])
    def test_nothing_comes_after_the_end(self, data: bytes) -> None:
        connection = Connection()
        connection.receive_end()
        with pytest.raises(RuntimeError, match="after the end of the stream"):
            connection.receive(data)
        assert connection.state is ENDED
