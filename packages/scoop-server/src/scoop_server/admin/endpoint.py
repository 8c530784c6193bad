"""The admin endpoint: how a run is doing, over HTTP, for probes and Prometheus.

``/livez``    the process is up, also while it reads a large index, and its event loop is not stuck
``/readyz``   clients are served, and may change the index; where not, a word why
``/metrics``  the run in numbers, if prometheus_client is installed
``/version``  as JSON

It runs in a thread of its own with an asyncio loop of its own, looks at a few numbers of the server and never at the
graph, so that whoever asks here, however slowly, badly or often, takes next to nothing from the server's clients.
"""

import asyncio
import contextlib
import email.utils
import json
import logging
import platform
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from scoop_server import __version__
from scoop_server.config.addresses import Address, UnixAddress
from scoop_server.net.listener import bind
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import RepeatLimit, log

CONNECTIONS_MAX: Final = 32
"""Connections at a time; who comes then takes the place of the one that has been waited for longest. More than a few
probes and scrapers need, few enough to be left out of account beside the server's clients."""

HEAD_BYTES_MAX: Final = 8_192
"""A request up to its empty line. A scraper's has a few hundred bytes."""

REQUEST_SECONDS_MAX: Final = 75.0
"""How long a connection may be without a whole request: longer than the usual time between two scrapes."""

RESPONSE_SECONDS_MAX: Final = 10.0
"""How long a response may go untaken."""

WORKING_SHARE: Final = 0.1
"""Of the time, how much is spent on answering while many ask: the server works in the rest."""

_TALKING_SECONDS: Final = 0.000_2
"""What a request costs beside its response."""

CLOSE_SECONDS_MAX: Final = 5.0
"""How long the end waits for the thread."""

_REQUEST_LINE: Final = re.compile(r"([A-Z]+) (\S+) HTTP/(1\.[01])")

_PLAIN_TEXT: Final = "text/plain; charset=utf-8"

_INSTALL_METRICS: Final = b"prometheus_client is not installed; for metrics: pip install 'scoop-server[metrics]'\n"


class Response(NamedTuple):
    """What a path answers."""

    status: HTTPStatus
    body: bytes
    media_type: str = _PLAIN_TEXT


class AdminEndpoint:
    """Answers at ``address`` about ``run``, from construction until :meth:`close`.

    Raises :exc:`~scoop_server.errors.ListenError` where it cannot listen there.
    """

    def __init__(self, address: Address, run: Health) -> None:
        self._listener = bind(address, way_out="name another address with --admin")
        self._listener.listen()
        place = self._listener.address if isinstance(address, UnixAddress) else f"http://{self._listener.address}"
        log.info("the admin endpoint is %(address)s", {"address": place})
        if self._listener.is_exposed:
            log.warning(
                "the admin endpoint %(address)s is open to other machines; see to who can reach it", {"address": place}
            )
        self._run = run
        self._metrics_type, self._render_metrics = _metrics_of(run)
        self._paths: Mapping[str, Callable[[], Response]] = {
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": self._metrics,
            "/version": _version,
        }
        self._connections: dict[asyncio.StreamWriter, None] = {}
        """Those that are open; the one that has been waited for longest comes first."""
        self._turn = asyncio.Lock()
        self._free_from = 0.0
        """From when on the next request may be answered."""
        self._repeat_limit = RepeatLimit(time.monotonic)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._log_trouble)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._talk, sock=self._listener.listening_socket, limit=HEAD_BYTES_MAX)
        )
        self._thread = threading.Thread(target=self._serve, name="admin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS_MAX)

    # The thread

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        self._listener.close()

    def _log_trouble(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        trouble = context.get("exception") or context["message"]
        if isinstance(trouble, ConnectionError):
            return  # a client is gone; asyncio tells so of one whose connection is being closed at that moment
        self._repeat_limit.flush()
        self._repeat_limit.log(logging.WARNING, "the admin endpoint has trouble: %(trouble)s", {"trouble": trouble})

    # One connection

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.transport.abort()
        self._connections[writer] = None
        # Whatever goes wrong is the end of this connection and concerns nobody else.
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    self._connections.pop(writer, None)  # it goes to the end of the line
                    self._connections[writer] = None
        finally:
            self._connections.pop(writer, None)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the next request; return whether another may follow. Raises OSError and EOFError at the end."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            response = _problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return await self._send(reader, writer, response, has_body=True, stays_open=False)
        async with self._turn:
            await asyncio.sleep(max(0.0, self._free_from - self._loop.time()))
            started = time.thread_time()  # not the time of day: the thread may have to wait for the server's
            request = _parse(head)
            response = self._respond(request) if request else _problem(HTTPStatus.BAD_REQUEST)
            worked = time.thread_time() - started + _TALKING_SECONDS
            self._free_from = self._loop.time() + worked * (1 / WORKING_SHARE - 1)
        return await self._send(
            reader,
            writer,
            response,
            has_body=request is None or request.method != "HEAD",
            stays_open=request is not None and request.stays_open,
        )

    def _respond(self, request: "Request") -> Response:
        path = self._paths.get(request.path)
        if path is None:
            return _problem(HTTPStatus.NOT_FOUND, f"there are {', '.join(self._paths)}")
        if request.method not in {"GET", "HEAD"}:
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED)
        return path()

    async def _send(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        response: Response,
        *,
        has_body: bool,
        stays_open: bool,
    ) -> bool:
        head = [
            f"HTTP/1.1 {response.status.value} {response.status.phrase}",
            f"Date: {email.utils.formatdate(usegmt=True)}",
            f"Content-Type: {response.media_type}",
            f"Content-Length: {len(response.body)}",
            "Cache-Control: no-store",
            f"Connection: {'keep-alive' if stays_open else 'close'}",
            *["Allow: GET, HEAD"] * (response.status is HTTPStatus.METHOD_NOT_ALLOWED),
        ]
        async with asyncio.timeout(RESPONSE_SECONDS_MAX):
            writer.write("\r\n".join([*head, "", ""]).encode("ascii") + response.body * has_body)
            await writer.drain()
            if not stays_open:
                # Over bytes that were not read, a close would reset the connection, and the response be lost with it.
                writer.write_eof()
                while await reader.read(HEAD_BYTES_MAX):
                    pass
        return stays_open

    # The paths

    def _live(self) -> Response:
        if self._run.is_stuck:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, b"stuck\n")
        return Response(HTTPStatus.OK, b"ok\n")

    def _ready(self) -> Response:
        why_not = self._run.not_ready_reason
        if why_not:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{why_not}\n".encode())
        return Response(HTTPStatus.OK, b"ready\n")

    def _metrics(self) -> Response:
        if self._render_metrics is None:
            return Response(HTTPStatus.NOT_IMPLEMENTED, _INSTALL_METRICS)
        return Response(HTTPStatus.OK, self._render_metrics(), self._metrics_type)


class Request(NamedTuple):
    """What is asked, as far as it counts here."""

    method: str
    path: str
    stays_open: bool
    """Whether another request may follow on the connection."""


def _parse(head: bytes) -> Request | None:
    """Return the request that ``head`` is, up to its empty line; None where it is none.

    A body is not read, so nothing can follow it on its connection.
    """
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        fields[name.lower()] = value.strip().lower()
    if match is None or (match[3] == "1.1" and "host" not in fields):
        return None
    try:
        path = urlsplit(match[2]).path
    except ValueError:
        return None
    options = [option.strip() for option in fields.get("connection", "").split(",")]
    is_kept = "keep-alive" in options if match[3] == "1.0" else "close" not in options
    has_body = "transfer-encoding" in fields or fields.get("content-length", "0") != "0"
    return Request(match[1], path, is_kept and not has_body)


def _problem(status: HTTPStatus, note: str = "") -> Response:
    return Response(status, f"{status.phrase}{': ' * bool(note)}{note}\n".encode())


def _version() -> Response:
    version = {"version": __version__, "python": platform.python_version(), "platform": sys.platform}
    return Response(HTTPStatus.OK, json.dumps(version).encode() + b"\n", "application/json")


def _metrics_of(run: Health) -> tuple[str, Callable[[], bytes] | None]:
    """Return the media type of the metrics and what gives them; None where there is no prometheus_client."""
    try:
        from scoop_server.admin.metrics import metrics_of  # noqa: PLC0415  # it needs what only an extra brings along
    except ImportError:
        return "", None
    return metrics_of(run)
