"""The client of etcd over gRPC: requests run in threads, and completions wake the event loop.

It needs grpcio and protobuf, which the extra ``scoop-server[etcd]`` installs. Each request blocks a thread of ours:
gRPC's own asynchronous calls start a thread whenever none is under way, and cost half as much processor time again.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from scoop_etcd.client import wire
from scoop_etcd.client.api import ErrorCode, EtcdRequest, Failure, Result, Ticket, Watch, WatchEnded
from scoop_etcd.client.channels import Endpoint, Endpoints, ResponseStream, Rpc
from scoop_etcd.client.connection_settings import ConnectionSettings
from scoop_etcd.client.threads import Threads
from scoop_etcd.client.tokens import Tokens

REQUEST_SECONDS_MAX: Final = 2.0
"""Time-out of one request. etcd elects a leader in about one second, and a member that is stopped never answers: after
this long another endpoint has a better chance."""


class GrpcEtcdClient:
    """A client of ``connection``; satisfies :class:`scoop_etcd.client.api.EtcdClient`."""

    def __init__(self, connection: ConnectionSettings, seconds_max: float = REQUEST_SECONDS_MAX) -> None:
        self._endpoints = Endpoints(connection)
        self._tokens = Tokens(connection.credentials, self._endpoints)
        self._seconds_max = seconds_max
        self._threads = Threads("etcd")
        self._tickets = count(1)
        self._watched: Endpoint | None = None
        """The endpoint of the last watch."""
        self._lock = threading.Lock()
        """Guards the rest."""
        self._open: dict[Ticket, _Watch | None] = {}
        """The requests without their last completion; the watches can be cancelled."""
        self._completed: list[tuple[Ticket, Result]] = []
        self._is_signalled = False
        self._is_closed = False
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)

    def submit(self, request: EtcdRequest, /) -> Ticket:
        """See :meth:`~scoop_etcd.client.api.EtcdClient.submit`."""
        ticket = next(self._tickets)

        def complete(result: Result, is_last: bool) -> None:
            self._complete(ticket, result, is_last=is_last)

        watch: _Watch | None = None
        run: Callable[[], None]
        if isinstance(request, Watch):
            if request.elsewhere and self._watched is not None:
                self._endpoints.leave(self._watched)
            watch = _Watch(wire.watch_request(request), self._endpoints, self._tokens, complete)
            self._watched = self._endpoints.current
            run = watch.run
        else:
            deadline = time.monotonic() + self._seconds_max
            exchange = wire.exchange(request)
            run = _UnaryRequest(exchange, self._endpoints, self._tokens, deadline, self._leave, complete).run
        with self._lock:
            self._open[ticket] = watch
        self._threads.run(partial(self._run, run))
        return ticket

    def _run(self, run: Callable[[], None]) -> None:
        """Run a request, in a thread."""
        try:
            run()
        except ValueError:  # gRPC raises it when the channel has been closed
            if not self._is_closed:
                raise

    def cancel(self, ticket: Ticket, /) -> None:
        """See :meth:`~scoop_etcd.client.api.EtcdClient.cancel`."""
        with self._lock:
            watch = self._open.pop(ticket, None)
            self._completed = [each for each in self._completed if each[0] != ticket]
        if watch is not None:
            watch.cancel()

    def poll(self) -> Sequence[tuple[Ticket, Result]]:
        """See :meth:`~scoop_etcd.client.api.EtcdClient.poll`."""
        with self._lock:
            completed, self._completed = self._completed, []
            if self._is_signalled:
                os.read(self._read_end, 1)
                self._is_signalled = False
        return completed

    def wake(self) -> None:
        """See :meth:`~scoop_etcd.client.api.EtcdClient.wake`."""
        with self._lock:
            self._signal()

    def fileno(self) -> int:
        """See :meth:`~scoop_etcd.client.api.EtcdClient.fileno`."""
        return self._read_end

    def close(self) -> None:
        """See :meth:`~scoop_etcd.client.api.EtcdClient.close`."""
        self._is_closed = True
        with self._lock:
            watches, self._open = self._open.values(), {}
            self._is_signalled = True  # nothing is written to the pipe from now on
            os.close(self._read_end)
            os.close(self._write_end)
        for watch in watches:
            if watch is not None:
                watch.cancel()
        self._endpoints.close()
        self._threads.close()

    def _leave(self, endpoint: Endpoint) -> None:
        """End the watches at an endpoint that has not answered a request, in any thread: they may have stalled too."""
        with self._lock:
            watches = [watch for watch in self._open.values() if watch is not None]
        for watch in watches if len(self._endpoints) > 1 else ():
            watch.leave(endpoint)

    def _complete(self, ticket: Ticket, result: Result, *, is_last: bool) -> None:
        """Note a completion, in any thread."""
        with self._lock:
            if ticket not in self._open:  # cancelled
                return
            if is_last:
                del self._open[ticket]
            self._completed.append((ticket, result))
            self._signal()

    def _signal(self) -> None:
        if not self._is_signalled:
            self._is_signalled = True
            os.write(self._write_end, b"\0")


_Complete = Callable[[Result, bool], None]
"""Takes a result, and whether it is the last one of its request."""


class _UnaryRequest:
    """One request. It is sent again only if it is certain that it had no effect."""

    def __init__(
        self,
        exchange: wire.Exchange,
        endpoints: Endpoints,
        tokens: Tokens,
        deadline: float,
        timed_out: Callable[[Endpoint], None],
        complete: _Complete,
    ) -> None:
        self._exchange = exchange
        self._endpoints = endpoints
        self._tokens = tokens
        self._timed_out = timed_out
        self._complete = complete
        self._deadline = deadline
        self._may_renew_token = True

    def run(self) -> None:
        """Complete the request."""
        self._complete(self._result(), True)

    def _result(self) -> Result:
        for endpoints_left in reversed(range(len(self._endpoints) + 1)):
            token = self._tokens.get()
            if isinstance(token, Failure):
                return token
            seconds_left = self._deadline - time.monotonic()
            if seconds_left <= 0:
                break
            endpoint = self._endpoints.current
            try:
                data = endpoint.call(self._exchange.method, self._exchange.data, seconds_left, Tokens.metadata(token))
                return self._exchange.result(data)
            except DecodeError as error:
                return Failure(ErrorCode.UNAVAILABLE, f"{endpoint.address}: {error}")
            except grpc.RpcError as error:
                failed = self._endpoints.failed(endpoint, error)
            if failed.code is ErrorCode.TIMED_OUT:
                self._timed_out(endpoint)
            if failed.code is ErrorCode.UNAUTHENTICATED and token and self._may_renew_token:
                self._may_renew_token = False
                self._tokens.discard(token)
            elif not (failed.was_not_sent and endpoints_left > 1):
                return Failure(failed.code, failed.reason)
        return Failure(ErrorCode.TIMED_OUT, "no endpoint of etcd could be reached in time")


class _Watch:
    """A watch, which has a thread until its end."""

    def __init__(self, data: bytes, endpoints: Endpoints, tokens: Tokens, complete: _Complete) -> None:
        self._data = data
        self._endpoints = endpoints
        self._tokens = tokens
        self._complete = complete
        self._may_renew_token = True
        """False once anything has been received, because etcd checks the token when it opens a watch."""
        self._endpoint: Endpoint | None = None
        self._call: Rpc | None = None
        self._is_cancelled = False

    def leave(self, endpoint: Endpoint) -> None:
        """End the watch with a failure if it is at ``endpoint``."""
        if self._endpoint is endpoint and self._call is not None:
            self._call.cancel()

    def cancel(self) -> None:
        """End the watch."""
        self._is_cancelled = True
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        """Pass on what the watch yields, until it ends."""
        ended = self._ended()
        if ended is not None:
            self._complete(ended, True)

    def _ended(self) -> WatchEnded | None:
        """Return the end of the watch; None if it was cancelled."""
        for endpoints_left in reversed(range(len(self._endpoints) + 1)):
            token = self._tokens.get()
            if isinstance(token, Failure):
                return WatchEnded(token.code, token.reason)
            endpoint = self._endpoint = self._endpoints.current
            call = self._call = endpoint.stream(wire.WATCH_METHOD, self._data, Tokens.metadata(token))
            if self._is_cancelled:
                call.cancel()
                return None
            was_not_sent = False
            try:
                ended = self._read(call) or WatchEnded(ErrorCode.UNAVAILABLE, "etcd has closed the watch")
            except DecodeError as error:
                ended = WatchEnded(ErrorCode.UNAVAILABLE, str(error))
            except grpc.RpcError:
                failed = self._endpoints.failed(endpoint, call)
                was_not_sent = failed.was_not_sent
                ended = WatchEnded(failed.code, failed.reason)
            call.cancel()
            if ended.code is ErrorCode.UNAUTHENTICATED and token and self._may_renew_token:
                self._may_renew_token = False
                self._tokens.discard(token)
            elif not (was_not_sent and endpoints_left > 1):
                return ended
        return WatchEnded(ErrorCode.UNAVAILABLE, "no endpoint of etcd could be reached")

    def _read(self, call: ResponseStream) -> WatchEnded | None:
        """Pass on what ``call`` yields, until it ends. Raises grpc.RpcError or DecodeError."""
        for data in call:
            result = wire.watch_result(data)
            if isinstance(result, WatchEnded):
                return result
            if result is not None:
                self._may_renew_token = False
                self._complete(result, False)
        return None
