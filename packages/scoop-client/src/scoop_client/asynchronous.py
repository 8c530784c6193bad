"""The asyncio client."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Final, Self

from scoop_core import Address, Command, Request, Response

from scoop_client.async_link import AsyncLink, SentRequests, Window, open_link
from scoop_client.errors import ConnectionFailed, ConnectionLost
from scoop_client.link import describe, explain
from scoop_client.options import MAX_DEPTH, PING_NAME, ClientOptions, Failover
from scoop_client.resend import Outbox

_BATCHES_PER_WINDOW: Final = 4
"""A stream sends a quarter of the window at a time, so that the server has work while responses arrive."""


class AsyncClient:
    """A client for any number of tasks of one event loop, which share one connection.

    It connects with the first request, and again after a loss. The options are those of
    :class:`~scoop_client.Client`. A task that is cancelled leaves the connection usable: the response to its request is
    received and dropped.

    >>> import asyncio
    >>> async def main() -> None:
    ...     async with AsyncClient("127.0.0.1:8080") as client:
    ...         print(client.address)
    >>> asyncio.run(main())
    None
    """

    def __init__(
        self,
        *addresses: str | Address,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = 5.0,
        response_timeout: float = 30.0,
        reconnect_timeout: float = 10.0,
        max_unanswered: int = MAX_DEPTH,
        resend_changes: bool = False,
    ) -> None:
        self._options = ClientOptions.of(
            addresses,
            tls=tls,
            connect_timeout=connect_timeout,
            response_timeout=response_timeout,
            reconnect_timeout=reconnect_timeout,
            max_unanswered=max_unanswered,
            resend_changes=resend_changes,
        )
        self._failover = Failover(self._options.addresses)
        self._link: AsyncLink | None = None
        self._connecting = asyncio.Lock()
        self._window = Window(max_unanswered)
        self._is_closed = False

    @property
    def address(self) -> Address | None:
        """The address of the server in use, or None if there is no connection."""
        return self._link.address if self._link and not self._link.is_lost() else None

    # Requests

    async def index(self, package: str, dependencies: Iterable[str] = ()) -> Response:
        """Index ``package``. The response is true if it is OK."""
        return await self.send(Request.of(Command.INDEX, package, dependencies))

    async def remove(self, package: str) -> Response:
        """Remove ``package``. The response is true if it is OK."""
        return await self.send(Request.of(Command.REMOVE, package))

    async def query(self, package: str) -> Response:
        """Return OK if ``package`` is indexed, else FAIL."""
        return await self.send(Request.of(Command.QUERY, package))

    async def ping(self) -> float:
        """Return the time of one request and its response, in seconds; connect first if necessary."""
        await self.connect()
        start = time.perf_counter()
        await self.query(PING_NAME)
        return time.perf_counter() - start

    async def send(self, request: Request) -> Response:
        """Send one request and return its response.

        Raises :exc:`ConnectionFailed`, :exc:`ConnectionLost`, and what ``ClientConnection.send`` raises.
        """
        return (await self.send_all((request,)))[0]

    async def send_all(self, requests: Iterable[Request]) -> list[Response]:
        """Send a batch, pipelined, and return the responses in order. Raises what :meth:`send` raises."""
        return [response async for _, response in self.stream(requests)]

    async def stream(self, requests: Iterable[Request]) -> AsyncIterator[tuple[Request, Response]]:
        """Send requests, pipelined, and yield each with its response, in order; memory stays constant.

        Up to ``max_unanswered`` requests are taken ahead. Other tasks may use the client meanwhile. If a request is
        invalid, the responses to those of earlier batches are yielded first. Raises what :meth:`send` raises.
        """
        outbox = Outbox(requests, self._options)
        batches: deque[SentRequests] = deque()
        link = await self._connected()
        while True:
            await self._refill(link, outbox, batches)
            if batches:
                batch = batches.popleft()
                lost = await batch.wait()
                if batch.answered:
                    outbox.note_progress()
                for answered in batch.answered:
                    yield answered
                if lost is None:
                    continue
                lost = lost.with_unanswered([request for each in (batch, *batches) for request in each.unanswered])
                batches.clear()
                if outbox.is_suspicious(lost, has_received=link.has_received):
                    lost = await asyncio.to_thread(explain, lost)
                outbox.lose(lost)
            elif outbox.has_resend():  # the connection was lost before they were sent
                lost = link.lost_error()
                outbox.lose(lost)
            else:
                break
            link = await self._reconnect(outbox, lost)
        if outbox.failure is not None:
            raise outbox.failure

    # The connection

    async def connect(self) -> None:
        """Connect now, unless there is a connection. Raises :exc:`ConnectionFailed`."""
        await self._connected()

    async def close(self) -> None:
        """Close the connection; requests without a response raise :exc:`ConnectionLost`."""
        self._is_closed = True
        if self._link is not None:
            self._link.lose("closed by this client")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _connected(self) -> AsyncLink:
        async with self._connecting:
            if self._is_closed:
                raise RuntimeError("cannot send a request: the client is closed")
            if self._link is not None:
                if not self._link.is_lost():
                    return self._link
                self._failover.avoid(self._link.address)
                self._link = None
            attempts: list[tuple[Address, str]] = []
            for address in self._failover.order():
                try:
                    self._link = await open_link(address, self._options)
                except OSError as error:
                    attempts.append((address, describe(error)))
                else:
                    self._failover.prefer(address)
                    return self._link
            raise ConnectionFailed(attempts)

    async def _refill(self, link: AsyncLink, outbox: Outbox, batches: deque[SentRequests]) -> None:
        """Send batches until the window is full."""
        size = max(self._options.max_unanswered // _BATCHES_PER_WINDOW, 1)
        while len(batches) < _BATCHES_PER_WINDOW and (requests := outbox.take(size)):
            if batches and not self._window.has_room(len(requests)):
                outbox.put_back(requests)  # the responses to the batches make room
                return
            await self._window.acquire(len(requests))
            await link.can_write.wait()
            if link.is_lost():
                self._window.release(len(requests))
                outbox.put_back(requests)
                return
            batch, invalid = link.submit(requests, self._window.release)
            batches.append(batch)
            outbox.failure = invalid or outbox.failure

    async def _reconnect(self, outbox: Outbox, lost: ConnectionLost) -> AsyncLink:
        """Connect again, for as long as the options allow. Raises the error of the loss."""
        while True:
            await asyncio.sleep(outbox.next_delay(lost))
            try:
                return await self._connected()
            except ConnectionFailed:
                continue
