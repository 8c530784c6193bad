"""Connections that have been accepted and are not clients yet: their TLS handshakes."""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from selectors import EVENT_READ, DefaultSelector, SelectorKey

from scoop_server.config.peer import Peer
from scoop_server.loop.clients import Context
from scoop_server.loop.timers import Timer
from scoop_server.ports import HandshakingStream, Stream, close_stream
from scoop_server.telemetry.statistics import CloseReason


@dataclass(eq=False, slots=True)
class Handshake:
    """A handshake in progress."""

    stream: HandshakingStream
    peer: Peer


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
        self._handshakes: dict[Handshake, Timer] = {}
        """The oldest first, each with its deadline."""
        self._hosts = Counter[str]()
        """The number of handshakes of each host that has any."""

    def __len__(self) -> int:
        return len(self._handshakes)

    def begin(self, stream: HandshakingStream, peer: Peer) -> None:
        """Begin the handshake of ``stream``."""
        timers, limits = self._context.timers, self._context.limits
        if len(self._handshakes) >= limits.handshakes_max:
            self._evict()
        handshake = Handshake(stream, peer)
        seconds = limits.handshake_seconds_max
        overdue = partial(self._close, handshake, f"time-out: incomplete for {seconds:.0f} s")
        self._handshakes[handshake] = timers.call_at(timers.now + seconds, overdue)
        self._hosts[peer.host] += 1
        self._context.statistics.handshakes_now = len(self._handshakes)
        try:
            self._own_selector.register(stream, EVENT_READ, handshake)
            if len(self._handshakes) == 1:
                self._context.selector.register(self._own_selector, EVENT_READ, self._advance_some)
        except OSError as error:  # out of descriptors or memory
            self._close(handshake, str(error))

    def _evict(self) -> None:
        """Close the oldest handshake of the host that has most."""
        # A search of 1,024 takes 50 µs. Of hosts with equally many, the first is the one that has had some for longest.
        host = max(self._hosts, key=lambda each: self._hosts[each])
        self._context.repeat_limit.log(
            logging.WARNING,
            "%(host)s has %(held)d of the %(handshakes)d TLS handshakes that may be in progress; closing its oldest",
            {"host": host, "held": self._hosts[host], "handshakes": self._context.limits.handshakes_max},
        )
        oldest = next(each for each in self._handshakes if each.peer.host == host)
        self._close(oldest, "too many handshakes in progress")

    def _advance_some(self) -> None:
        if not self._handshakes:  # closed in this turn
            return
        ready = self._own_selector.select(0)
        count_max = self._context.limits.handshakes_per_turn_max
        for key in _fairly(ready)[:count_max] if len(ready) > count_max else [key for key, _ in ready]:
            self._advance(key.data)

    def _advance(self, handshake: Handshake) -> None:
        try:
            if events := handshake.stream.handshake():
                self._own_selector.modify(handshake.stream, events, handshake)
                return
        except OSError as error:
            self._close(handshake, str(error))
            return
        self._forget(handshake)
        self._admit(handshake.stream, handshake.peer)

    def _forget(self, handshake: Handshake) -> None:
        self._context.timers.cancel(self._handshakes.pop(handshake))
        host = handshake.peer.host
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        self._context.statistics.handshakes_now = len(self._handshakes)
        with suppress(KeyError):  # there was no memory to watch it
            self._own_selector.unregister(handshake.stream)
            if not self._handshakes:
                self._context.selector.unregister(self._own_selector)

    def close(self) -> None:
        """Close all of them, because the server is shutting down."""
        for handshake in list(self._handshakes):
            self._close(handshake, "the server is shutting down", CloseReason.SHUTDOWN)
        self._own_selector.close()

    def _close(self, handshake: Handshake, why: str, reason: CloseReason = CloseReason.HANDSHAKE) -> None:
        self._forget(handshake)
        close_stream(handshake.stream)
        self._context.note_end(handshake.peer, why, reason, logging.INFO, "TLS handshake of %(peer)s failed: %(why)s")


def _fairly(ready: list[tuple[SelectorKey, int]]) -> list[SelectorKey]:
    """Return the first of each host, then the second of each, and so on: a flood is not served before the others."""
    by_host: dict[str, list[SelectorKey]] = {}
    for key, _ in ready:
        by_host.setdefault(key.data.peer.host, []).append(key)
    return [key for row in zip_longest(*by_host.values()) for key in row if key is not None]
