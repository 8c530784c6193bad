"""Connections that have been accepted and are not clients yet: their TLS handshakes."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from selectors import EVENT_READ, BaseSelector, DefaultSelector, SelectorKey

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
        self._own_selector: DefaultSelector | None = None  # created for the first handshake: many servers have none
        self._handshakes: dict[str, dict[Handshake, Timer]] = {}
        """The handshakes of each host, the oldest first, each with its deadline."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def begin(self, stream: HandshakingStream, peer: Peer) -> None:
        """Begin the handshake of ``stream``."""
        if self._count >= self._context.limits.handshakes_max:
            self._evict()
        handshake = Handshake(stream, peer)
        seconds = self._context.limits.handshake_seconds_max
        overdue = partial(self._close, handshake, f"time-out: incomplete for {seconds:.0f} s")
        timer = self._context.timers.call_at(self._context.timers.now + seconds, overdue)
        self._handshakes.setdefault(peer.host, {})[handshake] = timer
        self._count += 1
        self._context.statistics.handshakes_now = self._count
        try:
            if self._own_selector is None:
                selector = DefaultSelector()
                self._context.selector.register(selector, EVENT_READ, self._advance_some)
                self._own_selector = selector
            self._own_selector.register(stream, EVENT_READ, handshake)
        except OSError as error:  # out of descriptors or memory
            self._close(handshake, str(error))

    def _evict(self) -> None:
        """Close the oldest handshake of the host that has most."""
        # Of hosts with equally many, the first is the one whose handshakes began first. A search of 1,024 takes 50 µs.
        handshakes = max(self._handshakes.values(), key=len)
        oldest = next(iter(handshakes))
        self._context.repeat_limit.log(
            logging.WARNING,
            "%(host)s has %(held)d of the %(handshakes)d TLS handshakes that may be in progress; closing its oldest",
            {"host": oldest.peer.host, "held": len(handshakes), "handshakes": self._context.limits.handshakes_max},
        )
        self._close(oldest, "too many handshakes in progress")

    def _advance_some(self) -> None:
        if self._own_selector is None:  # closed in this turn
            return
        ready = self._own_selector.select(0)
        count_max = self._context.limits.handshakes_per_turn_max
        for key in _fairly(ready)[:count_max] if len(ready) > count_max else [key for key, _ in ready]:
            self._advance(self._own_selector, key.data)

    def _advance(self, selector: BaseSelector, handshake: Handshake) -> None:
        stream = handshake.stream
        try:
            if events := stream.handshake():
                selector.modify(stream, events, handshake)
                return
        except OSError as error:
            self._close(handshake, str(error))
            return
        selector.unregister(stream)
        self._forget(handshake)
        self._admit(stream, handshake.peer)

    def _forget(self, handshake: Handshake) -> None:
        host = handshake.peer.host
        self._handshakes[host].pop(handshake).cancel()
        if not self._handshakes[host]:
            del self._handshakes[host]
        self._count -= 1
        self._context.statistics.handshakes_now = self._count

    def close(self) -> None:
        """Close all of them, because the server is shutting down."""
        for handshake in [each for handshakes in self._handshakes.values() for each in handshakes]:
            self._close(handshake, "the server is shutting down", CloseReason.SHUTDOWN)
        if self._own_selector is not None:
            self._context.selector.unregister(self._own_selector)
            self._own_selector.close()
            self._own_selector = None

    def _close(self, handshake: Handshake, why: str, reason: CloseReason = CloseReason.HANDSHAKE) -> None:
        if self._own_selector is not None and handshake.stream in self._own_selector.get_map():
            self._own_selector.unregister(handshake.stream)
        close_stream(handshake.stream)
        self._forget(handshake)
        self._context.statistics.connections_closed[reason] += 1
        fields = {**handshake.peer.fields, "why": why, "reason": reason.value}
        kind = re.sub("[0-9]", "", why)
        self._context.repeat_limit.log(logging.INFO, "TLS handshake of %(peer)s failed: %(why)s", fields, kind=kind)


def _fairly(ready: list[tuple[SelectorKey, int]]) -> list[SelectorKey]:
    """Return the first of each host, then the second of each, and so on: a flood is not served before the others."""
    by_host: dict[str, list[SelectorKey]] = {}
    for key, _ in ready:
        by_host.setdefault(key.data.peer.host, []).append(key)
    return [key for row in zip_longest(*by_host.values()) for key in row if key is not None]
