"""One asyncio connection to a server, shared by tasks; and the limit of the requests that they may have in flight."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence

from scoop_core import Address, ClientConnection, PeerViolation, Request, Response, ScoopError, UnixAddress

from scoop_client.errors import ConnectionLost, InvalidResponse, ResponseTimeout, TlsRejected
from scoop_client.link import describe, encode_valid
from scoop_client.options import ClientOptions


class Window:
    """The number of requests that may still be sent; waiting tasks are served in order.

    >>> Window(2).has_room(2)
    True
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def has_room(self, count: int) -> bool:
        """Return whether ``count`` requests may be sent without waiting."""
        return not self._waiting and count <= self._free

    async def acquire(self, count: int) -> None:
        """Wait until ``count`` more requests may be sent, and count them."""
        if self.has_room(count):
            self._free -= count
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(count)
            raise

    def release(self, count: int) -> None:
        """Count ``count`` requests as answered or lost."""
        self._free += count
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free):
            wanted, granted = self._waiting.popleft()
            if not granted.cancelled():
                self._free -= wanted
                granted.set_result(None)


class SentRequests:
    """Requests that were sent together, and the responses received so far."""

    def __init__(self, requests: Sequence[Request], release: Callable[[int], None]) -> None:
        self._requests = requests
        self._release = release
        self._outcome: asyncio.Future[ConnectionLost | None] = asyncio.get_running_loop().create_future()
        self.answered: list[tuple[Request, Response]] = []

    @property
    def missing(self) -> int:
        """The number of responses to come."""
        return len(self._requests) - len(self.answered)

    @property
    def unanswered(self) -> Sequence[Request]:
        """The requests without a response."""
        return self._requests[len(self.answered) :]

    async def wait(self) -> ConnectionLost | None:
        """Wait for the last response, or for the loss of the connection, which is returned."""
        return await self._outcome

    def finish(self, lost: ConnectionLost | None) -> None:
        """Wake the task that waits. One that was cancelled does not."""
        self._release(len(self._requests))
        if not self._outcome.done():
            self._outcome.set_result(lost)


async def open_link(address: Address, options: ClientOptions) -> "AsyncLink":
    """Connect to ``address``, with TLS if it says so, within the connect time-out. Raises OSError."""
    loop = asyncio.get_running_loop()
    link = AsyncLink(address, options)
    async with asyncio.timeout(options.connect_timeout):
        if isinstance(address, UnixAddress):
            await loop.create_unix_connection(lambda: link, address.path)
        elif address.is_tls:
            await loop.create_connection(
                lambda: link, address.host, address.port, ssl=options.tls, server_hostname=address.host
            )
        else:
            await loop.create_connection(lambda: link, address.host, address.port)
    return link


class AsyncLink(asyncio.Protocol):
    """One connection. Every batch that it sends is answered or finished with the reason of the loss."""

    def __init__(self, address: Address, options: ClientOptions) -> None:
        self.address = address
        self.can_write = asyncio.Event()
        """Clear while the transport's buffer is full. Set after a loss, so that no task waits for ever."""
        self._response_timeout = options.response_timeout
        self._connection = ClientConnection(max_unanswered=options.max_unanswered)
        self._batches: deque[SentRequests] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self._lost: ConnectionLost | None = None
        self.has_received = False
        """True if the server has sent something."""
        self._last_progress = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def is_lost(self) -> bool:
        """Return whether the connection has ended."""
        return self._lost is not None

    def lost_error(self) -> ConnectionLost:
        """Return the reason for the loss."""
        return self._lost or ConnectionLost(self.address, "closed")

    def submit(
        self, requests: Sequence[Request], release: Callable[[int], None]
    ) -> tuple[SentRequests, ScoopError | None]:
        """Send ``requests``, or those before one that is invalid; return their batch, and the error of that one.

        ``release`` is called with numbers of requests that are not unanswered any more.
        """
        assert self._transport is not None  # noqa: S101  # open_link has connected
        loop = asyncio.get_running_loop()
        valid, data, error = encode_valid(self._connection, requests)
        if error is not None:
            release(len(requests) - len(valid))
        if not self._batches:
            self._last_progress = loop.time()
            if self._timer is None:
                self._timer = loop.call_later(self._response_timeout, self._check_progress)
        batch = SentRequests(valid, release)
        if valid:
            self._batches.append(batch)
            self._transport.write(data)
        else:
            batch.finish(None)
        return batch, error

    def lose(self, reason: str, kind: type[ConnectionLost] = ConnectionLost) -> None:
        """Close the connection, and finish the batches with ``reason``."""
        if self._lost is not None:
            return
        self._lost = kind(self.address, reason)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self.can_write.set()
        while self._batches:
            batch = self._batches.popleft()
            batch.finish(self._lost.with_unanswered(tuple(batch.unanswered)))

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101  # a stream connection's is one
        self._transport = transport
        self.can_write.set()
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Hand each response to its batch."""
        self.has_received = True
        try:
            self._hand_out(self._connection.receive(data))
        except PeerViolation as violation:
            self._hand_out(list(violation.answered))
            self.lose(str(violation), InvalidResponse)

    def pause_writing(self) -> None:
        """Let tasks wait: the transport's buffer is full."""
        self.can_write.clear()

    def resume_writing(self) -> None:
        """Let tasks send again."""
        self.can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Finish the batches."""
        if exc is None:
            self.lose("closed by the server")
        elif isinstance(exc, ssl.SSLError) and not isinstance(exc, ssl.SSLEOFError):
            self.lose(describe(exc), TlsRejected)
        else:
            self.lose(describe(exc) if isinstance(exc, OSError) else str(exc))

    def _hand_out(self, answered: list[tuple[Request, Response]]) -> None:
        if answered:
            self._last_progress = asyncio.get_running_loop().time()
        start = 0
        while start < len(answered):
            batch = self._batches[0]
            end = start + batch.missing
            batch.answered += answered[start:end]
            start = end
            if not batch.missing:
                self._batches.popleft().finish(None)

    def _check_progress(self) -> None:
        """Lose the connection if no response has arrived for too long; else look again later."""
        self._timer = None
        if not self._batches:
            return
        loop = asyncio.get_running_loop()
        deadline = self._last_progress + self._response_timeout
        if loop.time() >= deadline:
            self.lose(f"no response for {self._response_timeout:g} s", ResponseTimeout)
        else:
            self._timer = loop.call_at(deadline, self._check_progress)
