"""HTTP for the admin endpoint: one request per connection, with limits on connections, bytes and time.

A strict reader of heads and one thread with a selector take less code than ``http.server`` and what it would need
around it. Each connection carries one request, so bytes after its head are never taken for another one. The loop of the
server shares the interpreter lock with the thread, so this pauses after each turn in proportion to what the turn took;
other connections wait in the backlog.
"""

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from scoop_server.net.listener import Listener
from scoop_server.ports import SHORTAGES, Stream, close_stream
from scoop_server.telemetry.logs import RepeatLimit
from scoop_server.telemetry.workers import start_thread

CONNECTIONS_MAX: Final = 32
"""Connections at a time; one more replaces the oldest. More than a few probes and scrapers need."""

ACCEPTS_MAX: Final = CONNECTIONS_MAX // 2
"""Connections accepted in one turn: those of the turn before get their response before they are replaced."""

BACKLOG: Final = 64
"""Connections that wait in the kernel: so few that the last of them is still answered within a second."""

CONNECTION_SECONDS_MAX: Final = 10.0
"""Deadline for a whole connection, request and response: the usual time-out of a scrape."""

HEAD_BYTES_MAX: Final = 8_192
"""Limit for request line and header. A scraper sends a few hundred bytes."""

CPU_SHARE: Final = 0.1
"""Share of a processor that the endpoint may take from the server."""

_READ_BYTES: Final = 65_536

_DISCARD_BYTES_MAX: Final = 1_048_576
"""Read after the response: closing over unread bytes would reset the connection, and lose the response."""

_TICK_SECONDS: Final = 1.0
"""Interval at which deadlines are checked, and the pause after the system had no descriptor or memory."""

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n|\A\r?\n")

_HEAD: Final = re.compile(
    rb"([A-Z]+) ([!-~]+) HTTP/1\.([01])\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*)\r\n"
)
"""A head that every reader understands in the same way: no bare newline, no folded field, no control character."""

_FIELD: Final = re.compile(rb"(.+?):[ \t]*(.*?)[ \t]*\r\n")

_LOCAL_HOST: Final = re.compile(rb"([^.:\[\]]+|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
"""An address, or a name without a dot, such as localhost. Who owns a domain can give its names the address of loopback,
so that a page in a browser on this machine could read the responses."""

PLAIN_TEXT: Final = "text/plain; charset=utf-8"


class HttpResponse(NamedTuple):
    """The response to a request."""

    status: HTTPStatus
    body: bytes
    media_type: str = PLAIN_TEXT


def problem(status: HTTPStatus, note: str = "") -> HttpResponse:
    """Return the response that reports ``status``."""
    return HttpResponse(status, f"{status.phrase}{': ' * bool(note)}{note}\n".encode())


@dataclass(slots=True, eq=False)
class _Connection:
    stream: Stream
    deadline: float
    is_answered: bool = False


class HttpServer:
    """Serves GET and HEAD at ``listener`` in a thread of its own, from construction until :meth:`close`.

    ``respond`` returns the response for a path. It is called in the thread.
    """

    def __init__(
        self,
        listener: Listener,
        respond: Callable[[str], HttpResponse],
        connection_seconds_max: float = CONNECTION_SECONDS_MAX,
    ) -> None:
        self.address = listener.address
        self._listener = listener
        self._respond = respond
        self._connection_seconds_max = connection_seconds_max
        self._checks_host = not (listener.is_exposed or listener.is_unix)
        self._connections: dict[_Connection, Generator[int]] = {}
        """Those that are open, with the steps of :meth:`_serve` that they have before them."""
        self._repeat_limit = RepeatLimit(time.monotonic)
        self._closing = threading.Event()
        self._selector = DefaultSelector()
        listener.socket.setblocking(False)
        self._selector.register(listener, EVENT_READ)
        self._thread = start_thread(self._run, "admin")

    def close(self) -> None:
        """Stop serving, and end the connections that are open."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.socket.shutdown(socket.SHUT_RDWR)  # on Linux this wakes the thread
        self._thread.join()
        for connection in list(self._connections):
            self._end(connection)
        self._selector.close()
        self._listener.close()
        self._repeat_limit.flush(at_once=True)

    # The thread

    def _run(self) -> None:
        while not self._closing.is_set():
            cpu_started = time.thread_time()
            try:
                self._turn()
            except OSError as error:
                self._repeat_limit.log(
                    logging.WARNING,
                    "the admin endpoint cannot accept connections: %(error)s; raise the limit of open files",
                    {"error": error.strerror},
                )
                self._closing.wait(_TICK_SECONDS)
            self._closing.wait((time.thread_time() - cpu_started) / CPU_SHARE)

    def _turn(self) -> None:
        """Serve the connections that are ready. Raises OSError if the system has no memory for that."""
        for key, _ in self._selector.select(min(_TICK_SECONDS, self._connection_seconds_max)):
            connection: _Connection | None = key.data
            if connection is None:
                self._accept()
            elif connection in self._connections:  # not replaced in this turn
                try:
                    self._selector.modify(connection.stream, next(self._connections[connection]), connection)
                except (StopIteration, OSError):  # served, or the client is gone
                    self._end(connection)
        now = time.monotonic()
        for connection in [each for each in self._connections if each.deadline <= now]:
            self._end(connection)
        self._repeat_limit.flush()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                stream, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SHORTAGES:
                    raise
                continue  # one that has ended already
            if len(self._connections) >= CONNECTIONS_MAX:
                self._end(min(self._connections, key=lambda each: (not each.is_answered, each.deadline)))
            connection = _Connection(stream, time.monotonic() + self._connection_seconds_max)
            steps = self._serve(connection)
            self._selector.register(stream, next(steps), connection)
            self._connections[connection] = steps

    def _serve(self, connection: _Connection) -> Generator[int]:
        """Receive the request and send the response; yield the event to wait for. Raises OSError if the client is gone.

        Only the first part of a response is sent without waiting: the buffer is empty then.
        """
        stream, received, discarded = connection.stream, b"", 0
        while (response := self._response_to(received)) is None:
            yield EVENT_READ
            if not (data := stream.recv(_READ_BYTES)):
                return
            received += data
        connection.is_answered = True
        while response := response[stream.send(response) :]:
            yield EVENT_WRITE
        stream.shutdown(socket.SHUT_WR)
        yield EVENT_READ
        while (data := stream.recv(_READ_BYTES)) and discarded <= _DISCARD_BYTES_MAX:
            discarded += len(data)
            yield EVENT_READ

    def _end(self, connection: _Connection) -> None:
        self._connections.pop(connection).close()
        self._selector.unregister(connection.stream)
        close_stream(connection.stream)

    # Requests and responses

    def _response_to(self, received: bytes) -> bytes | None:
        """Return the response to the bytes of a connection, None if the head is incomplete."""
        end = _END_OF_HEAD.search(received)
        if (end.end() if end else len(received)) > HEAD_BYTES_MAX:
            return _encode(problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        if end is None:
            return None
        head = _HEAD.fullmatch(received, 0, end.end())
        if head is None:
            return _encode(problem(HTTPStatus.BAD_REQUEST))
        return _encode(self._respond_to_head(head), with_body=head[1] != b"HEAD")

    def _respond_to_head(self, head: re.Match[bytes]) -> HttpResponse:
        fields = [(name.lower(), value) for name, value in _FIELD.findall(head[4])]
        hosts = [value for name, value in fields if name == b"host"]
        lengths = {value for name, value in fields if name == b"content-length"}
        is_chunked = any(name == b"transfer-encoding" for name, _ in fields)
        has_host = len(hosts) == 1 or (not hosts and head[3] == b"0")
        if not has_host or len(lengths) + is_chunked > 1 or not all(map(bytes.isdigit, lengths)):
            return problem(HTTPStatus.BAD_REQUEST)
        if head[1] not in {b"GET", b"HEAD"}:
            return problem(HTTPStatus.METHOD_NOT_ALLOWED)
        if self._checks_host and hosts and not _LOCAL_HOST.fullmatch(hosts[0]):
            return problem(HTTPStatus.MISDIRECTED_REQUEST, "name the host by its address, or as localhost")
        try:
            path = urlsplit(head[2].decode("ascii")).path
        except ValueError:
            return problem(HTTPStatus.BAD_REQUEST)
        try:
            return self._respond(path)
        except Exception as error:  # a defect in one response must not end the endpoint
            self._repeat_limit.log(logging.WARNING, "the admin endpoint failed to answer: %(error)r", {"error": error})
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR)


def _encode(response: HttpResponse, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\nDate: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: {response.media_type}\r\nContent-Length: {len(response.body)}\r\nAllow: GET, HEAD\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + response.body * with_body
