"""Both sides of a connection, without I/O: the caller moves the bytes.

The server's side, :class:`Connection`, returns *batches*: text of complete lines, each ended by exactly one newline,
ready for :meth:`DependencyGraph.apply_lines`. It buffers the incomplete line, up to the line limit.

The client's side, :class:`ClientConnection`, turns requests into bytes, and received bytes into responses,
each matched with its request.
"""

import enum
from collections import deque
from collections.abc import Iterable
from itertools import takewhile
from typing import Final

from scoop_core.compilation import mypyc_attr
from scoop_core.errors import LimitExceeded, MalformedRequest, ProtocolError
from scoop_core.messages import (
    ENCODING,
    MAX_LINE_LENGTH,
    NOT_A_RESPONSE,
    Request,
    Response,
    encode_request,
    encode_requests,
    parse_request,
)

_INVALID_LINE: Final = "\n"
"""Replaces a line over the limit in a batch: an empty line is answered ERROR too."""


class ConnectionState(enum.Enum):
    """The state of a server's connection: its position in the received stream.

    >>> Connection().state
    <ConnectionState.BETWEEN_LINES: 1>
    """

    BETWEEN_LINES = enum.auto()
    """At the start of a line."""
    IN_LINE = enum.auto()
    """Within a line: its newline has not been received."""
    SKIPPING = enum.auto()
    """Within a line over the limit. Its ERROR has been returned; the rest of it is dropped."""
    ENDED = enum.auto()
    """At the end of the stream."""


_BETWEEN_LINES: Final = ConnectionState.BETWEEN_LINES
"""A global name, which every read looks up faster than the member of an enum."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection:
    r"""The server's side of one connection.

    ``max_line_length`` limits the bytes of a line before its newline.

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
            raise ValueError(f"expected a line limit of at least 1 byte, got {max_line_length}")
        self._max_line_length = max_line_length
        self._incomplete = bytearray()
        self.state: ConnectionState = ConnectionState.BETWEEN_LINES
        self.incomplete_line_number: int = 0
        """Identifies the line that the last read left incomplete: it changes when a different line does so.

        A server that limits the time of a line restarts its deadline when this changes, and has none while ``state``
        is BETWEEN_LINES.
        """

    @property
    def incomplete_bytes(self) -> int:
        r"""The number of bytes of the incomplete line that are held.

        >>> connection = Connection()
        >>> connection.receive(b"QUERY|a|\nQUERY|"), connection.incomplete_bytes
        ('QUERY|a|\n', 6)
        """
        return len(self._incomplete)

    def receive(self, data: bytes | bytearray | memoryview) -> str:
        r"""Receive bytes from the client; return the batch of the lines that they complete, empty if none.

        A line over the limit becomes one that is answered ERROR, as soon as the limit is passed.
        Raises RuntimeError after :meth:`receive_end`.

        >>> connection = Connection(max_line_length=10)
        >>> connection.receive(b"QUERY|a|\nQUERY|pkg-config|\nQUE")
        'QUERY|a|\n\n'
        """
        if type(data) is memoryview:  # it has no decode
            data = data.tobytes()
        # The common case: only complete lines, none of which began in an earlier read.
        if self.state is _BETWEEN_LINES and data.endswith(b"\n") and len(data) <= self._max_line_length:
            text = data.decode(ENCODING)
            return text.replace("\r\n", "\n") if "\r" in text else text
        return self._receive_fragment(data)

    def receive_requests(self, data: bytes | bytearray | memoryview) -> list[Request | MalformedRequest]:
        r"""Receive bytes as :meth:`receive` does; return the requests one by one.

        A line that is not a request becomes the error that explains it; answer it ERROR. A line over the limit
        becomes the error of an empty line.

        >>> Connection().receive_requests(b"QUERY|a|\nQUE")
        [Request(command=<Command.QUERY: 'QUERY'>, package='a', dependencies=())]
        """
        return list(map(_parse_or_catch, self.receive(data).split("\n")[:-1]))

    def receive_end(self) -> None:
        """Receive the end of the client's stream. An incomplete line is dropped: it is not a message.

        >>> connection = Connection()
        >>> connection.receive_end()
        >>> connection.state
        <ConnectionState.ENDED: 4>
        """
        self._incomplete.clear()
        self.state = ConnectionState.ENDED

    def _receive_fragment(self, data: bytes | bytearray) -> str:
        if self.state is ConnectionState.ENDED:
            raise RuntimeError("cannot receive bytes: the stream has ended")
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
            return batch + _INVALID_LINE
        self._incomplete += memoryview(data)[end:]
        self.state = ConnectionState.IN_LINE if self._incomplete else ConnectionState.BETWEEN_LINES
        return batch

    def _complete_lines(self, data: bytes) -> str:
        text = data.decode(ENCODING)
        if len(text) > self._max_line_length:
            # The limit includes the CR, so lines are measured before it is removed.
            lines = text.split("\n")
            text = "\n".join(line if len(line) <= self._max_line_length else "" for line in lines)
        return text.replace("\r\n", "\n")


def _parse_or_catch(line: str) -> Request | MalformedRequest:
    try:
        # The connection has removed the one CR that is ignored; another one is part of the line.
        return parse_request(f"{line}\r" if line.endswith("\r") else line)
    except MalformedRequest as error:
        return error


MAX_UNANSWERED: Final = 100_000
"""The default limit of unanswered requests of a client.

Pipelining hides the latency of any network with far fewer; so many take some tens of megabytes. A client must receive
while it sends, because a server stops reading from a client that does not.
"""

_RESPONSES: Final = {response.value.encode(ENCODING): response for response in Response}

_MAX_RESPONSE_LENGTH: Final = max(map(len, _RESPONSES))


@mypyc_attr(native_class=False)  # it is pickled, as other exceptions
class PeerViolation(ProtocolError):
    r"""The server violated the protocol: a response without a request, an invalid line, or an early end of the stream.

    The connection cannot be used any more. ``text`` is the invalid line as received. ``answered`` holds the
    responses that preceded the violation in the same read, with their requests; they are valid.

    >>> client = ClientConnection()
    >>> try:
    ...     client.receive(b"OK\n")
    ... except PeerViolation as error:
    ...     print(error, error.answered)
    response without a request: 'OK' ()
    """

    def __init__(self, text: str, reason: str, answered: tuple[tuple[Request, Response], ...] = ()) -> None:
        super().__init__(text, reason)
        self.args: tuple[object, ...] = (text, reason, answered)
        self.answered = answered


class ClientConnectionState(enum.Enum):
    """The state of a client's connection.

    >>> ClientConnection().state
    <ClientConnectionState.IDLE: 1>
    """

    IDLE = enum.auto()
    """Every request has its response."""
    WAITING = enum.auto()
    """Requests are unanswered."""
    ENDED = enum.auto()
    """The server has ended the stream, after its last response."""
    BROKEN = enum.auto()
    """The server has violated the protocol; the outcome of the unanswered requests is unknown."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientConnection:
    r"""The client's side of one connection.

    Requests may be pipelined: sent without waiting for the responses to those before. Responses arrive in the
    order of the requests. ``max_line_length`` limits the bytes of a line before its newline, as on the server;
    ``max_unanswered`` limits the unanswered requests.

    >>> client = ClientConnection()
    >>> client.send(parse_request("INDEX|gmp|")) + client.send(parse_request("QUERY|isl|"))
    b'INDEX|gmp|\nQUERY|isl|\n'
    >>> for request, response in client.receive(b"OK\nFAIL\n"):
    ...     print(request.package, response)
    gmp OK
    isl FAIL
    """

    __slots__ = ("_incomplete", "_max_line_length", "_max_unanswered", "_unanswered", "_violation", "state")

    def __init__(self, *, max_line_length: int = MAX_LINE_LENGTH, max_unanswered: int = MAX_UNANSWERED) -> None:
        if min(max_line_length, max_unanswered) < 1:
            raise ValueError(
                f"expected limits of at least 1, got {max_line_length} bytes and {max_unanswered} requests"
            )
        self._max_line_length = max_line_length
        self._max_unanswered = max_unanswered
        self._incomplete = b""
        self._unanswered: deque[Request] = deque()
        self._violation: PeerViolation | None = None
        self.state: ClientConnectionState = ClientConnectionState.IDLE

    @property
    def unanswered(self) -> tuple[Request, ...]:
        r"""The unanswered requests, the oldest first. O(their number); see :attr:`unanswered_count`.

        >>> ClientConnection().unanswered
        ()
        """
        return tuple(self._unanswered)

    @property
    def unanswered_count(self) -> int:
        r"""The number of unanswered requests. O(1).

        >>> ClientConnection().unanswered_count
        0
        """
        return len(self._unanswered)

    def send(self, request: Request) -> bytes:
        r"""Return the bytes to send for ``request``, and expect its response.

        Raises, and then there is nothing to send: :exc:`InvalidName` for a :class:`Request` made with an invalid
        name; :exc:`LimitExceeded` for a line that is too long or one unanswered request too many;
        :exc:`PeerViolation` if the connection is broken; RuntimeError after the end of the stream.

        >>> ClientConnection().send(parse_request("REMOVE|gmp|"))
        b'REMOVE|gmp|\n'
        """
        self._check_open("send a request")
        line = encode_request(request).encode(ENCODING)
        self._expect([request], len(line) - 1)
        return line

    def send_all(self, requests: Iterable[Request]) -> bytes:
        r"""Return the bytes to send for all of ``requests``: the same as :meth:`send` for each, in a third of the time.

        Raises what :meth:`send` raises; then none of the requests may be sent.

        >>> ClientConnection().send_all([parse_request("QUERY|gmp|"), parse_request("QUERY|isl|")])
        b'QUERY|gmp|\nQUERY|isl|\n'
        """
        self._check_open("send requests")
        requests = list(requests)
        data = encode_requests(requests)
        self._expect(requests, max(map(len, data.split(b"\n"))) if len(data) > self._max_line_length else 0)
        return data

    def _expect(self, requests: list[Request], longest: int) -> None:
        """Expect the responses to ``requests``, whose longest line is known if it may exceed the limit."""
        if longest > self._max_line_length:
            raise LimitExceeded(longest, self._max_line_length, "bytes in a line")
        if len(self._unanswered) + len(requests) > self._max_unanswered:
            raise LimitExceeded(len(self._unanswered) + len(requests), self._max_unanswered, "unanswered requests")
        self._unanswered.extend(requests)
        if self._unanswered:
            self.state = ClientConnectionState.WAITING

    def receive(self, data: bytes | bytearray | memoryview) -> list[tuple[Request, Response]]:
        r"""Receive bytes from the server; return the requests that they answer, each with its response.

        Raises :exc:`PeerViolation` immediately for a response without a request and for a line that is not a
        response. Every later call raises it again, without ``answered``. Raises RuntimeError after the end of the
        stream.

        >>> ClientConnection().receive(b"O")
        []
        """
        self._check_open("receive bytes")
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        try:  # the common case, in half of the time
            responses = list(map(_RESPONSES.__getitem__, lines))
        except KeyError:
            responses = []
        if len(lines) == len(responses) <= len(self._unanswered):
            popleft = self._unanswered.popleft
            answered = [(popleft(), response) for response in responses]
        else:
            raise self._break_within(lines)
        if len(self._incomplete) > _MAX_RESPONSE_LENGTH:
            raise self._break(self._incomplete, NOT_A_RESPONSE, answered)
        if not self._unanswered:
            self.state = ClientConnectionState.IDLE
        return answered

    def _break_within(self, lines: list[bytes]) -> PeerViolation:
        """Return the error of the first violation in ``lines``, with the responses before it."""
        responses = list(takewhile(_RESPONSES.__contains__, lines))[: len(self._unanswered)]
        answered = [(self._unanswered.popleft(), _RESPONSES[line]) for line in responses]
        line = lines[len(answered)]
        return self._break(line, "response without a request" if line in _RESPONSES else NOT_A_RESPONSE, answered)

    def receive_end(self) -> None:
        """Receive the end of the server's stream.

        Raises :exc:`PeerViolation` if requests are unanswered or the last line is incomplete.

        >>> client = ClientConnection()
        >>> client.receive_end()
        >>> client.state
        <ClientConnectionState.ENDED: 3>
        """
        self._check_open("receive an end")
        if self._unanswered or self._incomplete:
            reason = f"early end of the stream (unanswered requests: {len(self._unanswered):,})"
            raise self._break(self._incomplete, reason, [])
        self.state = ClientConnectionState.ENDED

    def _check_open(self, action: str) -> None:
        if self._violation is not None:
            raise self._violation
        if self.state is ClientConnectionState.ENDED:
            raise RuntimeError(f"cannot {action}: the stream has ended")

    def _break(self, line: bytes, reason: str, answered: list[tuple[Request, Response]]) -> PeerViolation:
        text = line.decode(ENCODING)
        self._violation = PeerViolation(text, reason)
        self.state = ClientConnectionState.BROKEN
        return PeerViolation(text, reason, tuple(answered))
