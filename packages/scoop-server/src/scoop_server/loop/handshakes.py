"""Connections that have been accepted and are not clients yet: their TLS handshakes."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ, BaseSelector, DefaultSelector

from scoop_server.config.access import AccessPolicy
from scoop_server.loop.context import Context
from scoop_server.loop.timers import Timer
from scoop_server.ports import HandshakingStream, Stream, close_stream
from scoop_server.telemetry.statistics import CloseReason


@dataclass(eq=False, slots=True)
class Handshake:
    """A handshake in progress."""

    stream: HandshakingStream
    name: str
    """The peer's address, for the log."""
    policy: AccessPolicy


class Handshakes:
    """The handshakes in progress; a stream whose handshake is complete is handed to ``admit``.

    A step of a handshake takes as long as hundreds of requests. So these streams have a selector of their own, which
    is one descriptor in ``selector``, and a turn advances a few of them. They have a quota of their own as well: once
    it is used up, each new handshake takes the place of the oldest, so connections that never complete theirs keep out
    neither clients nor handshakes that proceed.
    """

    def __init__(self, context: Context, admit: Callable[[Stream, str, AccessPolicy], None]) -> None:
        self._context = context
        self._admit = admit
        self._own_selector: DefaultSelector | None = None  # created for the first handshake: many servers have none
        self._handshakes: dict[Handshake, Timer] = {}
        """The oldest first, each with its deadline."""

    def __len__(self) -> int:
        return len(self._handshakes)

    def begin(self, stream: HandshakingStream, name: str, policy: AccessPolicy) -> None:
        """Begin the handshake of ``stream``."""
        if len(self._handshakes) >= self._context.limits.handshakes_max:
            self._close(next(iter(self._handshakes)), "too many handshakes in progress")
        handshake = Handshake(stream, name, policy)
        seconds = self._context.limits.handshake_seconds_max
        overdue = partial(self._close, handshake, f"time-out: incomplete for {seconds:.0f} s")
        self._handshakes[handshake] = self._context.timers.call_at(self._context.timers.now + seconds, overdue)
        self._context.statistics.handshakes_now = len(self._handshakes)
        try:
            if self._own_selector is None:
                selector = DefaultSelector()
                self._context.selector.register(selector, EVENT_READ, self._advance_some)
                self._own_selector = selector
            self._own_selector.register(stream, EVENT_READ, handshake)
        except OSError as error:  # out of descriptors or memory
            self._close(handshake, str(error))

    def _advance_some(self) -> None:
        if self._own_selector is not None:  # closed in this turn otherwise
            for key, _ in self._own_selector.select(0)[: self._context.limits.handshakes_per_turn_max]:
                self._advance(self._own_selector, key.data)

    def _advance(self, selector: BaseSelector, handshake: Handshake) -> None:
        try:
            if events := handshake.stream.handshake():
                selector.modify(handshake.stream, events, handshake)
                return
        except OSError as error:
            self._close(handshake, str(error))
            return
        selector.unregister(handshake.stream)
        self._forget(handshake)
        subject = handshake.stream.peer_subject
        name = f"{handshake.name} ({subject})" if subject else handshake.name
        self._admit(handshake.stream, name, handshake.policy)

    def _forget(self, handshake: Handshake) -> None:
        self._handshakes.pop(handshake).cancel()
        self._context.statistics.handshakes_now = len(self._handshakes)

    def close(self) -> None:
        """Close all of them, because the server is shutting down."""
        while self._handshakes:
            self._close(next(iter(self._handshakes)), "the server is shutting down", CloseReason.SHUTDOWN)
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
        fields = {"peer": handshake.name, "why": why, "reason": reason.value}
        kind = re.sub("[0-9]", "", why)
        self._context.repeat_limit.log(logging.INFO, "TLS handshake of %(peer)s failed: %(why)s", fields, kind=kind)
