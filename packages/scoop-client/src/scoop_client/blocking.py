"""The blocking client."""

import ssl
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from scoop_core import Address, Command, Request, Response

from scoop_client.errors import ConnectionFailed, ConnectionLost
from scoop_client.link import Link, describe, explain
from scoop_client.options import MAX_DEPTH, PING_NAME, ClientOptions, Failover
from scoop_client.resend import Outbox


class Client:
    """A client of one server, or of several of which one is used at a time.

    It connects with the first request, and again after a loss. Use it in one thread at a time. The options are those
    of :class:`ClientOptions`; addresses are texts such as ``127.0.0.1:8080``, ``tls:HOST:PORT`` or ``unix:PATH``.

    >>> with Client("127.0.0.1:8080") as client:
    ...     client.address is None
    True
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
        self._link: Link | None = None
        self._is_streaming = False
        self._is_closed = False

    @property
    def address(self) -> Address | None:
        """The address of the server in use, or None if there is no connection."""
        return self._link.address if self._link else None

    # Requests

    def index(self, package: str, dependencies: Iterable[str] = ()) -> Response:
        """Index ``package``. The response is true if it is OK."""
        return self.send(Request.of(Command.INDEX, package, dependencies))

    def remove(self, package: str) -> Response:
        """Remove ``package``. The response is true if it is OK."""
        return self.send(Request.of(Command.REMOVE, package))

    def query(self, package: str) -> Response:
        """Return OK if ``package`` is indexed, else FAIL."""
        return self.send(Request.of(Command.QUERY, package))

    def ping(self) -> float:
        """Return the time of one request and its response, in seconds; connect first if necessary."""
        self.connect()
        start = time.perf_counter()
        self.query(PING_NAME)
        return time.perf_counter() - start

    def send(self, request: Request) -> Response:
        """Send one request and return its response.

        Raises :exc:`ConnectionFailed`, :exc:`ConnectionLost`, and what ``ClientConnection.send`` raises.
        """
        return self.send_all((request,))[0]

    def send_all(self, requests: Iterable[Request]) -> list[Response]:
        """Send a batch, pipelined, and return the responses in order. Raises what :meth:`send` raises."""
        return [response for _, response in self.stream(requests)]

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Response]]:
        """Send requests, pipelined, and yield each with its response, in order; memory stays constant.

        Up to ``max_unanswered`` requests are taken ahead. If one is invalid or ``requests`` raises an exception, the
        responses to those before it are yielded first. A stream that is abandoned closes the connection; no other
        call may be made meanwhile. Raises what :meth:`send` raises.
        """
        self._check_usable()
        self._is_streaming = True
        try:
            yield from self._exchange(Outbox(requests, self._options))
        finally:
            self._is_streaming = False
            if self._link is not None and self._link.unanswered_count:
                self._disconnect()  # the responses to come would be taken for others

    # The connection

    def connect(self) -> None:
        """Connect now, unless there is a connection. Raises :exc:`ConnectionFailed`."""
        self._check_usable()
        self._connected()

    def close(self) -> None:
        """Close the connection; the client cannot be used any more."""
        self._is_closed = True
        self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise RuntimeError("cannot send a request: the client is closed")
        if self._is_streaming:
            raise RuntimeError("cannot send a request: a stream of this client has not ended")

    def _connected(self) -> Link:
        if self._link is not None:
            if not self._link.is_stale():
                return self._link
            self._disconnect()
        attempts: list[tuple[Address, str]] = []
        for address in self._failover.order():
            try:
                self._link = Link(address, self._options)
            except OSError as error:
                attempts.append((address, describe(error)))
            else:
                self._failover.prefer(address)
                return self._link
        raise ConnectionFailed(attempts)

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _exchange(self, outbox: Outbox) -> Iterator[tuple[Request, Response]]:
        """Yield the responses to all requests of ``outbox``, over as many connections as it takes."""
        link = self._connected()
        while True:
            try:
                self._refill(link, outbox)
                if not link.unanswered_count:
                    break
                answered = link.receive()
            except ConnectionLost as lost:
                self._disconnect()
                self._failover.avoid(lost.address)
                outbox.lose(explain(lost) if outbox.is_suspicious(lost, has_received=link.has_received) else lost)
                link = self._reconnect(outbox, lost)
            else:
                outbox.note_progress()
                yield from answered
        if outbox.failure is not None:
            raise outbox.failure

    def _refill(self, link: Link, outbox: Outbox) -> None:
        """Send more requests in halves of the window: the server answers one while the next one is prepared."""
        half = (self._options.max_unanswered + 1) // 2
        while self._options.max_unanswered - link.unanswered_count >= half and (requests := outbox.take(half)):
            outbox.failure = link.submit(requests) or outbox.failure

    def _reconnect(self, outbox: Outbox, lost: ConnectionLost) -> Link:
        """Connect again, for as long as the options allow. Raises the error of the loss."""
        while True:
            time.sleep(outbox.next_delay(lost))
            try:
                return self._connected()
            except ConnectionFailed:
                continue
