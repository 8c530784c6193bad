"""A server for tests of clients: each connection is served by a function, which may violate every rule."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Self

from tests.support.process import WAIT_SECONDS

Script = Callable[[socket.socket, int], None]
"""Serves one connection; the number counts the connections from 0. The connection is closed after it."""


class ScriptedServer:
    """Serves one connection after the other on a free port of 127.0.0.1, until the end of the ``with`` block."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{'tls' if tls else 'tcp'}:127.0.0.1:{self.port}"
        self.connection_count = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                number, self.connection_count = self.connection_count, self.connection_count + 1
                sock.settimeout(WAIT_SECONDS)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with sock, contextlib.suppress(OSError):
                    if self._tls is not None:
                        sock = self._tls.wrap_socket(sock, server_side=True)  # the same connection
                    self._script(sock, number)
                    sock.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT_SECONDS)


def lines_of(sock: socket.socket) -> Iterator[str]:
    """Yield the lines that a client sends, without newlines, until it closes the connection."""
    with contextlib.suppress(ConnectionError), sock.makefile("r", encoding="latin-1", newline="\n") as reader:
        for line in reader:
            yield line.removesuffix("\n")


def read_lines(sock: socket.socket, count: int) -> list[str]:
    """Return the next ``count`` lines of a client. Raises ConnectionError if it closes the connection before."""
    lines = list(islice(lines_of(sock), count))
    if len(lines) < count:
        raise ConnectionError
    return lines


def answer_of(line: str) -> str:
    """Return a response that depends on the package, so that a test can tell one that belongs to another request."""
    _, separator, package = line.partition("|")
    if not separator:  # a probe for TLS
        return "ERROR"
    package = package.partition("|")[0]
    return ("OK", "FAIL", "ERROR")[sum(map(ord, package)) % 3]


def answer_all(sock: socket.socket, _number: int) -> None:
    """Serve a connection by :func:`answer_of`."""
    for line in lines_of(sock):
        sock.sendall(f"{answer_of(line)}\n".encode())


def wait_for_end(sock: socket.socket) -> None:
    """Answer nothing until the client closes the connection."""
    for _ in lines_of(sock):
        pass
