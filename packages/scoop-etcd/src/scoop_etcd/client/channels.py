"""The gRPC channels to the endpoints of a cluster, and the choice of the one in use."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import grpc
import grpc.experimental

from scoop_etcd.client.api import ErrorCode
from scoop_etcd.client.connection_settings import ConnectionSettings
from scoop_etcd.client.failures import error_code, explained, was_not_sent

_RESPONSE_BYTES_MAX: Final = 256 << 20
"""Far above any response: gRPC's limit of 4 MiB ends a watch that has fallen behind."""

_KEEPALIVE_MS: Final = 10_000
"""Interval of pings, which reveal a dead machine. etcd disconnects a client that pings more than once in 5 s."""

_CONNECT_MS_MAX: Final = 2_000
"""Time that one attempt to connect may take, instead of gRPC's 20 s."""

_RECONNECT_PAUSE_MS: Final = (100, 1_000)
"""The shortest and the longest pause between attempts to connect."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _RESPONSE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _CONNECT_MS_MAX),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_MS_MAX),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_PAUSE_MS[0]),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_PAUSE_MS[1]),
    ("grpc.enable_retries", 0),  # the node decides what may be repeated
    # The thread that reads a watch waits for it directly, without a second thread between.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
)

Metadata = Sequence[tuple[str, str]]


class StatusCode(Protocol):
    """The status of a call."""

    @property
    def name(self) -> str:
        """Its name, such as UNAVAILABLE."""


class Rpc(Protocol):
    """A call in progress, or one that has ended."""

    def cancel(self) -> bool:
        """Cancel it."""

    def code(self) -> StatusCode:
        """Return the status with which it ended."""

    def details(self) -> str | None:
        """Return the explanation of the status."""


class ResponseStream(Rpc, Protocol):
    """A call with many responses."""

    def __iter__(self) -> Iterator[bytes]: ...


class _Unary(Protocol):
    def __call__(self, data: bytes, *, timeout: float, metadata: Metadata) -> bytes: ...


class _Streaming(Protocol):
    def __call__(self, data: bytes, *, metadata: Metadata) -> ResponseStream: ...


class _Channel(Protocol):
    def unary_unary(self, method: str) -> _Unary: ...
    def unary_stream(self, method: str) -> _Streaming: ...
    def close(self) -> None: ...


class CallFailure(NamedTuple):
    """The failure of a call."""

    code: ErrorCode
    reason: str
    was_not_sent: bool
    """True if it is certain that etcd has not received the request."""


class Endpoint:
    """One endpoint, to which gRPC connects when it is used, and again when the connection breaks."""

    def __init__(self, address: str, connection: ConnectionSettings) -> None:
        self.address = address
        self._channel = _open_channel(address, connection)
        self._methods: dict[str, _Unary] = {}

    def call(self, method: str, data: bytes, seconds: float, metadata: Metadata) -> bytes:
        """Make a call with one response, and return that. Raises grpc.RpcError."""
        unary = self._methods.get(method)
        if unary is None:
            unary = self._methods[method] = self._channel.unary_unary(method)
        return unary(data, timeout=seconds, metadata=metadata)

    def stream(self, method: str, data: bytes, metadata: Metadata) -> ResponseStream:
        """Start a call with many responses. It has no time-out."""
        return self._channel.unary_stream(method)(data, metadata=metadata)

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()


class Endpoints:
    """The endpoints of a cluster. One is in use, until :meth:`leave` moves on to the next. Any thread may call it."""

    def __init__(self, connection: ConnectionSettings) -> None:
        self._endpoints = [Endpoint(address, connection) for address in connection.endpoints]
        self._current = 0

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def current(self) -> Endpoint:
        """The endpoint in use."""
        return self._endpoints[self._current]

    def leave(self, endpoint: Endpoint) -> None:
        """Use the next endpoint, unless ``endpoint`` is no longer in use."""
        index = self._endpoints.index(endpoint)
        if index == self._current:
            self._current = (index + 1) % len(self._endpoints)

    def failed(self, endpoint: Endpoint, call: Rpc) -> CallFailure:
        """Return the failure of ``call``, and leave ``endpoint`` if another may do better."""
        status, details = call.code().name, call.details() or ""
        code = error_code(status, details)
        if not code.is_definite:
            self.leave(endpoint)
        return CallFailure(code, f"{endpoint.address}: {explained(details) or status}", was_not_sent(status, details))

    def close(self) -> None:
        """Disconnect from all."""
        for endpoint in self._endpoints:
            endpoint.close()


def _open_channel(address: str, connection: ConnectionSettings) -> _Channel:
    channel: _Channel
    if connection.is_tls:
        given = connection.credentials
        tls = grpc.ssl_channel_credentials(given.ca, given.key, given.certificate)
        channel = grpc.secure_channel(address, tls, options=_OPTIONS)
    else:
        channel = grpc.insecure_channel(address, options=_OPTIONS)
    return channel
