"""The ports between the event loop, the index, the application and readers of an index: structural types."""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol, TypeGuard, TypeVar

from scoop_core import DependencyGraph, LoggedBatch

from scoop_server.config.peer import Peer
from scoop_server.telemetry.health import ObservedIndex

ClientT = TypeVar("ClientT")

Request = tuple[ClientT, str]
"""A client, and one or more complete lines from it, each with its newline."""

Response = tuple[ClientT, str, str | None]
"""A client, its lines, and their responses in one text; None instead of these disconnects the client without one."""

CallLater = Callable[[float, Callable[[], None]], None]
"""Calls a function once, in the first turn after so many seconds."""


class Index(Protocol[ClientT]):
    """The owner of the graph: it answers requests, now or later.

    A client whose lines are under way is parked: none of its later lines is passed to :meth:`execute` before its
    response has been returned.
    """

    def execute(self, requests: Sequence[Request[ClientT]]) -> Sequence[Response[ClientT]]:
        """Execute the requests of one turn, one per client at most; return the responses that may be sent now.

        Every change that a returned response reports is as durable as the sync policy requires. A request without a
        response here gets its response from :meth:`completed`.
        """

    def completed(self) -> Sequence[Response[ClientT]]:
        """Return responses to requests of earlier turns. Called once in a turn that needs it.

        That is one in which :meth:`fileno` is readable, or after which work was pending.
        """

    @property
    def is_pending(self) -> bool:
        """Return whether requests wait for work that :meth:`completed` does, a part in each call."""

    @property
    def write_delay(self) -> float:
        """Seconds for which a client that has sent changes is not read, so that the index can catch up."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable while :meth:`completed` has responses; None if there never are any."""


class OpenIndex(Index[ClientT], ObservedIndex, Protocol[ClientT]):
    """An index that has been loaded, as the application uses it until the process ends: local or a plug-in."""

    @property
    def place(self) -> str:
        """The place of the index, for the log."""

    @property
    def tick_seconds_max(self) -> float:
        """The longest interval of :meth:`tick`; infinity if any will do."""

    def tick(self) -> None:
        """Do periodic work. Called about once a second, or as often as :attr:`tick_seconds_max` asks for."""

    def use_timer(self, call_later: CallLater) -> None:
        """Use ``call_later`` for shorter waits. Called once, before the first turn."""

    def request_compaction(self) -> None:
        """Write a new snapshot soon."""

    def save(self) -> None:
        """Write a snapshot, unless nothing has changed. KeyboardInterrupt may interrupt it at any point."""

    def close(self) -> None:
        """Release everything that the index holds."""


class Stream(Protocol):
    """A connected, non-blocking stream of bytes."""

    def recv(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes that have arrived; none at the end of the stream."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Return how many bytes of ``data`` were accepted."""

    def shutdown(self, how: int, /) -> None:
        """Shut down one direction. Raises BlockingIOError if that must be retried when the stream is writable."""

    def close(self) -> None:
        """Close the connection."""

    def fileno(self) -> int:
        """Return the descriptor."""


class HandshakingStream(Stream, Protocol):
    """A stream that carries no data before its handshake is complete, which tells who the peer is."""

    peer: Peer

    def handshake(self) -> int:
        """Advance the handshake; return the selector events to wait for, 0 if it is complete.

        At its end the peer has its names and its certificate. Raises OSError if the handshake failed.
        """


def close_stream(stream: Stream) -> None:
    """Close ``stream``. An error is ignored: the descriptor is gone either way."""
    with suppress(OSError):
        stream.close()


def needs_handshake(stream: Stream) -> TypeGuard[HandshakingStream]:
    """Return whether ``stream`` carries no data yet. An isinstance check of the protocol would take 20 µs."""
    return hasattr(stream, "handshake")


SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""The errors of :meth:`Listener.accept` after which the connection still waits: no descriptor or memory is free."""


class Listener(Protocol):
    """A bound, listening, non-blocking socket."""

    @property
    def is_inherited(self) -> bool:
        """True if it stays open in another process, which can accept its connections after this one."""

    @property
    def admits_named(self) -> bool:
        """True if peers may have a name here, by a certificate or a user of this machine."""

    def accept(self) -> tuple[Stream, Peer]:
        """Return the next connection and its peer.

        Raises BlockingIOError if none waits, an OSError with a number in :data:`SHORTAGES` in a shortage, and another
        one for a connection that has ended already.
        """

    def close(self) -> None:
        """Stop listening."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Loaded(NamedTuple):
    """The whole index, as of a batch: the start, or a new start after the follower was left behind."""

    graph: DependencyGraph
    batch: int


class FollowedIndex(Protocol):
    """An index that a reader outside the server follows: a data directory, or the index of a plug-in.

    All calls come from one thread, except for :meth:`history`.
    """

    path: str
    """Its name, for people."""
    is_current: bool
    """True if the last poll has delivered everything that there was."""

    @property
    def has_more(self) -> bool:
        """Return whether there was more than the last poll has read."""

    def poll(self) -> list[Loaded | LoggedBatch]:
        """Return what was acknowledged since the last poll, in order; the first delivery is a :class:`Loaded`.

        The requests of a batch lead from the index before it to the one after it; some may change nothing.
        Raises ServerError if the index cannot be read now. A later poll tries again.
        """

    def history(self) -> Iterator[LoggedBatch] | None:
        """Return the changes that are kept, oldest first; None if none ever are. Iterating may raise ServerError."""

    def close(self) -> None:
        """Release everything."""
