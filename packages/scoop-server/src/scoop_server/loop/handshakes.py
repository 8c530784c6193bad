"""Connections that have been accepted and are not clients yet: their TLS handshakes."""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from selectors import EVENT_READ, DefaultSelector

from scoop_server.config.peer import Peer
from scoop_server.loop.clients import Context
from scoop_server.loop.timers import Timer
from scoop_server.ports import HandshakingStream, Stream, close_stream
from scoop_server.telemetry.statistics import CloseReason


class Handshakes:
    """The handshakes in progress; a stream whose handshake is complete is handed to ``admit``.

    A step of a handshake takes as long as hundreds of requests. So these streams have a selector of their own, which
    is one descriptor in ``selector``, and a turn advances a few of them, of as many hosts as possible. They have a
    quota of their own as well: once it is used up, each new handshake takes the place of the oldest one of the host
    that has most. So connections that never complete theirs keep out neither clients nor handshakes from elsewhere.
    """

    def __init__(self, context: Context, admit: Callable[[Stream, Peer], None]) -> None:
        self._context = context
        self._admit = admit
        self._own_selector = DefaultSelector()
        """Watched while there are handshakes: many servers have none."""
        self._streams: dict[HandshakingStream, Timer] = {}
        """The oldest first, each with the deadline of its handshake."""
        self._hosts = Counter[str]()
        """The number of handshakes of each host that has any."""

    def __len__(self) -> int:
        return len(self._streams)

    def begin(self, stream: HandshakingStream) -> None:
        """Begin the handshake of ``stream``."""
        timers, limits = self._context.timers, self._context.limits
        if len(self._streams) >= limits.handshakes_max:
            self._evict()
        seconds = limits.handshake_seconds_max
        overdue = partial(self._close, stream, f"time-out: incomplete for {seconds:.0f} s")
        self._streams[stream] = timers.call_at(timers.now + seconds, overdue)
        self._hosts[stream.peer.host] += 1
        self._context.statistics.handshakes_now = len(self._streams)
        try:
            self._own_selector.register(stream, EVENT_READ, stream)
            if len(self._streams) == 1:
                self._context.selector.register(self._own_selector, EVENT_READ, self._advance_some)
        except OSError as error:  # out of descriptors or memory
            self._close(stream, str(error))

    def _evict(self) -> None:
        """Close the oldest handshake of the host that has most."""
        # A search of 1,024 takes 50 µs. Of hosts with equally many, the first is the one that has had some for longest.
        [(host, held)] = self._hosts.most_common(1)
        self._context.repeat_limit.log(
            logging.WARNING,
            "%(host)s has %(held)d of the %(handshakes)d TLS handshakes that may be in progress; closing its oldest",
            {"host": host, "held": held, "handshakes": self._context.limits.handshakes_max},
        )
        oldest = next(each for each in self._streams if each.peer.host == host)
        self._close(oldest, "too many handshakes in progress")

    def _advance_some(self) -> None:
        if not self._streams:  # closed in this turn
            return
        ready = [key.data for key, _ in self._own_selector.select(0)]
        for stream in _fairly(ready)[: self._context.limits.handshakes_per_turn_max]:
            self._advance(stream)

    def _advance(self, stream: HandshakingStream) -> None:
        try:
            if events := stream.handshake():
                self._own_selector.modify(stream, events, stream)
                return
        except OSError as error:
            self._close(stream, str(error))
            return
        self._forget(stream)
        self._admit(stream, stream.peer)

    def _forget(self, stream: HandshakingStream) -> None:
        self._context.timers.cancel(self._streams.pop(stream))
        host = stream.peer.host
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        self._context.statistics.handshakes_now = len(self._streams)
        with suppress(KeyError):  # there was no memory to watch it
            self._own_selector.unregister(stream)
            if not self._streams:
                self._context.selector.unregister(self._own_selector)

    def close(self) -> None:
        """Close all of them, because the server is shutting down."""
        for stream in list(self._streams):
            self._close(stream, "the server is shutting down", CloseReason.SHUTDOWN)
        self._own_selector.close()

    def _close(self, stream: HandshakingStream, why: str, reason: CloseReason = CloseReason.HANDSHAKE) -> None:
        self._forget(stream)
        close_stream(stream)
        self._context.note_end(stream.peer, why, reason, logging.INFO, "TLS handshake of %(peer)s failed: %(why)s")


def _fairly(ready: list[HandshakingStream]) -> list[HandshakingStream]:
    """Return the first of each host, then the second of each, and so on: a flood is not served before the others."""
    by_host: dict[str, list[HandshakingStream]] = {}
    for stream in ready:
        by_host.setdefault(stream.peer.host, []).append(stream)
    return [stream for row in zip_longest(*by_host.values()) for stream in row if stream is not None]
