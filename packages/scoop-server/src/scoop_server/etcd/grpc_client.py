"""The client of etcd over gRPC: requests run in gRPC's threads, and completions wake the event loop.

It needs grpcio and protobuf, which the extra ``scoop-server[etcd]`` installs.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from scoop_server.etcd import wire
from scoop_server.etcd.api import ErrorCode, Failure, Request, Result, Ticket, Watch, WatchEnded
from scoop_server.etcd.channels import Call, Endpoint, Endpoints, Stream, UnaryCall
from scoop_server.etcd.cluster import Cluster
from scoop_server.etcd.tokens import Tokens

REQUEST_SECONDS_MAX: Final = 2.0
"""Time-out of one request. etcd elects a leader in about one second, and a member that is stopped never answers: after
this long another endpoint has a better chance."""


class GrpcEtcdClient:
    """A client of ``cluster``; satisfies :class:`scoop_server.etcd.api.EtcdClient`."""

    def __init__(self, cluster: Cluster, seconds_max: float = REQUEST_SECONDS_MAX) -> None:
        self._endpoints = Endpoints(cluster)
        self._tokens = Tokens(cluster.credentials, self._endpoints)
        self._seconds_max = seconds_max
        self._tickets = count(1)
        self._watched: Endpoint | None = None
        """The endpoint of the last watch."""
        self._lock = threading.Lock()
        """Guards the rest."""
        self._open: dict[Ticket, _Work] = {}
        self._completed: list[tuple[Ticket, Result]] = []
        self._is_signalled = False
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)

    def submit(self, request: Request, /) -> Ticket:
        """See :meth:`~scoop_server.etcd.api.EtcdClient.submit`."""
        ticket = next(self._tickets)

        def complete(result: Result, is_last: bool) -> None:
            self._complete(ticket, result, is_last=is_last)

        work: _Work
        if isinstance(request, Watch):
            if request.elsewhere and self._watched is not None:
                self._endpoints.leave(self._watched)
            work = _WatchThread(wire.watch_request(request), self._endpoints, self._tokens, complete)
            self._watched = self._endpoints.current
        else:
            work = _UnaryRequest(wire.exchange(request), self._endpoints, self._tokens, self._seconds_max, complete)
        with self._lock:
            self._open[ticket] = work
        work.start()
        return ticket

    def cancel(self, ticket: Ticket, /) -> None:
        """See :meth:`~scoop_server.etcd.api.EtcdClient.cancel`."""
        with self._lock:
            work = self._open.pop(ticket, None)
            self._completed = [each for each in self._completed if each[0] != ticket]
        if work is not None:
            work.cancel()

    def poll(self) -> Sequence[tuple[Ticket, Result]]:
        """See :meth:`~scoop_server.etcd.api.EtcdClient.poll`."""
        with self._lock:
            completed, self._completed = self._completed, []
            if self._is_signalled:
                os.read(self._read_end, 1)
                self._is_signalled = False
        return completed

    def wake(self) -> None:
        """See :meth:`~scoop_server.etcd.api.EtcdClient.wake`."""
        with self._lock:
            self._signal()

    def fileno(self) -> int:
        """See :meth:`~scoop_server.etcd.api.EtcdClient.fileno`."""
        return self._read_end

    def close(self) -> None:
        """See :meth:`~scoop_server.etcd.api.EtcdClient.close`."""
        with self._lock:
            open_work, self._open = self._open, {}
            self._is_signalled = True  # nothing is written to the pipe from now on
            os.close(self._read_end)
            os.close(self._write_end)
        for work in open_work.values():
            work.cancel()
        self._endpoints.close()

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


class _Work(Protocol):
    def start(self) -> None: ...
    def cancel(self) -> None: ...


class _UnaryRequest:
    """One request. It is sent again only if it is certain that it had no effect."""

    def __init__(
        self, exchange: wire.Exchange, endpoints: Endpoints, tokens: Tokens, seconds_max: float, complete: _Complete
    ) -> None:
        self._exchange = exchange
        self._endpoints = endpoints
        self._tokens = tokens
        self._complete = complete
        self._deadline = time.monotonic() + seconds_max
        self._endpoint = endpoints.current
        self._endpoints_left = len(endpoints)
        self._token = ""
        self._may_renew_token = True
        self._call: UnaryCall | None = None
        self._is_cancelled = False

    def start(self) -> None:
        """Send the request when there is a token, if one is needed."""
        self._tokens.request(self._send)

    def cancel(self) -> None:
        """Abandon the request."""
        self._is_cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _send(self, token: str | Failure) -> None:
        if isinstance(token, Failure):
            self._complete(token, True)
            return
        seconds_left = self._deadline - time.monotonic()
        if self._is_cancelled or seconds_left <= 0:
            self._complete(Failure(ErrorCode.TIMED_OUT, "no endpoint of etcd could be reached in time"), True)
            return
        self._token = token
        self._endpoint = self._endpoints.current
        method, data, _ = self._exchange
        call = self._call = self._endpoint.call(method, data, seconds_left, self._tokens.metadata(token))
        call.add_done_callback(self._receive)

    def _receive(self, call: UnaryCall) -> None:
        try:
            result = self._exchange.result(call.result())
        except grpc.FutureCancelledError:
            result = Failure(ErrorCode.UNAVAILABLE, "the request was cancelled")
        except DecodeError as error:
            result = Failure(ErrorCode.UNAVAILABLE, f"{self._endpoint.address}: {error}")
        except grpc.RpcError:
            failed = self._endpoints.failed(self._endpoint, call)
            self._endpoints_left -= 1
            if failed.was_not_sent and self._endpoints_left:
                self._send(self._token)
                return
            if failed.code is ErrorCode.UNAUTHENTICATED and self._token and self._may_renew_token:
                self._may_renew_token = False
                self._tokens.discard(self._token)
                self._tokens.request(self._send)
                return
            result = Failure(failed.code, failed.reason)
        self._complete(result, True)


class _WatchThread:
    """A watch, read by a thread of its own."""

    def __init__(self, data: bytes, endpoints: Endpoints, tokens: Tokens, complete: _Complete) -> None:
        self._data = data
        self._endpoints = endpoints
        self._tokens = tokens
        self._complete = complete
        self._may_renew_token = True
        """False once anything has been received, because etcd checks the token when it opens a watch."""
        self._call: Call | None = None
        self._is_cancelled = False

    def start(self) -> None:
        """Start the thread when there is a token, if one is needed."""
        self._tokens.request(self._start)

    def cancel(self) -> None:
        """End the watch."""
        self._is_cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _start(self, token: str | Failure) -> None:
        if isinstance(token, Failure):
            self._complete(WatchEnded(token.code, token.reason), True)
        else:
            threading.Thread(target=self._run, args=(token,), name="etcd watch", daemon=True).start()

    def _run(self, token: str) -> None:
        for endpoints_left in reversed(range(len(self._endpoints))):
            endpoint = self._endpoints.current
            call = self._call = endpoint.stream(wire.WATCH_METHOD, self._data, self._tokens.metadata(token))
            if self._is_cancelled:
                call.cancel()
                return
            try:
                ended = self._read(call) or WatchEnded(ErrorCode.UNAVAILABLE, "etcd has closed the watch")
            except DecodeError as error:
                ended = WatchEnded(ErrorCode.UNAVAILABLE, str(error))
            except grpc.RpcError:
                failed = self._endpoints.failed(endpoint, call)
                if failed.was_not_sent and endpoints_left:
                    continue
                ended = WatchEnded(failed.code, failed.reason)
            call.cancel()
            if ended.code is ErrorCode.UNAUTHENTICATED and token and self._may_renew_token:
                self._may_renew_token = False
                self._tokens.discard(token)
                self._tokens.request(self._start)
            else:
                self._complete(ended, True)
            return

    def _read(self, call: Stream) -> WatchEnded | None:
        """Pass on what ``call`` yields, until it ends. Raises grpc.RpcError or DecodeError."""
        for data in call:
            result = wire.watch_result(data)
            if isinstance(result, WatchEnded):
                return result
            if result is not None:
                self._may_renew_token = False
                self._complete(result, False)
        return None
