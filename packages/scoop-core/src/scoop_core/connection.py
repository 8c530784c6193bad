"""Both sides of a connection, without I/O: the bytes come from a socket or from anywhere, and go there.

The server's side, :class:`Connection`, cuts what arrives into lines, whatever pieces it arrives in, and hands
on *batches*: text of complete lines, each ended by exactly one newline, ready for
:meth:`DependencyGraph.apply_lines`. It keeps the line that is still arriving, and never more of it than the
line limit. Answers leave in the order of the lines, because a batch is answered as a whole. Who wants to look
at each request, gets them one by one from :meth:`Connection.receive_requests`.

The client's side, :class:`ClientConnection`, turns requests into bytes, and bytes into answers, each matched
with its request.
"""

import enum
from collections import deque
from typing import Final

from scoop_core.errors import LimitExceeded, MalformedRequest, PeerViolation
from scoop_core.messages import ENCODING, MAX_LINE_LENGTH, Request, Response, encode_request, parse_request

_EMPTY_LINE: Final = "\n"
"""Stands in a batch for a line over the limit, because it is answered ERROR as well."""


class ConnectionState(enum.Enum):
    """Where in the stream of bytes a server's connection stands.

    >>> Connection().state
    <ConnectionState.BETWEEN_LINES: 1>
    """

    BETWEEN_LINES = enum.auto()
    """At the start of a line."""
    IN_LINE = enum.auto()
    """Some bytes of a line have arrived, and its newline has not."""
    SKIPPING = enum.auto()
    """In a line over the limit, which has had its ERROR; the rest of it is dropped as it arrives."""
    ENDED = enum.auto()
    """The peer will send no more."""


_BETWEEN_LINES: Final = ConnectionState.BETWEEN_LINES
"""A global name is found faster than a member of an enum, and this one is asked for with every read."""


class Connection:
    r"""The server's side of one connection.

    ``max_line_length`` counts the bytes of a line before its newline.

    >>> connection = Connection()
    >>> connection.receive(b"QUERY|a|\nQUERY|")
    'QUERY|a|\n'
    >>> connection.state
    <ConnectionState.IN_LINE: 2>
    >>> connection.receive(b"b|\r\n")
    'QUERY|b|\n'
    """

    __slots__ = ("_incomplete", "_max_line_length", "incomplete_line_number", "state")

    def __init__(self, *, max_line_length: int = MAX_LINE_LENGTH) -> None:
        if max_line_length < 1:
            raise ValueError(f"a line limit of {max_line_length} bytes leaves no room for a message")
        self._max_line_length = max_line_length
        self._incomplete = bytearray()
        self.state: ConnectionState = ConnectionState.BETWEEN_LINES
        self.incomplete_line_number: int = 0
        """Identifies the line that the last read left incomplete: it changes when a different line does so.

        A server that limits the time a line may take restarts its deadline when this changes, and has no
        deadline while ``state`` is BETWEEN_LINES. Complete lines do not change it, so reads of whole lines
        pay nothing for it.
        """

    def receive(self, data: bytes) -> str:
        r"""Take in bytes from the peer; return the batch of the lines that they complete, empty if none.

        A line over the limit is replaced in its turn by one that is answered ERROR, as soon as it is over.
        Raises RuntimeError after :meth:`receive_end`.

        >>> connection = Connection(max_line_length=10)
        >>> connection.receive(b"QUERY|a|\nQUERY|pkg-config|\nQUE")
        'QUERY|a|\n\n'
        """
        # What nearly always arrives: whole lines, after whole lines.
        if self.state is _BETWEEN_LINES and data.endswith(b"\n") and len(data) <= self._max_line_length:
            text = data.decode(ENCODING)
            return text.replace("\r\n", "\n") if "\r" in text else text
        return self._receive_in_pieces(data)

    def receive_requests(self, data: bytes) -> list[Request | MalformedRequest]:
        r"""Take in bytes as :meth:`receive` does; return the requests one by one.

        A line that is no request comes as the error that says why; it is answered ERROR. (So is an empty line,
        which also stands for one over the limit.)

        >>> for request in Connection().receive_requests(b"QUERY|a|\nBLINDEX|a|b\nQUE"):
        ...     print(request)
        Request(command=<Command.QUERY: 'QUERY'>, package='a', dependencies=())
        'BLINDEX' is not a command: 'BLINDEX|a|b'
        """
        return list(map(_parse_or_catch, self.receive(data).split("\n")[:-1]))

    def receive_end(self) -> None:
        """Take in the end of the peer's stream. What stands after its last newline is no message.

        >>> connection = Connection()
        >>> connection.receive_end()
        >>> connection.state
        <ConnectionState.ENDED: 4>
        """
        self._incomplete.clear()
        self.state = ConnectionState.ENDED

    def _receive_in_pieces(self, data: bytes) -> str:
        if self.state is ConnectionState.ENDED:
            raise RuntimeError("bytes after the end of the stream")
        if self.state is ConnectionState.SKIPPING:
            end = data.find(b"\n")
            if end < 0:
                return ""
            data = data[end + 1 :]
            self.state = ConnectionState.BETWEEN_LINES
        # Only new bytes are searched, so a line that arrives byte by byte costs linear time.
        end = data.rfind(b"\n") + 1
        batch = ""
        if end:
            batch = self._complete_lines(bytes(self._incomplete) + data[:end])
            self._incomplete.clear()
        if len(data) > end and (end or self.state is ConnectionState.BETWEEN_LINES):
            self.incomplete_line_number += 1
        if len(self._incomplete) + len(data) - end > self._max_line_length:
            self._incomplete.clear()
            self.state = ConnectionState.SKIPPING
            return batch + _EMPTY_LINE
        self._incomplete += memoryview(data)[end:]
        self.state = ConnectionState.IN_LINE if self._incomplete else ConnectionState.BETWEEN_LINES
        return batch

    def _complete_lines(self, data: bytes) -> str:
        text = data.decode(ENCODING)
        if len(text) > self._max_line_length:
            # The limit counts what arrived, so it comes before the carriage returns go.
            lines = text.split("\n")
            text = "\n".join(line if len(line) <= self._max_line_length else "" for line in lines)
        return text.replace("\r\n", "\n")


def _parse_or_catch(line: str) -> Request | MalformedRequest:
    try:
        # The connection has taken away the one CR that is ignored: another is a part of the line.
        return parse_request(f"{line}\r" if line.endswith("\r") else line)
    except MalformedRequest as error:
        return error


MAX_UNANSWERED: Final = 100_000
"""How many requests a client may have under way, unless it says otherwise.

Far more than pipelining needs to hide any network's latency, and few enough that what is kept of them is some
tens of megabytes. A client that pipelines must read while it writes, because a server stops reading from one
that does not take its answers.
"""

_RESPONSES: Final = {response.value.encode(ENCODING): response for response in Response}

_MAX_RESPONSE_LENGTH: Final = max(map(len, _RESPONSES))


class ClientConnectionState(enum.Enum):
    """How the questions and answers of a client's connection stand.

    >>> ClientConnection().state
    <ClientConnectionState.IDLE: 1>
    """

    IDLE = enum.auto()
    """Every request has its answer."""
    WAITING = enum.auto()
    """Requests are under way."""
    ENDED = enum.auto()
    """The server has ended the stream, after its last answer."""
    BROKEN = enum.auto()
    """The server has violated the protocol; what became of the requests under way is unknown."""


class ClientConnection:
    r"""The client's side of one connection.

    Requests may be sent without waiting for the answers to those before; the answers come in the same order.
    ``max_line_length`` counts the bytes of a line before its newline, as the server does;
    ``max_unanswered`` is the most requests that may be under way.

    >>> from scoop_core import Command
    >>> client = ClientConnection()
    >>> client.send(Request.of(Command.INDEX, "gmp")) + client.send(Request.of(Command.QUERY, "isl"))
    b'INDEX|gmp|\nQUERY|isl|\n'
    >>> for request, response in client.receive(b"OK\nFAIL\n"):
    ...     print(request.package, response)
    gmp OK
    isl FAIL
    """

    __slots__ = ("_incomplete", "_max_line_length", "_max_unanswered", "_unanswered", "_violation", "state")

    def __init__(self, *, max_line_length: int = MAX_LINE_LENGTH, max_unanswered: int = MAX_UNANSWERED) -> None:
        if min(max_line_length, max_unanswered) < 1:
            raise ValueError(f"limits of {max_line_length} bytes and {max_unanswered} requests leave nothing to send")
        self._max_line_length = max_line_length
        self._max_unanswered = max_unanswered
        self._incomplete = b""
        self._unanswered: deque[Request] = deque()
        self._violation: PeerViolation | None = None
        self.state: ClientConnectionState = ClientConnectionState.IDLE

    @property
    def unanswered(self) -> tuple[Request, ...]:
        r"""The requests that have no answer yet, the oldest first. O(how many they are).

        >>> from scoop_core import Command
        >>> client = ClientConnection()
        >>> client.send(Request.of(Command.QUERY, "gmp"))
        b'QUERY|gmp|\n'
        >>> client.unanswered
        (Request(command=<Command.QUERY: 'QUERY'>, package='gmp', dependencies=()),)
        """
        return tuple(self._unanswered)

    def send(self, request: Request) -> bytes:
        r"""Return the bytes to send for ``request``, and expect its answer.

        Raises :exc:`LimitExceeded` where the line would be too long or too many requests unanswered, and then
        nothing is to be sent; the :exc:`PeerViolation` that broke the connection, if one did; and RuntimeError
        after the end of the stream.

        >>> from scoop_core import Command
        >>> ClientConnection().send(Request.of(Command.REMOVE, "gmp"))
        b'REMOVE|gmp|\n'
        """
        self._check_open("a request")
        line = encode_request(request).encode(ENCODING)
        if len(line) - 1 > self._max_line_length:
            raise LimitExceeded(len(line) - 1, self._max_line_length, "bytes in a line")
        if len(self._unanswered) >= self._max_unanswered:
            raise LimitExceeded(len(self._unanswered) + 1, self._max_unanswered, "requests without an answer")
        self._unanswered.append(request)
        self.state = ClientConnectionState.WAITING
        return line

    def receive(self, data: bytes) -> list[tuple[Request, Response]]:
        r"""Take in bytes from the server; return the requests that they answer, each with its answer.

        Raises :exc:`PeerViolation` for an answer without a request, and for a line that is no answer. Where
        answers came before it in the same bytes, those are returned, and whatever is called next raises it.
        Raises RuntimeError after the end of the stream.

        >>> from scoop_core import Command
        >>> client = ClientConnection()
        >>> client.send(Request.of(Command.QUERY, "gmp"))
        b'QUERY|gmp|\n'
        >>> client.receive(b"O")
        []
        >>> client.receive(b"K\n")
        [(Request(command=<Command.QUERY: 'QUERY'>, package='gmp', dependencies=()), <Response.OK: 'OK'>)]
        """
        self._check_open("bytes")
        answered: list[tuple[Request, Response]] = []
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        for line in lines:
            response = _RESPONSES.get(line)
            if response is None or not self._unanswered:
                reason = "neither OK nor FAIL nor ERROR" if response is None else "an answer without a question"
                self._break_off(line, reason)
                break
            answered.append((self._unanswered.popleft(), response))
        else:
            if len(self._incomplete) > _MAX_RESPONSE_LENGTH:
                self._break_off(self._incomplete, "neither OK nor FAIL nor ERROR")
            elif not self._unanswered:
                self.state = ClientConnectionState.IDLE
        if self._violation is not None and not answered:
            raise self._violation
        return answered

    def receive_end(self) -> None:
        """Take in the end of the server's stream.

        Raises :exc:`PeerViolation` where requests are unanswered or the last line is incomplete.

        >>> client = ClientConnection()
        >>> client.receive_end()
        >>> client.state
        <ClientConnectionState.ENDED: 3>
        """
        self._check_open("an end")
        if self._unanswered or self._incomplete:
            count = len(self._unanswered)
            requests = "1 request" if count == 1 else f"{count:,} requests"
            raise self._break_off(self._incomplete, f"the stream ended with {requests} unanswered")
        self.state = ClientConnectionState.ENDED

    def _check_open(self, what: str) -> None:
        if self._violation is not None:
            raise self._violation
        if self.state is ClientConnectionState.ENDED:
            raise RuntimeError(f"{what} after the end of the stream")

    def _break_off(self, line: bytes, reason: str) -> PeerViolation:
        self._violation = PeerViolation(line.decode(ENCODING), reason)
        self.state = ClientConnectionState.BROKEN
        return self._violation
