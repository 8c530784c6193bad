"""Connections to a server at any kind of address, with and without TLS."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from tests.support.certificates import TlsPeer
from tests.support.process import WAIT_SECONDS

READ_BYTES: Final = 65_536

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Stream:
    """One connection. Every call waits at most :data:`WAIT_SECONDS`, and raises OSError on a broken connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.socket.sendall(data)

    def offer(self, data: bytes) -> None:
        """Send as much of ``data`` as fits without waiting; drop the rest."""
        self._offer(data)

    def _offer(self, data: bytes) -> None:
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.socket.send(data)
        self.socket.settimeout(WAIT_SECONDS)

    def receive(self) -> bytes:
        """Return the next bytes; none at the end."""
        return self.socket.recv(READ_BYTES)

    def end(self) -> None:
        """End the sending side."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TlsStream(Stream):
    """One connection with TLS, whose handshake is complete."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self.peer = TlsPeer(sock, context)
        self.peer.shake_hands()

    def send(self, data: bytes) -> None:
        """See :meth:`Stream.send`."""
        self.socket.sendall(self.peer.encrypt(data))

    def offer(self, data: bytes) -> None:
        """See :meth:`Stream.offer`; nothing can be sent after a dropped part."""
        self._offer(self.peer.encrypt(data))

    def receive(self) -> bytes:
        """See :meth:`Stream.receive`."""
        while True:
            data, has_ended = self.peer.decrypt()
            if data or has_ended:
                return data
            arrived = self.socket.recv(READ_BYTES)
            if not arrived:
                return b""
            self.peer.feed(arrived)

    def end(self) -> None:
        """See :meth:`Stream.end`."""
        self.socket.sendall(self.peer.encrypted_end())


Connect = Callable[[], Stream]
"""Open a connection. Raises OSError."""


def connector(address: str, authority: Path | None = None) -> Connect:
    """Return a function that connects to ``address`` as the log shows it; ``authority`` signs its certificate."""
    if not address.startswith("tls:"):
        return lambda: Stream(open_socket(address))
    context = ssl.create_default_context(cafile=authority)
    return lambda: _with_tls(open_socket(address), context)


def _with_tls(sock: socket.socket, context: ssl.SSLContext) -> TlsStream:
    try:
        return TlsStream(sock, context)
    except BaseException:
        sock.close()
        raise


def open_socket(address: str) -> socket.socket:
    """Return a connected socket, without TLS for any ``address``."""
    host, _, port = address.removeprefix("tls:").rpartition(":")
    is_unix = address.startswith("unix:")
    sock = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
    try:
        sock.settimeout(WAIT_SECONDS)
        sock.connect(address.removeprefix("unix:") if is_unix else (host, int(port)))
        if not is_unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock
