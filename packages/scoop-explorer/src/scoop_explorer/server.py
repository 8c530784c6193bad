"""The process: a socket, uvicorn with limits, and an orderly end."""

import asyncio
import logging
import math
import socket
import sys
import time
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from scoop_explorer.application import Application

CONNECTIONS_MAX: Final = 300
"""Connections at a time, event streams included; further ones are answered 503."""

BACKLOG: Final = 128
"""The backlog: about twice as many connections as requests in progress."""

HEAD_SECONDS_MAX: Final = 10.0
"""The time in which a request must arrive: a browser sends it immediately."""

HEAD_BYTES_MAX: Final = 16_384
"""The size of a request with its header fields."""

KEEP_ALIVE_SECONDS: Final = 10
"""The time for which a connection may be idle between two requests."""

SWITCH_SECONDS: Final = 0.001
"""The switch interval of the interpreter: an expensive question delays a page by this much at most."""

REJECTIONS_SECONDS: Final = 600.0
"""The time between two lines about rejected connections."""

END_SECONDS: Final = 3
"""The time for which requests may continue after a signal to end."""


class BoundedProtocol(H11Protocol):
    """HTTP with a deadline for each request to arrive: uvicorn itself waits for it without limit."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Expect a request."""
        super().connection_made(transport)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        super().data_received(data)
        if self._is_in_request:
            self._forget_deadline()
        elif self._deadline is None:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS_MAX, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._deadline = None
        if not self._is_in_request:
            self.transport.close()

    @property
    def _is_in_request(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


_REJECTED: Final = (
    f"more than {CONNECTIONS_MAX} connections: further ones are answered 503; close those that are not needed"
)


class OneLineOfRejections(logging.Filter):
    """Logs that connections are rejected once in a while: uvicorn does it for each."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; name the limit."""
        if record.msg != "Exceeded concurrency limit.":
            return True
        if time.monotonic() < self._silent_until:
            return False
        self._silent_until = time.monotonic() + REJECTIONS_SECONDS
        record.msg = _REJECTED
        return True


class _Server(uvicorn.Server):
    """Ends the event streams at a signal, so that the end need not wait for them."""

    should_exit: bool  # for mypy, where uvicorn is not installed

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End without the signal being raised again at the end: the exit status is 0."""
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._application.events.close)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def serve(application: Application, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("uvicorn.error").addFilter(OneLineOfRejections())
    protocol: Any = BoundedProtocol
    config = uvicorn.Config(
        application.asgi,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
    )
    _Server(config, application).run(sockets=[listener])
