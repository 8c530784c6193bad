"""An event loop over real sockets and a real selector, with a clock that the test moves.

The selector never waits and records the time-out of each call, so every turn is a step of the test.
"""

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from selectors import DefaultSelector, SelectorKey
from typing import Any, Final, Self

from scoop_core import Authors, Changes, DependencyGraph

from scoop_server.config.access import UNRESTRICTED, AccessPolicy
from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer as RemotePeer
from scoop_server.index.local import LocalIndex, MemoryStore
from scoop_server.loop.client import Client
from scoop_server.loop.server import Server
from scoop_server.loop.shutdown import Lifecycle
from scoop_server.ports import Index, Request, Response, Stream, needs_handshake
from scoop_server.telemetry.statistics import Meter, Statistics

QUERY: Final = b"QUERY|a|\n"
ANSWER: Final = b"FAIL\n"

_PADDING: Final = b"\0"


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class InstantSelector(DefaultSelector):
    """A selector that returns what is ready now, and records for how long it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float] = []
        self.registration_count = 0
        self.register_errors: list[OSError | None] = []
        """The outcomes of the next registrations; later ones succeed."""
        self.ready_count = 0
        """The number of descriptors that were ready in the last turn."""
        self.clock: Clock | None = None
        """A clock to advance by each time-out that passes without an event."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if self.register_errors and (error := self.register_errors.pop(0)) is not None:
            raise error
        self.registration_count += 1
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        assert timeout is not None
        self.timeouts.append(timeout)
        ready = super().select(0)
        self.ready_count = len(ready)
        if not ready and self.clock is not None:
            self.clock.advance(timeout)
        return ready


class Listener:
    """A listening socket whose connections are made by :meth:`add`."""

    def __init__(self, policy: AccessPolicy = UNRESTRICTED, *, is_inherited: bool = False) -> None:
        self.policy = policy
        self.is_inherited = is_inherited
        self.admits_named = False
        self.next_peer: tuple[str, tuple[str, ...]] = ("192.0.2.1", ())
        """The host and the names of the next peers."""
        self._readable, self._writable = socket.socketpair()
        self._readable.setblocking(False)
        self._waiting: deque[Stream | OSError] = deque()
        self.accepted: list[RemotePeer] = []
        self.error: OSError | None = None
        """An error that each call of :meth:`accept` raises, while the connections still wait."""

    def add(self, waiting: Stream | OSError) -> None:
        """Add a connection to the backlog, or one that fails when it is accepted."""
        self._waiting.append(waiting)
        self._writable.send(b"+")

    def accept(self) -> tuple[Stream, RemotePeer]:
        if self.error is not None:
            raise self.error
        if not self._waiting:
            raise BlockingIOError
        self._readable.recv(1)
        accepted = self._waiting.popleft()
        if isinstance(accepted, OSError):
            raise accepted
        host, names = self.next_peer
        address = f"{host}:{len(self.accepted) + 1}"
        peer = RemotePeer(address, host, "127.0.0.1:1", self.policy, names)
        if needs_handshake(accepted):
            accepted.peer = peer
        self.accepted.append(peer)
        return accepted, peer

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


class Store(MemoryStore):
    """A store that records each commit, and calls ``on_commit`` before it."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.on_commit: Callable[[], None] = lambda: None

    def commit(self, changes: Changes, authors: Authors = ()) -> None:
        del authors
        self.on_commit()
        self.commits.append(list(changes.lines))


class DeferredIndex:
    """An index that answers OK to every line when the test says so."""

    is_pending = False
    write_delay = 0.0

    def __init__(self) -> None:
        self._readable, self._writable = socket.socketpair()
        self._readable.setblocking(False)
        self.executed: list[str] = []
        """The lines of all requests, in the order in which they were passed."""
        self._pending: deque[Request[Client]] = deque()
        self._completed: list[Response[Client]] = []
        self.responses_at_once = False
        self.on_completed: Callable[[], None] = lambda: None
        """Called before the responses are returned."""

    def execute(self, requests: Sequence[Request[Client]]) -> Sequence[Response[Client]]:
        self.executed += [lines for _, lines in requests]
        if self.responses_at_once:
            return [self._response(request) for request in requests]
        self._pending += requests
        return []

    def complete(self, count: int = 1) -> None:
        """Response to the ``count`` oldest of the pending requests."""
        for _ in range(count):
            self._completed.append(self._response(self._pending.popleft()))
        self._writable.send(b"+")

    def disconnect(self) -> None:
        """Response None to the oldest pending request."""
        client, lines = self._pending.popleft()
        self._completed.append((client, lines, None))
        self._writable.send(b"+")

    @staticmethod
    def _response(request: Request[Client]) -> Response[Client]:
        client, lines = request
        return client, lines, "OK\n" * lines.count("\n")

    def completed(self) -> Sequence[Response[Client]]:
        self.on_completed()
        self._readable.recv(1_000)
        completed, self._completed = self._completed, []
        return completed

    def fileno(self) -> int | None:
        return self._readable.fileno()

    def close(self) -> None:
        self._readable.close()
        self._writable.close()


class ServerSocket(socket.socket):
    """The server's end of a connection. It counts calls and can be made to fail."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
        self.received_sizes: list[int] = []
        self.send_count = 0
        self.error: OSError | None = None
        """An error that each call of ``recv`` and ``send`` raises."""
        self.send_error: OSError | None = None
        self.shutdown_error: OSError | None = None
        self.close_error: OSError | None = None
        """An error that ``close`` raises after it has closed the descriptor."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.error is not None:
            raise self.error
        data = super().recv(size, flags)
        self.received_sizes.append(len(data))
        return data

    def send(self, data: Any, flags: int = 0, /) -> int:
        error = self.error or self.send_error
        if error is not None:
            raise error
        self.send_count += 1
        return super().send(data, flags)

    def shutdown(self, how: int, /) -> None:
        if self.shutdown_error is not None:
            raise self.shutdown_error
        super().shutdown(how)

    def close(self) -> None:
        super().close()
        error, self.close_error = self.close_error, None
        if error is not None:
            raise error

    def fill(self) -> None:
        """Send padding until the buffer of the system is full, so that no response can be sent."""
        with contextlib.suppress(BlockingIOError):
            while True:
                super().send(_PADDING * 1_000)


class Peer:
    """The client's end of a connection, and the server's end of it in ``server_end``."""

    def __init__(self, sock: socket.socket, server_end: ServerSocket) -> None:
        self.socket = sock
        self.server_end = server_end
        sock.setblocking(False)

    def send(self, data: bytes) -> None:
        assert self.socket.send(data) == len(data)

    def send_all_that_fits(self, line: bytes) -> int:
        """Send ``line`` until the buffer of the system is full; return how many were sent whole."""
        piece = line * 100
        sent = 0
        while True:
            try:
                sent += self.socket.send(piece[sent % len(piece) :])
            except BlockingIOError:
                return sent // len(line)

    def received(self) -> bytes:
        """Return the bytes that have arrived, without padding. Raises EOFError at the end of the stream."""
        pieces: list[bytes] = []
        while True:
            try:
                data = self.socket.recv(1_000_000)
            except BlockingIOError:
                return b"".join(pieces).lstrip(_PADDING)
            if not data:
                break
            pieces.append(data)
        if not pieces:
            raise EOFError
        return b"".join(pieces).lstrip(_PADDING)

    def has_ended(self) -> bool:
        """Return whether the server has ended its side. Bytes that arrived before are discarded."""
        try:
            self.received()
            self.received()
        except (EOFError, ConnectionResetError):
            return True
        return False


class Loop:
    """A server with fakes around it."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        listener_count: int = 1,
        has_successor: bool = False,
        counts: bool = False,
        index: Index[Client] | None = None,
        policy: AccessPolicy = UNRESTRICTED,
        register_error: OSError | None = None,
        listener_admits_named: bool = False,
    ) -> None:
        self.graph = DependencyGraph()
        self.clock = Clock()
        self.store = Store()
        self.resources = ExitStack()
        self.selector = self.resources.enter_context(InstantSelector())
        self.selector.register_errors.append(register_error)
        self.listeners = [Listener(policy, is_inherited=has_successor) for _ in range(listener_count)]
        for listener in self.listeners:
            listener.admits_named = listener_admits_named
            self.resources.callback(listener.close)
        self._signal_reader, self._signal_writer = (self.resources.enter_context(end) for end in socket.socketpair())
        self.statistics = Statistics(clock=self.clock)
        meter = self.statistics if counts else Meter()
        self.server = Server(
            index or LocalIndex(self.graph, self.store, meter),
            self.listeners,
            self.selector,
            self.clock,
            limits or Limits(),
            self.statistics,
            meter,
            cpu_clock=self.clock,
        )
        self.server.watch(self._signal_reader.fileno(), self._receive_signal)

    def _receive_signal(self) -> None:
        self._signal_reader.recv(1)
        self.server.shutdown.request()

    def state(self) -> Lifecycle:
        return self.server.shutdown.state

    def signal(self) -> None:
        """Request a shutdown as a signal does: by a descriptor that is readable in the next turn."""
        self._signal_writer.send(b"!")

    def pair(self, *, send_buffer_bytes: int = 0) -> Peer:
        """Return a peer; ``send_buffer_bytes`` limits what the system stores of the server's answers."""
        near, far = socket.socketpair()
        server_end = self.resources.enter_context(ServerSocket(near))
        if send_buffer_bytes:
            server_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        return Peer(self.resources.enter_context(far), server_end)

    def add_waiting(self, *, listener: int = 0, send_buffer_bytes: int = 0) -> Peer:
        """Return a peer whose connection waits to be accepted."""
        peer = self.pair(send_buffer_bytes=send_buffer_bytes)
        self.listeners[listener].add(peer.server_end)
        return peer

    def connect(self, *, send_buffer_bytes: int = 0) -> Peer:
        """Return a peer whose connection has been accepted."""
        peer = self.add_waiting(send_buffer_bytes=send_buffer_bytes)
        self.turn()
        return peer

    def connect_unreading(self) -> Peer:
        """Return a connected peer to which no response can be sent until it has read once."""
        peer = self.connect()
        peer.server_end.fill()
        return peer

    def connect_with_unsent_answers(self, count: int) -> Peer:
        """Return a peer that does not read ``count`` answers ERROR, which must be more than the system stores."""
        peer = self.connect(send_buffer_bytes=5_000)
        peer.send(b"\n" * count)
        self.turn(2)
        return peer

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.server.turn()

    def exchange(self, peer: Peer, data: bytes = QUERY) -> bytes:
        """Return the responses to ``data`` of a turn of its own."""
        peer.send(data)
        self.turn()
        return peer.received()

    def pass_time(self, seconds: float) -> None:
        """Advance the clock and take a turn."""
        self.clock.advance(seconds)
        self.turn()

    def run_until_stopped(self) -> None:
        """Take turns until the server has stopped."""
        for _ in range(10_000):
            if self.state() is Lifecycle.STOPPED:
                return
            self.turn()
        raise AssertionError("the server does not stop")

    @property
    def wait(self) -> float:
        """The time for which the server would have waited in its last turn."""
        return self.selector.timeouts[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception: type[BaseException] | None = None, *_: object) -> None:
        self.server.close()
        self.resources.close()
        statistics = self.statistics
        assert exception or statistics.connections_accepted == sum(statistics.connections_closed.values())
