"""An event loop over real sockets and a real selector, with a clock that the test moves.

A selector that never waits, and records the time-out of each call, makes every turn a step of the test.
"""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from selectors import DefaultSelector, SelectorKey
from typing import Any, Self

from scoop_core import Changes, DependencyGraph

from scoop_server.config.access import UNRESTRICTED, AccessPolicy
from scoop_server.config.limits import Limits
from scoop_server.index.local import LocalIndex
from scoop_server.loop.client import Client
from scoop_server.loop.ports import Index, Reply, Request, Stream
from scoop_server.loop.server import Server
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.telemetry.meter import CountingMeter, Meter
from scoop_server.telemetry.statistics import Statistics

QUERY = b"QUERY|a|\n"


ANSWER = b"FAIL\n"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class PatientSelector(DefaultSelector):
    """A selector that reports what is ready now, and remembers how long it should have waited for it."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float | None] = []
        self.registrations = 0
        """Changes of what is watched."""
        self.ready_count = 0
        """How many descriptors the last turn was woken for."""
        self.clock: Clock | None = None
        """The clock to move by the time that a wait in vain would have taken, if one is to be moved."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        self.registrations += 1
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        self.timeouts.append(timeout)
        ready = super().select(0)
        self.ready_count = len(ready)
        if not ready and timeout and self.clock is not None:
            self.clock.now += timeout
        return ready


class Listener:
    """A listening socket whose connections are made by :meth:`add`."""

    def __init__(self, policy: AccessPolicy = UNRESTRICTED) -> None:
        self.policy = policy
        self._readable, self._writable = socket.socketpair()
        self._readable.setblocking(False)
        self._waiting: deque[Stream | OSError] = deque()
        self._accepted = 0
        self.error: OSError | None = None
        """What keeps every connection from being accepted; they go on waiting."""

    def add(self, waiting: Stream | OSError) -> None:
        """Have a connection wait, or one that is gone with an error when it is accepted."""
        self._waiting.append(waiting)
        self._writable.send(b"+")

    def accept(self) -> tuple[Stream, str, AccessPolicy]:
        if self.error is not None:
            raise self.error
        if not self._waiting:
            raise BlockingIOError
        self._readable.recv(1)
        accepted = self._waiting.popleft()
        if isinstance(accepted, OSError):
            raise accepted
        self._accepted += 1
        return accepted, f"192.0.2.1:{self._accepted}", self.policy

    @property
    def is_closed(self) -> bool:
        return self._readable.fileno() < 0

    def close(self) -> None:
        self._readable.close()
        self._writable.close()
        for waiting in self._waiting:
            if not isinstance(waiting, OSError):
                waiting.close()
        self._waiting.clear()

    def fileno(self) -> int:
        return self._readable.fileno()


class Store:
    """A store that remembers each commit, and calls ``on_commit`` in the middle of it."""

    def __init__(self) -> None:
        self.ticks = 0
        self.commits: list[list[str]] = []
        self.commit_delay = 0.0
        self.on_commit: Callable[[], None] = lambda: None

    def commit(self, changes: Changes) -> None:
        self.on_commit()
        self.commits.append(list(changes.lines))

    def tick(self) -> None:
        self.ticks += 1


class LaterIndex:
    """An index that replies when the test says so: OK to every line."""

    write_delay = 0.0

    def __init__(self) -> None:
        self._readable, self._writable = socket.socketpair()
        self._readable.setblocking(False)
        self.executed: list[Request[Client]] = []
        """All requests, in the order in which they were passed."""
        self.pending: deque[Request[Client]] = deque()
        self._completed: list[Reply[Client]] = []
        self.replies_at_once = False

    def execute(self, requests: Sequence[Request[Client]]) -> Sequence[Reply[Client]]:
        self.executed += requests
        if self.replies_at_once:
            return [self._reply(request) for request in requests]
        self.pending += requests
        return []

    def complete(self, count: int = 1) -> None:
        """Reply to the ``count`` oldest of the pending requests."""
        for _ in range(count):
            self._completed.append(self._reply(self.pending.popleft()))
        self._writable.send(b"+")

    def disconnect(self) -> None:
        """Reply to the oldest pending request that its client is to be disconnected."""
        client, lines = self.pending.popleft()
        self._completed.append((client, lines, None))
        self._writable.send(b"+")

    @staticmethod
    def _reply(request: Request[Client]) -> Reply[Client]:
        client, lines = request
        return client, lines, "OK\n" * lines.count("\n")

    def completed(self) -> Sequence[Reply[Client]]:
        self._readable.recv(1_000)
        completed, self._completed = self._completed, []
        return completed

    def fileno(self) -> int | None:
        return self._readable.fileno()

    def close(self) -> None:
        self._readable.close()
        self._writable.close()


class CountingSocket:
    """A connected socket that counts the calls that cost most, and can be told to fail."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.received_sizes: list[int] = []
        self.send_count = 0
        self.error: OSError | None = None
        self.send_error: OSError | None = None
        self.shutdown_error: OSError | None = None

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error

    def recv(self, size: int, /) -> bytes:
        self._fail_if_told()
        data = self._socket.recv(size)
        self.received_sizes.append(len(data))
        return data

    def send(self, data: bytes | bytearray, /) -> int:
        self._fail_if_told()
        if self.send_error is not None:
            raise self.send_error
        self.send_count += 1
        return self._socket.send(data)

    def shutdown(self, how: int, /) -> None:
        if self.shutdown_error is not None:
            raise self.shutdown_error
        self._socket.shutdown(how)

    def setblocking(self, flag: bool, /) -> None:
        self._socket.setblocking(flag)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()


class Peer:
    """The far end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setblocking(False)

    def send(self, data: bytes) -> None:
        assert self.socket.send(data) == len(data)

    def send_all_that_fits(self, line: bytes) -> int:
        """Send ``line`` until the system takes no more; return how often it was taken whole."""
        piece = line * 100
        sent = 0
        while True:
            try:
                sent += self.socket.send(piece[sent % len(piece) :])
            except BlockingIOError:
                return sent // len(line)

    def received(self) -> bytes:
        """Return what has come and is not read yet. EOFError where there is no more to come."""
        pieces: list[bytes] = []
        while True:
            try:
                data = self.socket.recv(1_000_000)
            except BlockingIOError:
                return b"".join(pieces)
            if not data:
                break
            pieces.append(data)
        if not pieces:
            raise EOFError
        return b"".join(pieces)

    def has_ended(self) -> bool:
        """Whether the server has ended its side. What has come before is thrown away."""
        try:
            self.received()
            self.received()
        except (EOFError, ConnectionResetError):
            return True
        return False


class Loop:
    """A server, and everything around it that a test moves."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        listener_count: int = 1,
        has_successor: bool = False,
        counts: bool = False,
        index: Index[Client] | None = None,
        policy: AccessPolicy = UNRESTRICTED,
    ) -> None:
        self.graph = DependencyGraph()
        self.clock = Clock()
        self.store = Store()
        self._resources = ExitStack()
        self.selector = self._resources.enter_context(PatientSelector())
        self.listeners = [Listener(policy) for _ in range(listener_count)]
        for listener in self.listeners:
            self._resources.callback(listener.close)
        self._signal_reader, self._signal_writer = (self._resources.enter_context(end) for end in socket.socketpair())
        self.statistics = Statistics()
        meter = CountingMeter(self.statistics, self.clock, self.graph) if counts else Meter()
        self.server = Server(
            index or LocalIndex(self.graph, self.store, meter),
            self.listeners,
            self.selector,
            self.clock,
            limits or Limits(),
            self.statistics,
            meter,
            has_successor=has_successor,
            cpu_clock=self.clock,
        )
        self.server.watch(self._signal_reader.fileno(), self._obey_signal)

    def _obey_signal(self) -> None:
        self._signal_reader.recv(1)
        self.server.request_shutdown()

    def state(self) -> Lifecycle:
        return self.server.state

    def signal(self) -> None:
        """Ask for a shutdown as a signal does: something to read, between the clients."""
        self._signal_writer.send(b"!")

    def pair(self, *, buffer_bytes: int = 0) -> tuple[socket.socket, Peer]:
        near, far = (self._resources.enter_context(end) for end in socket.socketpair())
        if buffer_bytes:
            for end in (near, far):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        return near, Peer(far)

    def call(self, *, listener: int = 0, buffer_bytes: int = 0) -> Peer:
        """Return the far end of a connection that waits to be accepted."""
        near, peer = self.pair(buffer_bytes=buffer_bytes)
        self.listeners[listener].add(near)
        return peer

    def connect(self, *, buffer_bytes: int = 0) -> Peer:
        """Return the far end of an accepted connection."""
        peer = self.call(buffer_bytes=buffer_bytes)
        self.turn()
        return peer

    def connect_counting(self) -> tuple[Peer, CountingSocket]:
        near, peer = self.pair()
        counting = CountingSocket(near)
        self.listeners[0].add(counting)
        self.turn()
        return peer, counting

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.server.turn()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the server see it."""
        self.clock.now += seconds
        self.turn()

    def run_down(self) -> None:
        """Take turns until the server has stopped."""
        for _ in range(10_000):
            if self.state() is Lifecycle.STOPPED:
                return
            self.turn()
        raise AssertionError("the server does not stop")

    @property
    def wait(self) -> float | None:
        """How long the server would have waited in its last turn."""
        return self.selector.timeouts[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self._resources.close()
