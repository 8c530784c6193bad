"""One blocking connection to a server: a socket, and the requests that it has not answered."""

import contextlib
import os
import re
import select
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Final

from scoop_core import (
    Address,
    ClientConnection,
    ClientConnectionState,
    InternetAddress,
    PeerViolation,
    Request,
    Response,
    ScoopError,
    UnixAddress,
)

from scoop_client.errors import ConnectionLost, InvalidResponse, ResponseTimeout, TlsRejected
from scoop_client.options import ClientOptions

_READ_BYTES: Final = 65_536

_PROBE_SECONDS: Final = 1.0
"""A server that takes longer to answer a TLS handshake is taken for one that does not."""

_TLS_ALERT: Final = b"\x15"
_TLS_HANDSHAKE: Final = b"\x16"


def open_socket(address: Address, options: ClientOptions) -> socket.socket:
    """Connect to ``address``, with TLS if it says so, within the connect time-out. Raises OSError."""
    deadline = time.monotonic() + options.connect_timeout
    if isinstance(address, UnixAddress):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(options.connect_timeout)
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((address.host, address.port), options.connect_timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.is_tls:
            assert options.tls is not None  # noqa: S101  # ClientOptions.of creates it
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            return options.tls.wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise
    return sock


class Link:
    """One connection. Raises OSError if it cannot be established."""

    def __init__(self, address: Address, options: ClientOptions) -> None:
        self.address = address
        self._response_timeout = options.response_timeout
        self._connection = ClientConnection(max_unanswered=options.max_unanswered)
        self._unsent = b""
        self.has_received = False
        """True if the server has sent something."""
        self._socket = open_socket(address, options)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._descriptor = self._socket.fileno()

    @property
    def unanswered_count(self) -> int:
        """The number of unanswered requests."""
        return self._connection.unanswered_count

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def is_stale(self) -> bool:
        """Return whether the server has closed the connection, or sent something, while it was idle."""
        self._poll.register(self._descriptor, select.POLLIN)
        return bool(self._poll.poll(0))

    def submit(self, requests: Sequence[Request]) -> ScoopError | None:
        """Send ``requests``, or those before one that is invalid, and return its error. Raises InvalidResponse."""
        self._check_unbroken()
        _, data, error = encode_valid(self._connection, requests)
        self._unsent += data
        self._flush()
        return error

    def receive(self) -> list[tuple[Request, Response]]:
        """Wait for responses; return the requests that they answer, each with its response. Raises ConnectionLost."""
        deadline = time.monotonic() + self._response_timeout
        while True:
            self._check_unbroken()
            if self._unsent:
                self._flush()
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._wait(deadline)
                continue
            except OSError as error:
                raise self._lost(error) from error
            if not data:
                raise ConnectionLost(self.address, "closed by the server", self._connection.unanswered)
            self.has_received = True
            if answered := self._receive_data(data):
                return answered

    def _check_unbroken(self) -> None:
        """Raise InvalidResponse if the server has violated the protocol."""
        if self._connection.state is ClientConnectionState.BROKEN:
            self._receive_data(b"")

    def _receive_data(self, data: bytes) -> list[tuple[Request, Response]]:
        try:
            return self._connection.receive(data)
        except PeerViolation as violation:
            if violation.answered:
                return list(violation.answered)
            raise InvalidResponse(self.address, str(violation), self._connection.unanswered) from violation

    def _flush(self) -> None:
        """Send as much as the socket accepts now. A failure is reported by the next read, after all responses."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self._unsent = b""

    def _wait(self, deadline: float) -> None:
        """Wait until the socket can be read, or written if there is something unsent."""
        self._poll.register(self._descriptor, select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN)
        left = deadline - time.monotonic()
        if left <= 0 or not self._poll.poll(left * 1_000):
            reason = f"no response for {self._response_timeout:g} s"
            raise ResponseTimeout(self.address, reason, self._connection.unanswered)

    def _lost(self, error: OSError) -> ConnectionLost:
        unanswered = self._connection.unanswered
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or not isinstance(error, ssl.SSLError):
            return ConnectionLost(self.address, describe(error), unanswered)
        return TlsRejected(self.address, describe(error), unanswered)


def encode_valid(
    connection: ClientConnection, requests: Sequence[Request]
) -> tuple[Sequence[Request], bytes, ScoopError | None]:
    """Return ``requests``, or those before one that is invalid; the bytes to send; and the error of the invalid one."""
    try:
        return requests, connection.send_all(requests), None
    except ScoopError:
        valid, data = list[Request](), b""
        for request in requests:
            try:
                data += connection.send(request)
            except ScoopError as error:
                return valid, data, error
            valid.append(request)
        raise


def explain(lost: ConnectionLost) -> ConnectionLost:
    """Return the loss of a connection on which nothing was received, as final if its server expects TLS."""
    address = lost.address
    if isinstance(address, InternetAddress) and not address.is_tls and lost.may_retry and _expects_tls(address):
        reason = f"it expects TLS; use the address {address._replace(is_tls=True)}"
        return InvalidResponse(address, reason, lost.unanswered)
    return lost


def _expects_tls(address: InternetAddress) -> bool:
    """Return whether a server answers the beginning of a TLS handshake in TLS."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=address.host)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    try:
        with socket.create_connection((address.host, address.port), _PROBE_SECONDS) as sock:
            sock.sendall(outgoing.read() + b"\n")  # the newline lets a server of lines answer as well
            return sock.recv(1) in (_TLS_ALERT, _TLS_HANDSHAKE)
    except OSError:
        return False


def describe(error: OSError) -> str:
    """Return the reason of an OSError in words, without its number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        text = re.sub(r"^\[.*?\] | \(_ssl\.c:[0-9]+\)$", "", str(error))  # without its place in the source
        reason = (error.reason or text).replace("_", " ").lower()
        return f"it does not use TLS ({reason})" if error.reason == "WRONG_VERSION_NUMBER" else reason
    if isinstance(error, TimeoutError):
        return "time-out"
    if error.errno is None or isinstance(error, socket.gaierror):  # whose numbers are not the system's
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()  # asyncio puts a text of its own into strerror
