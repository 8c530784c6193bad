"""What clients do to a server, good and bad: each visit is one connection, or a crowd of them.

The good ones hold every answer against what is right, for packages that nobody else changes. The bad ones expect
nothing, and the server may close on them at any time.
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
    """A client that comes again and again. ``packages`` are changed by no one else; ``stop`` ends its pauses."""

    def __init__(self, connect: Connect, packages: OwnPackages, random: Random, stop: threading.Event) -> None:
        self._connect = connect
        self._packages = packages
        self._random = random
        self._stop = stop

    # Good ones

    def ask_one_by_one(self) -> None:
        """Ask, and wait for each answer."""
        with self._connect() as stream:
            for _ in range(self._random.randint(1, 20)):
                self._converse(stream, 1)

    def pipeline(self) -> None:
        """Ask a lot at once."""
        with self._connect() as stream:
            self._converse(stream, self._random.randint(1, _BURST_LINES))

    def half_close(self) -> None:
        """End the sending side in the middle of a line, and get the answers to all lines before it."""
        count = self._random.randint(0, 50)
        with self._connect() as stream:
            stream.send("".join(f"{self._packages.submit()}\n" for _ in range(count)).encode() + b"QUERY|half")
            stream.end()
            self._take(read_to_end(stream), count)

    def ask_slowly(self) -> None:
        """Send a line in pieces, with pauses, and then others while it is being answered."""
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

    # Bad ones

    def send_garbage(self) -> None:
        """Send bytes that are no protocol, with newlines among them or without, and leave."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            stream.send(self._random.randbytes(self._random.randint(1, 5_000)))
            stream.send(b"x" * 70_000)

    def reset(self) -> None:
        """Ask, and break the connection instead of reading the answers."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            stream.send(b"QUERY|client0-0|\n" * self._random.randint(1, _BURST_LINES))
            stream.reset()

    def leave_a_half_line(self) -> None:
        """Begin a line, stay a while, and leave."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            stream.send(b"INDEX|never-comp")
            self._stop.wait(0.5)

    def take_no_answers(self) -> None:
        """Ask more than the server wants to keep answers for, never read, and break the connection."""
        with self._connect() as stream, contextlib.suppress(ConnectionError):
            for _ in range(20):
                stream.offer(b"QUERY|client0-0|\n" * _UNREAD_LINES)
                self._stop.wait(_SLOW_PAUSE_SECONDS)
            stream.reset()

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


def read_lines(stream: Stream, count: int) -> bytes:
    """Return the next ``count`` lines. Raises :exc:`NotAsPromisedError` where the connection ends before."""
    data = b""
    while (found := data.count(b"\n")) < count:
        more = stream.receive()
        if not more:
            raise NotAsPromisedError(f"the connection ended after {found} of {count} answers")
        data += more
    return data


def read_to_end(stream: Stream) -> bytes:
    """Return all that comes until the server ends the connection."""
    data = b""
    while more := stream.receive():
        data += more
    return data
