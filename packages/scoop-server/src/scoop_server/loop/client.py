"""One client: its stream, its incomplete line, the lines that wait for their turn, and its unsent responses."""

import contextlib
import enum
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from selectors import EVENT_READ, EVENT_WRITE
from typing import Final

from scoop_core import Connection, ConnectionState, is_http_request, reject_changes

from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer
from scoop_server.loop.timers import Timer
from scoop_server.ports import Stream, close_stream
from scoop_server.telemetry.statistics import CloseReason, Statistics


class HttpRequestError(Exception):
    """The first line of a client is an HTTP request: most likely a web page made a browser send it."""


class Phase(enum.Enum):
    """The phases of a client's life; :data:`TRANSITIONS` says which may follow which."""

    OPEN = enum.auto()
    """Its requests are read, unless it has too many unsent responses."""
    QUEUED = enum.auto()
    """Complete lines wait for the next turn; nothing more is read until they have been executed."""
    PARKED = enum.auto()
    """Its lines are with the index, which answers later; nothing more is read until then."""
    FINISHING = enum.auto()
    """No more requests are read: at the end of its stream, or in a shutdown. Unsent responses are sent."""
    LINGERING = enum.auto()
    """All responses are sent and the sending side is shut down. Input is discarded until the client closes, because
    closing a socket over unread input resets the connection and may destroy the last responses."""
    CLOSED = enum.auto()


TRANSITIONS: Final = {
    Phase.OPEN: {Phase.OPEN, Phase.QUEUED, Phase.PARKED, Phase.FINISHING, Phase.CLOSED},
    Phase.QUEUED: {Phase.QUEUED, Phase.OPEN, Phase.PARKED, Phase.CLOSED},
    Phase.PARKED: {Phase.OPEN, Phase.QUEUED, Phase.CLOSED},
    Phase.FINISHING: {Phase.LINGERING, Phase.CLOSED},
    Phase.LINGERING: {Phase.CLOSED},
    Phase.CLOSED: set[Phase](),
}
"""The phases that may follow each phase. A client with complete lines does not finish before they are answered."""


_OPEN: Final = Phase.OPEN
"""A global name is looked up faster than an enum member, and this one is needed for every message."""


@dataclass(eq=False, slots=True)
class Client:
    """One accepted connection. Times are in seconds of the event loop's clock."""

    stream: Stream
    peer: Peer
    _limits: Limits
    _statistics: Statistics
    connected_at: float
    phase: Phase = Phase.OPEN
    connection: Connection = field(init=False)
    receive: Callable[[bytes], str] = field(init=False)
    """Turns bytes that were read into complete lines. Raises :exc:`HttpRequestError`."""
    queued_lines: str = ""
    """Complete lines that have not been executed."""
    registered_events: int = 0
    """The events that the selector watches for; 0 if the stream is not registered."""
    watched_since: int = 0
    """The number of the turn in which it was last registered for reading: if the next turn finds nothing to read, then
    nothing has arrived."""
    timer: Timer | None = None
    """Set for :meth:`next_deadline`, or for an earlier time."""
    drain_turns: int = 0
    """Turns of a shutdown in which more input arrived."""
    last_active: float = field(init=False)
    """The time at which it last sent something or accepted a response."""
    _recv: Callable[[int], bytes] = field(init=False)
    _send: Callable[[bytes | bytearray], int] = field(init=False)
    _unsent: bytearray = field(default_factory=bytearray)
    _accepted_late_at: float | None = None
    """The time at which it last accepted some of its unsent responses, or these began; None if nothing is unsent."""
    _line_number: int = 0
    _line_started: float = 0.0
    """The time at which the line ``_line_number`` began to arrive; meaningful while a line is incomplete."""

    def __post_init__(self) -> None:
        self.connection = Connection(max_line_length=self._limits.line_bytes_max)
        self.receive = self._receive_first
        self.last_active = self.connected_at
        self._recv, self._send = self.stream.recv, self.stream.send  # looked up once, not once per message

    # Input

    def read(self, size: int) -> bytes:
        """Read once; return the bytes, none if there is nothing to read.

        At the end of the stream the client starts finishing. Raises OSError if the connection is broken.
        """
        try:
            data = self._recv(size)
        except (BlockingIOError, InterruptedError):
            return b""
        if not data:
            self.connection.receive_end()
            self.enter(Phase.FINISHING)
        return data

    def _receive_first(self, data: bytes) -> str:
        """Check the first complete line, then receive the rest without that check."""
        lines = self.connection.receive(data)
        if is_http_request(lines):
            raise HttpRequestError("its first line is an HTTP request, as a web page can make a browser send it")
        if lines:
            self.receive = self._receive_screened if self._is_screened else self.connection.receive
        return self._screened(lines)

    def _receive_screened(self, data: bytes) -> str:
        return self._screened(self.connection.receive(data))

    @property
    def _is_screened(self) -> bool:
        return self.peer.policy.is_read_only or self.peer.screen is not None

    def _screened(self, lines: str) -> str:
        """Mark the requests that its listener or its role does not permit, so that they are answered ERROR."""
        if self.peer.policy.is_read_only:
            lines, count = reject_changes(lines)
            self._statistics.changes_rejected += count
        if self.peer.screen is not None:
            lines, count = self.peer.screen(lines)
            self._statistics.requests_forbidden[self.peer.role,] += count
        return lines

    def screen_again(self) -> None:
        """Screen what is received from now on, and what waits to be executed, by the role that the peer has now."""
        if self.receive != self._receive_first:
            self.receive = self._receive_screened if self._is_screened else self.connection.receive
        self.queued_lines = self._screened(self.queued_lines)

    def queue(self, lines: str) -> bool:
        """Queue ``lines`` for the next turns, in place of those queued so far; return whether there are any."""
        self.queued_lines = lines
        self.enter(Phase.QUEUED if lines else Phase.OPEN)
        return bool(lines)

    def discard(self) -> bool:
        """Read once and discard the input; return whether more may follow. Raises OSError."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            return bool(self._recv(self._limits.read_bytes_max))
        return True

    # Output

    def send(self, answers: str) -> bool:
        """Send unsent responses and then ``answers``, as much as the peer accepts now; keep the rest.

        Returns whether nothing else is to be done: the client is open and nothing is unsent. Raises OSError if the
        connection is broken or too much is unsent.
        """
        data = answers.encode()
        if self._unsent:
            self._unsent += data
            return self._send_unsent()
        if data:
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            if sent < len(data):
                self._unsent += data[sent:]
                self._accepted_late_at = self.last_active
                return False
        return self.phase is _OPEN

    def _send_unsent(self) -> bool:
        with contextlib.suppress(BlockingIOError, InterruptedError):  # nothing was accepted then
            count = self._send(self._unsent)
            if count:
                del self._unsent[:count]
                self._accepted_late_at = self.last_active if self._unsent else None
        if len(self._unsent) > self._limits.output_bytes_max:
            raise ConnectionAbortedError(f"{len(self._unsent):,} bytes of responses are unsent")
        return not self._unsent and self.phase is Phase.OPEN

    def linger(self) -> None:
        """Shut down the sending side, after the last response.

        Raises BlockingIOError if that must be retried when the stream is writable, OSError if it is broken.
        """
        self.stream.shutdown(socket.SHUT_WR)
        self.enter(Phase.LINGERING)

    def close(self) -> None:
        """Close the stream."""
        self.enter(Phase.CLOSED)
        self.receive = self.connection.receive  # no cycle of references keeps a closed client in memory
        close_stream(self.stream)

    # State

    def enter(self, phase: Phase) -> None:
        """Change the phase; the only place that does. A message that is answered immediately changes none."""
        assert phase in TRANSITIONS[self.phase], (self.phase, phase)  # noqa: S101  # a defect, which the simulation finds
        self.phase = phase

    @property
    def reads_requests(self) -> bool:
        """Return whether its requests are read now: it is open and accepts its responses (backpressure)."""
        return self.phase is _OPEN and len(self._unsent) <= self._limits.output_bytes_high_water

    @property
    def wanted_events(self) -> int:
        """The events to watch for; 0 for no event."""
        if self.phase is Phase.LINGERING:
            return EVENT_READ
        return (EVENT_READ if self.reads_requests else 0) | (EVENT_WRITE if self._unsent else 0)

    @property
    def is_new(self) -> bool:
        """Return whether nothing has been received from it."""
        return self.last_active == self.connected_at

    @property
    def is_in_line(self) -> bool:
        """Return whether a line is incomplete."""
        return self.connection.state in (ConnectionState.IN_LINE, ConnectionState.SKIPPING)

    # Deadlines

    def time_line(self, now: float) -> None:
        """Note when the incomplete line began, if it is another one than before."""
        if self.connection.incomplete_line_number != self._line_number:
            self._line_number = self.connection.incomplete_line_number
            self._line_started = now

    def resume_reading(self, now: float) -> None:
        """Restart the line's time: while nothing was read, the client could not complete it."""
        self._line_started = now

    def next_deadline(self) -> tuple[float, float, CloseReason]:
        """Return when the first time-out passes, its seconds and its reason; infinity if none runs."""
        times = [(since + seconds, seconds, reason) for since, seconds, reason in self._time_outs()]
        return min(times, default=(inf, inf, CloseReason.IDLE))

    def _time_outs(self) -> Iterator[tuple[float, float, CloseReason]]:
        """Yield since when it waits for something, for how many seconds it may, and the reason to close it then."""
        limits = self._limits
        if self.phase is Phase.LINGERING:
            yield self.last_active, limits.linger_seconds_max, CloseReason.SHUTDOWN
            return
        if self.is_in_line and self.registered_events & EVENT_READ:  # one that is not read cannot complete its line
            yield self._line_started, limits.incomplete_line_seconds_max, CloseReason.INCOMPLETE_LINE
        if self._accepted_late_at is not None:
            yield self._accepted_late_at, limits.output_seconds_max, CloseReason.UNREAD_OUTPUT
        if self.phase is not Phase.PARKED and limits.idle_seconds_max:  # a parked client waits for the server
            yield self.last_active, limits.idle_seconds_max, CloseReason.IDLE
