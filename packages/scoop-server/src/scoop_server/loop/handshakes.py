"""Connections that are accepted and not clients yet, because a handshake comes first."""

import logging
import re
from collections.abc import Callable
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from typing import NamedTuple, Protocol, runtime_checkable

from scoop_server.config.limits import Limits
from scoop_server.loop.client import StreamSocket
from scoop_server.telemetry.logs import RepeatLimit
from scoop_server.telemetry.statistics import CloseReason, Statistics


@runtime_checkable
class HandshakingStream(StreamSocket, Protocol):
    """A connected, non-blocking stream that carries no bytes before its handshake is complete."""

    def handshake(self) -> int:
        """Take the handshake as far as it goes now; return the events to wait for, 0 where it is complete.

        Raises OSError where it fails.
        """


class _Beginning(NamedTuple):
    name: str
    """The peer's address, for the log."""
    time: float


class Handshakes:
    """The handshakes in progress; a stream that comes through is handed to ``admit``, with its name.

    A step of a handshake costs as much as hundreds of requests. So these streams have a selector of their own, which
    is one descriptor to ``selector``, and a turn takes a few of those further that are ready.
    """

    def __init__(
        self,
        selector: BaseSelector,
        admit: Callable[[StreamSocket, str], None],
        limits: Limits,
        statistics: Statistics,
        repeat_limit: RepeatLimit,
    ) -> None:
        self._selector = selector
        self._shaking: DefaultSelector | None = None
        """There is one from the first handshake on, because many a server has none."""
        self._admit = admit
        self._limits = limits
        self._statistics = statistics
        self._repeat_limit = repeat_limit
        self._begun: dict[HandshakingStream, _Beginning] = {}
        """The oldest comes first."""

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, stream: HandshakingStream, name: str, now: float) -> None:
        """Have the handshake of ``stream`` go on whenever it can."""
        self._begun[stream] = _Beginning(name, now)
        self._statistics.handshakes_now = len(self._begun)
        try:
            if self._shaking is None:
                self._shaking = DefaultSelector()
                self._selector.register(self._shaking, EVENT_READ, self._advance_some)
            self._shaking.register(stream, EVENT_READ, stream)
        except OSError as error:  # it takes a descriptor
            self._close(stream, str(error))

    def _advance_some(self) -> None:
        if self._shaking is not None:  # else it was closed since the turn began
            for key, _ in self._shaking.select(0)[: self._limits.handshakes_per_turn_max]:
                self._advance(self._shaking, key.data)

    def _advance(self, shaking: BaseSelector, stream: HandshakingStream) -> None:
        try:
            events = stream.handshake()
        except OSError as error:
            self._close(stream, str(error))
            return
        if events:
            shaking.modify(stream, events, stream)
        else:
            shaking.unregister(stream)
            self._admit(stream, self._leave(stream))

    def _leave(self, stream: HandshakingStream) -> str:
        """Forget a stream whose handshake is over, one way or the other; return its name."""
        name = self._begun.pop(stream).name
        self._statistics.handshakes_now = len(self._begun)
        return name

    def tick(self, now: float) -> None:
        """Close the connections whose handshake takes too long."""
        while self._begun:
            stream, beginning = next(iter(self._begun.items()))
            if now - beginning.time < self._limits.handshake_seconds_max:
                break
            self._close(stream, f"it was incomplete for {now - beginning.time:.0f} s")

    def close(self) -> None:
        """Close them all, because the server stops."""
        while self._begun:
            self._close(next(iter(self._begun)), "the server is shutting down", CloseReason.SHUTDOWN)
        if self._shaking is not None:
            self._selector.unregister(self._shaking)
            self._shaking.close()
            self._shaking = None

    def _close(self, stream: HandshakingStream, why: str, reason: CloseReason = CloseReason.HANDSHAKE) -> None:
        if self._shaking is not None and stream in self._shaking.get_map():
            self._shaking.unregister(stream)
        stream.close()
        self._statistics.connections_closed[reason] += 1
        fields = {"peer": self._leave(stream), "why": why, "reason": reason.value}
        self._repeat_limit.log(
            logging.INFO, "the TLS handshake of %(peer)s failed: %(why)s", fields, kind=re.sub("[0-9]", "", why)
        )
