"""One client: its socket, what has arrived of its next line, and the answers that it has not taken yet."""

import contextlib
import enum
import socket
from selectors import EVENT_READ, EVENT_WRITE
from typing import Final, Protocol

from scoop_core import Connection, ConnectionState

from scoop_server.config.limits import Limits


class StreamSocket(Protocol):
    """What a client needs of a connected, non-blocking socket."""

    def recv(self, size: int, /) -> bytes:
        """Return what has arrived, at most ``size`` bytes; nothing at the end of the stream."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Return how many bytes of ``data`` were taken."""

    def shutdown(self, how: int, /) -> None:
        """Shut one side of the connection. Raises BlockingIOError where that must wait until more can be sent."""

    def setblocking(self, flag: bool, /) -> None:
        """Choose whether calls wait."""

    def close(self) -> None:
        """Close the connection."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Phase(enum.Enum):
    """How far a client has come on its way out."""

    OPEN = enum.auto()
    """It may ask; its answers are sent."""
    FINISHING = enum.auto()
    """It will ask no more, or is asked no more; what is still unsent is sent."""
    LINGERING = enum.auto()
    """All is sent and the sending side is shut; what it goes on sending is thrown away until it has seen
    the end, because a close over unread bytes would reset the connection under its last answers."""
    CLOSED = enum.auto()
    """The socket is closed."""


_OPEN: Final = Phase.OPEN
"""A global name is found faster than a member of an enum, and this one is asked for with every answer."""


class Client:
    """One accepted connection."""

    __slots__ = (
        "_limits",
        "_read_bytes_max",
        "_recv",
        "_send",
        "_unsent",
        "bytes_taken_late",
        "connected_at",
        "connection",
        "last_active",
        "name",
        "phase",
        "registered_events",
        "socket",
    )

    def __init__(self, sock: StreamSocket, name: str, limits: Limits, now: float) -> None:
        self.socket = sock
        self.name = name
        """The peer's address, for the log."""
        self.connection = Connection(max_line_length=limits.line_bytes_max)
        self.phase = Phase.OPEN
        self.registered_events = EVENT_READ
        """What the selector has been told to watch for; the event loop keeps it."""
        self.connected_at = now
        self.last_active = now
        self.bytes_taken_late = 0
        """How much it has taken of what could not be sent at once: it grows as long as a slow client goes on."""
        self._limits = limits
        # What every message needs is looked up once.
        self._read_bytes_max = limits.read_bytes_max
        self._recv = sock.recv
        self._send = sock.send
        self._unsent = bytearray()

    @property
    def wanted_events(self) -> int:
        """What to wait for: backpressure as one rule. 0 where there is nothing left to wait for."""
        if self.phase is Phase.LINGERING:
            return EVENT_READ
        return (EVENT_READ if self.may_ask else 0) | (EVENT_WRITE if self._unsent else 0)

    @property
    def may_ask(self) -> bool:
        """Whether its requests are read now: it is open, and takes its answers."""
        return self.phase is Phase.OPEN and len(self._unsent) <= self._limits.output_bytes_high_water

    @property
    def is_new(self) -> bool:
        """Whether nothing has come from it yet."""
        return self.last_active == self.connected_at

    @property
    def is_in_line(self) -> bool:
        """Whether a line has begun to arrive and is not complete."""
        state = self.connection.state
        return state is ConnectionState.IN_LINE or state is ConnectionState.SKIPPING

    def read(self) -> bytes:
        """Read once; return what has arrived, for the connection to take in, or nothing.

        At the end of the peer's stream an open client becomes a finishing one. Raises OSError where the
        connection is broken.
        """
        try:
            data = self._recv(self._read_bytes_max)
        except (BlockingIOError, InterruptedError):
            return b""
        if not data:
            self.connection.receive_end()
            self.phase = Phase.FINISHING
        return data

    def discard(self) -> bool:
        """Read once and throw it away; return whether more may come. Raises OSError as :meth:`receive` does."""
        try:
            return bool(self._recv(self._read_bytes_max))
        except (BlockingIOError, InterruptedError):
            return True

    def send(self, answers: str) -> bool:
        """Send what is unsent and then ``answers``, as far as the peer takes it now; keep the rest.

        Returns whether the client can simply go on: it is open and nothing is unsent. Raises OSError where
        the connection is broken or more is unsent than a client may leave.
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
                return False
        return self.phase is _OPEN

    def _send_unsent(self) -> bool:
        with contextlib.suppress(BlockingIOError, InterruptedError):  # then nothing of it was taken
            taken = self._send(self._unsent)
            del self._unsent[:taken]
            self.bytes_taken_late += taken
        if len(self._unsent) > self._limits.output_bytes_max:
            raise ConnectionAbortedError(f"{len(self._unsent):,} bytes of answers are unsent")
        return not self._unsent and self.phase is Phase.OPEN

    def linger(self) -> None:
        """Shut the sending side, after the last answer.

        Raises BlockingIOError where that must wait until more can be sent, OSError where the connection is broken.
        """
        self.socket.shutdown(socket.SHUT_WR)
        self.phase = Phase.LINGERING

    def close(self) -> None:
        """Close the socket."""
        self.phase = Phase.CLOSED
        self.socket.close()
