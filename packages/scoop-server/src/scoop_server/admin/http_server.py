"""HTTP for the admin endpoint: the standard library's ``http.server``, with limits on connections, bytes and time.

Each connection carries one request, so bytes after its head are never taken for another one. The thread that serves the
index shares the interpreter lock with the threads here, so they accept connections no faster than their share of the
processor allows; other connections wait in the backlog.
"""

import contextlib
import errno
import http.client
import io
import logging
import re
import select
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from scoop_server.net.listener import Listener
from scoop_server.telemetry.logs import RepeatLimit
from scoop_server.telemetry.workers import start_thread

CONNECTIONS_MAX: Final = 32
"""Connections at a time, each with a thread; one more replaces the oldest. More than a few probes and scrapers need."""

BACKLOG: Final = 64
"""Connections that wait in the kernel: so few that the last of them is still answered within a second."""

CONNECTION_SECONDS_MAX: Final = 10.0
"""Deadline for a whole connection, request and response: the usual time-out of a scrape."""

HEAD_BYTES_MAX: Final = 8_192
"""Limit for request line and header. A scraper sends a few hundred bytes."""

CPU_SHARE: Final = 0.1
"""Share of a processor that the endpoint may take from the server."""

_DEADLINE_CHECK_SECONDS: Final = 1.0
"""Interval at which deadlines are checked."""

_ACCEPT_PAUSE_SECONDS: Final = 1.0
"""Pause after the system had no descriptor or memory for a connection."""

_DISCARDS_MAX: Final = 16
"""Reads after the response, so that a body of up to 1 MiB does not reset the connection under the response."""

_DISCARD_BYTES: Final = 65_536

_PEER_CLOSED: Final = getattr(select, "POLLRDHUP", 0)
"""Linux reports that the peer has closed its side even while data is unread; other systems report resets only."""

_HEAD_LINE: Final = re.compile(rb"(?![ \t])[\t -~\x80-\xff]*\r\n")
"""A line of a head: ends in CR LF, holds no other control character but tabs, continues no line before it."""

_LENGTH: Final = re.compile(r"[0-9]+")

PLAIN_TEXT: Final = "text/plain; charset=utf-8"


class Response(NamedTuple):
    """The response to a request."""

    status: HTTPStatus
    body: bytes
    media_type: str = PLAIN_TEXT


def problem(status: HTTPStatus, note: str = "") -> Response:
    """Return the response that reports ``status``."""
    return Response(status, f"{status.phrase}{': ' * bool(note)}{note}\n".encode())


class CpuBudget:
    """Keeps the processor time of several threads within ``share`` of the time that passes by ``clock``."""

    def __init__(self, share: float, clock: Callable[[], float]) -> None:
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0

    def spend(self, cpu_seconds: float) -> None:
        """Count processor time that was used."""
        with self._lock:
            self._free_at = max(self._free_at, self._clock()) + cpu_seconds / self._share

    def seconds_until_free(self) -> float:
        """Return how long to wait until the share allows more."""
        return max(0.0, self._free_at - self._clock())


class HttpServer(BaseServer):
    """Serves GET and HEAD at ``listener`` in threads of its own, from construction until :meth:`close`.

    ``respond`` returns the response for a path; it is called in any of the threads.
    """

    def __init__(
        self,
        listener: Listener,
        respond: Callable[[str], Response],
        connection_seconds_max: float = CONNECTION_SECONDS_MAX,
    ) -> None:
        super().__init__(listener.address, _Handler)
        self._respond = respond
        self.connection_seconds_max = connection_seconds_max
        self._listener = listener
        self._budget = CpuBudget(CPU_SHARE, time.monotonic)
        self._accept_cpu_used = 0.0
        self._lock = threading.Lock()
        self._connections: OrderedDict[socket.socket, float] = OrderedDict()
        """The open connections and their deadlines: first those that have their response, then the oldest."""
        self._repeat_limit = RepeatLimit(time.monotonic)
        self._closing = threading.Event()
        self._workers = ThreadPoolExecutor(CONNECTIONS_MAX, "admin")
        self._accept_thread = start_thread(lambda: self.serve_forever(_DEADLINE_CHECK_SECONDS), "admin accept")

    def close(self) -> None:
        """Stop serving, and end the connections that are open."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.listening_socket.shutdown(socket.SHUT_RDWR)  # on Linux this wakes the accept thread
        self.shutdown()
        self._accept_thread.join()
        with self._lock:
            for connection in list(self._connections):
                self._end(connection)
        self._workers.shutdown()
        self._listener.close()
        self._repeat_limit.flush(at_once=True)

    # The accept thread; BaseServer calls these

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._listener.listening_socket.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection once the share of the processor allows it. Raises OSError if nothing waits."""
        cpu_used, self._accept_cpu_used = self._accept_cpu_used, time.thread_time()
        self._budget.spend(self._accept_cpu_used - cpu_used)
        self._closing.wait(self._budget.seconds_until_free())
        try:
            return self._listener.listening_socket.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                with self._lock:
                    self._repeat_limit.log(
                        logging.WARNING,
                        "the admin endpoint cannot accept connections: %(error)s; raise the limit of open files",
                        {"error": error.strerror},
                    )
                self._closing.wait(_ACCEPT_PAUSE_SECONDS)
            raise

    def verify_request(self, request: Any, client_address: object) -> bool:
        """Return whether to serve a connection: while others wait, not one that its client has already closed.

        A client that has only shut its sending side looks the same, so it is served if it can be.
        """
        del client_address
        poll = select.poll()
        poll.register(self, select.POLLIN)
        poll.register(request, _PEER_CLOSED)
        others_wait_and_it_is_closed = len(poll.poll(0)) > 1
        return not others_wait_and_it_is_closed

    def process_request(self, request: Any, client_address: Any) -> None:
        """Pass a connection to a thread; the oldest one makes room for it."""
        with self._lock:
            if len(self._connections) >= CONNECTIONS_MAX:
                self._end(next(iter(self._connections)))
            self._connections[request] = time.monotonic() + self.connection_seconds_max
        self._workers.submit(self._serve, request, client_address)

    def service_actions(self) -> None:
        """End the connections that are past their deadline."""
        now = time.monotonic()
        with self._lock:
            for connection in [each for each, deadline in self._connections.items() if deadline <= now]:
                self._end(connection)
            self._repeat_limit.flush()

    def handle_error(self, request: Any, client_address: object) -> None:
        """Log that a connection could not be passed to a thread, in one line instead of a traceback."""
        del request, client_address
        self._log_failure(sys.exception())

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has no thread."""
        with self._lock:
            self._connections.pop(request, None)
            request.close()

    def _end(self, connection: socket.socket) -> None:
        """End a connection: its thread sees the end of the stream. The lock is held."""
        del self._connections[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    # The threads of the connections

    def _serve(self, connection: socket.socket, address: object) -> None:
        cpu_started = time.thread_time()
        try:
            self.finish_request(connection, address)
            with self._lock:
                if connection in self._connections:
                    self._connections.move_to_end(connection, last=False)
            _discard_rest(connection)
        except (OSError, EOFError):
            pass  # the client is gone, or was too slow
        finally:
            with self._lock:  # so that none is shut down whose descriptor another connection has by now
                self._connections.pop(connection, None)
                connection.close()
            self._budget.spend(time.thread_time() - cpu_started)

    def response_for(self, path: str) -> Response:
        """Return the response for ``path``: an error if making it failed."""
        try:
            return self._respond(path)
        except Exception as error:  # a defect in one response must not end the endpoint
            self._log_failure(error)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _log_failure(self, error: BaseException | None) -> None:
        with self._lock:
            self._repeat_limit.log(logging.WARNING, "the admin endpoint failed to answer: %(error)r", {"error": error})


def _discard_rest(connection: socket.socket) -> None:
    """Wait for the client's end: closing over unread bytes would reset the connection, and lose the response."""
    connection.shutdown(socket.SHUT_WR)
    for _ in range(_DISCARDS_MAX):
        if not connection.recv(_DISCARD_BYTES):
            break


class _MalformedHeadError(Exception):
    """A line of a head that intermediaries may interpret differently."""


class _HeadReader(io.BufferedReader):
    """Reads the lines of a head, and rejects what ``http.server`` would tolerate."""

    _bytes_left = HEAD_BYTES_MAX

    def readline(self, _size: int | None = -1, /) -> bytes:
        """Return the next line. Raises EOFError where the stream ends first."""
        line = super().readline(self._bytes_left + 1)
        self._bytes_left -= len(line)
        if self._bytes_left < 0:
            raise http.client.LineTooLong("head")
        if not line.endswith(b"\n"):
            raise EOFError
        if not _HEAD_LINE.fullmatch(line):
            raise _MalformedHeadError
        return line


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    server: HttpServer
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # of the response to a request that names no version
    wbufsize = -1

    def setup(self) -> None:
        self.request.settimeout(self.server.connection_seconds_max)
        super().setup()
        self.rfile = _HeadReader(self.rfile.detach())
        self.command = self.requestline = self.request_version = ""

    def handle(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline()
            is_parsed = self.parse_request()  # if not, it has sent an error, except for an empty line
        except _MalformedHeadError:
            self.send_error(HTTPStatus.BAD_REQUEST)
        except http.client.LineTooLong:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            if is_parsed:
                self._send(self._respond())
            elif not self.requestline:
                self.send_error(HTTPStatus.BAD_REQUEST)

    def _respond(self) -> Response:
        if not self._is_strict():
            return problem(HTTPStatus.BAD_REQUEST)
        if self.command not in {"GET", "HEAD"}:
            return problem(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            path = urlsplit(self.path).path
        except ValueError:
            return problem(HTTPStatus.BAD_REQUEST)
        return self.server.response_for(path)

    def _is_strict(self) -> bool:
        """Return whether the head is unambiguous: no other reader can see another request in it, or several."""
        fields = self.headers
        hosts, lengths = fields.get_all("Host", []), fields.get_all("Content-Length", [])
        return (
            self.requestline == f"{self.command} {self.path} {self.request_version}"
            and not fields.defects
            and (len(hosts) == 1 or (not hosts and self.request_version == "HTTP/1.0"))
            and len(set(lengths)) <= 1
            and all(map(_LENGTH.fullmatch, lengths))
            and not (lengths and "Transfer-Encoding" in fields)
        )

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", response.media_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if response.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error without echoing the request; ``http.server`` calls this as well."""
        del message, explain
        self._send(problem(HTTPStatus(code)))

    def handle_expect_100(self) -> bool:
        """Send no interim response: the final one does not depend on a body."""
        return True
