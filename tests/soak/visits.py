"""What clients do to a server, good and bad: each visit is one connection, or a crowd of them.

The good ones hold every answer against what is right, for packages that nobody else changes. The bad ones expect
nothing, and the server may close on them at any time.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from random import Random
from typing import Final

from tests.crash.load_client import NotAsPromisedError, OwnPackages
from tests.soak.connectors import READ_BYTES, Connect

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_CROWD: Final = 50
_BURST_LINES: Final = 500
_UNREAD_LINES: Final = 20_000
_SLOW_PAUSE_SECONDS: Final = 0.02


class Visitor:
    """A client that comes again and again. ``packages`` are changed by no one else; ``stop`` ends its pauses."""

    def __init__(self, connect: Connect, packages: OwnPackages, random: Random, stop: threading.Event) -> None:
        self._connect = connect
        self._packages = packages
        self._random = random
        self._stop = stop

    # Good ones

    def ask_one_by_one(self) -> None:
        """Ask, and wait for each answer."""
        with self._connect() as sock:
            for _ in range(self._random.randint(1, 20)):
                self._converse(sock, 1)

    def pipeline(self) -> None:
        """Ask a lot at once."""
        with self._connect() as sock:
            self._converse(sock, self._random.randint(1, _BURST_LINES))

    def half_close(self) -> None:
        """End the sending side in the middle of a line, and get the answers to all lines before it."""
        count = self._random.randint(0, 50)
        with self._connect() as sock:
            sock.sendall("".join(f"{self._packages.submit()}\n" for _ in range(count)).encode() + b"QUERY|half")
            sock.shutdown(socket.SHUT_WR)
            self._take(read_to_end(sock), count)

    def ask_slowly(self) -> None:
        """Send a line in pieces, with pauses, and then others while it is being answered."""
        with self._connect() as sock:
            line = f"{self._packages.submit()}\n".encode()
            for byte in line:
                sock.sendall(bytes([byte]))
                self._stop.wait(_SLOW_PAUSE_SECONDS)
            self._take(read_lines(sock, 1), 1)

    def _converse(self, sock: socket.socket, count: int) -> None:
        sock.sendall("".join(f"{self._packages.submit()}\n" for _ in range(count)).encode())
        self._take(read_lines(sock, count), count)

    def _take(self, data: bytes, count: int) -> None:
        answers = data.decode("latin-1").split("\n")[:-1]
        if len(answers) != count:
            raise NotAsPromisedError(f"{len(answers)} answers to {count} requests")
        for answer in answers:
            self._packages.take_answer(answer)

    # Bad ones

    def send_garbage(self) -> None:
        """Send bytes that are no protocol, with newlines among them or without, and leave."""
        with self._connect() as sock, contextlib.suppress(ConnectionError):
            sock.sendall(self._random.randbytes(self._random.randint(1, 5_000)))
            sock.sendall(b"x" * 70_000)

    def reset(self) -> None:
        """Ask, and break the connection instead of reading the answers."""
        with self._connect() as sock, contextlib.suppress(ConnectionError):
            sock.sendall(b"QUERY|client0-0|\n" * self._random.randint(1, _BURST_LINES))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    def leave_a_half_line(self) -> None:
        """Begin a line, stay a while, and leave."""
        with self._connect() as sock, contextlib.suppress(ConnectionError):
            sock.sendall(b"INDEX|never-comp")
            self._stop.wait(0.5)

    def take_no_answers(self) -> None:
        """Ask more than the server wants to keep answers for, never read, and break the connection."""
        with self._connect() as sock, contextlib.suppress(ConnectionError, BlockingIOError):
            sock.setblocking(False)
            for _ in range(20):
                sock.send(b"QUERY|client0-0|\n" * _UNREAD_LINES)
                self._stop.wait(_SLOW_PAUSE_SECONDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    def come_as_a_crowd(self) -> None:
        """Connect many times at once, say nothing, and leave."""
        with contextlib.ExitStack() as crowd:
            for _ in range(_CROWD):
                crowd.enter_context(self._connect())


Visit = Callable[[Visitor], None]

VISITS: Final[tuple[tuple[Visit, float], ...]] = (
    (Visitor.ask_one_by_one, 0.1),
    (Visitor.pipeline, 0.5),
    (Visitor.half_close, 0.1),
    (Visitor.ask_slowly, 0.1),
    (Visitor.send_garbage, 0.1),
    (Visitor.reset, 0.1),
    (Visitor.leave_a_half_line, 0.1),
    (Visitor.take_no_answers, 2.0),
    (Visitor.come_as_a_crowd, 2.0),
)
"""Each kind of visit, and the pause after it in seconds: together they keep a server busy, and leave it time."""


def read_lines(sock: socket.socket, count: int) -> bytes:
    """Return the next ``count`` lines. Raises :exc:`NotAsPromisedError` where the connection ends before."""
    data = b""
    while (found := data.count(b"\n")) < count:
        more = sock.recv(READ_BYTES)
        if not more:
            raise NotAsPromisedError(f"the connection ended after {found} of {count} answers")
        data += more
    return data


def read_to_end(sock: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    data = b""
    while more := sock.recv(READ_BYTES):
        data += more
    return data
