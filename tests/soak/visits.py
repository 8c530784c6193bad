"""The visits of clients to a server, correct and hostile: each is one connection, or many at once.

Correct clients check every response, for packages that no other client changes. Hostile ones expect nothing, and the
server may disconnect them at any time.
"""

import contextlib
import threading
from collections.abc import Callable
from random import Random
from typing import Final

from tests.crash.load_client import NotAsPromisedError, OwnPackages
from tests.soak.connectors import Connect, Stream

_CROWD: Final = 50
_BURST_LINES: Final = 500
_UNREAD_LINES: Final = 20_000
_SLOW_PAUSE_SECONDS: Final = 0.02


class Visitor:
    """A client that connects again and again. It alone changes ``packages``; ``stop`` ends its pauses."""

    def __init__(self, connect: Connect, packages: OwnPackages, random: Random, stop: threading.Event) -> None:
        self._connect = connect
        self._packages = packages
        self._random = random
        self._stop = stop

    # Correct clients

    def ask_one_by_one(self) -> None:
        """Send requests, and wait for each response."""
        with self._connect() as stream:
            for _ in range(self._random.randint(1, 20)):
                self._converse(stream, 1)

    def pipeline(self) -> None:
        """Send many requests at once."""
        with self._connect() as stream:
            self._converse(stream, self._random.randint(1, _BURST_LINES))

    def half_close(self) -> None:
        """End the sending side in the middle of a line and receive the responses to all lines before it."""
        count = self._random.randint(0, 50)
        with self._connect() as stream:
            stream.send("".join(f"{self._packages.submit()}\n" for _ in range(count)).encode() + b"QUERY|half")
            stream.end()
            self._take(read_to_end(stream), count)

    def send_slowly(self) -> None:
        """Send a line in pieces, with pauses."""
        with self._connect() as stream:
            line = f"{self._packages.submit()}\n".encode()
            for byte in line:
                stream.send(bytes([byte]))
                self._stop.wait(_SLOW_PAUSE_SECONDS)
            self._take(read_lines(stream, 1), 1)

    def _converse(self, stream: Stream, count: int) -> None:
        stream.send("".join(f"{self._packages.submit()}\n" for _ in range(count)).encode())
        self._take(read_lines(stream, count), count)

    def _take(self, data: bytes, count: int) -> None:
        answers = data.decode("latin-1").split("\n")[:-1]
        if len(answers) != count:
            raise NotAsPromisedError(f"{len(answers)} answers to {count} requests")
        for answer in answers:
            self._packages.take_answer(answer)

    # Hostile clients

    def send_garbage(self) -> None:
        """Send random bytes and a line over the limit, and disconnect."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            stream.send(self._random.randbytes(self._random.randint(1, 5_000)))
            stream.send(b"x" * 70_000)

    def reset(self) -> None:
        """Send requests, and reset the connection instead of reading the responses."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            stream.send(b"QUERY|client0-0|\n" * self._random.randint(1, _BURST_LINES))
            stream.reset()

    def send_half_a_line(self) -> None:
        """Send a part of a line, pause, and disconnect."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            stream.send(b"INDEX|never-comp")
            self._stop.wait(0.5)

    def read_no_responses(self) -> None:
        """Send more requests than the server buffers responses for, never read, and reset the connection."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            for _ in range(20):
                stream.offer(b"QUERY|client0-0|\n" * _UNREAD_LINES)
                self._stop.wait(_SLOW_PAUSE_SECONDS)
            stream.reset()

    def connect_many_times(self) -> None:
        """Open many connections, send nothing, and disconnect."""
        with contextlib.ExitStack() as crowd:
            for _ in range(_CROWD):
                crowd.enter_context(self._connect())


Visit = Callable[[Visitor], None]

VISITS: Final[tuple[tuple[Visit, float], ...]] = (
    (Visitor.ask_one_by_one, 0.1),
    (Visitor.pipeline, 0.5),
    (Visitor.half_close, 0.1),
    (Visitor.send_slowly, 0.1),
    (Visitor.send_garbage, 0.1),
    (Visitor.reset, 0.1),
    (Visitor.send_half_a_line, 0.1),
    (Visitor.read_no_responses, 2.0),
    (Visitor.connect_many_times, 2.0),
)
"""Each kind of visit, and the pause after it in seconds: together they keep a server busy but not overloaded."""


def read_lines(stream: Stream, count: int) -> bytes:
    """Return the next ``count`` lines. Raises :exc:`NotAsPromisedError` if the connection ends before."""
    data = b""
    while (found := data.count(b"\n")) < count:
        more = stream.receive()
        if not more:
            raise NotAsPromisedError(f"the connection ended after {found} of {count} answers")
        data += more
    return data


def read_to_end(stream: Stream) -> bytes:
    """Return all bytes until the server ends the connection."""
    data = b""
    while more := stream.receive():
        data += more
    return data
