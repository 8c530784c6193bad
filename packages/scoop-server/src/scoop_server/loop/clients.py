"""The connected clients: what the selector watches them for, their deadlines, and the end of each."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Final

from scoop_core import ConnectionState

from scoop_server.config.gate import Gate
from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer
from scoop_server.loop.client import Client, Phase
from scoop_server.loop.timers import Timers
from scoop_server.ports import Stream, close_stream
from scoop_server.telemetry.logs import Fields, RepeatLimit, log
from scoop_server.telemetry.statistics import CloseReason, Statistics

_CLOSED: Final = "closed the connection of %(peer)s: %(why)s"

_TIME_OUTS: Final = {
    CloseReason.INCOMPLETE_LINE: "line time-out: incomplete",
    CloseReason.UNREAD_OUTPUT: "write time-out: no data accepted",
    CloseReason.IDLE: "idle time-out: no data",
    CloseReason.SHUTDOWN: "shutting down: no end of file",
}


@dataclass(frozen=True, slots=True)
class Context:
    """The selector, the timers with the time of the turn, the limits, and where events are counted and logged."""

    selector: BaseSelector
    timers: Timers
    limits: Limits
    statistics: Statistics
    repeat_limit: RepeatLimit

    def note_end(self, peer: Peer, why: object, reason: CloseReason, level: int, template: str = _CLOSED) -> None:
        """Count and log the end of a connection."""
        self.statistics.connections_closed[reason] += 1
        fields = {**peer.fields, "why": why, "reason": reason.value}
        # Handshakes fail for many reasons; their numbers do not make them different.
        kind = re.sub("[0-9]", "", str(why)) if reason is CloseReason.HANDSHAKE else reason.value
        self.repeat_limit.log(level, template, fields, kind=kind)


class Clients:
    """All clients, in the order in which they connected."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.on_close: Callable[[], None] = lambda: None
        """Called after a client has been closed: a descriptor and a place are free."""
        self.gate = Gate(context.limits)
        self._clients: dict[Client, None] = {}  # an ordered set, so that a simulation can be replayed

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        """Iterate over the clients of this moment; they may be closed meanwhile."""
        return iter(list(self._clients))

    def admit(self, stream: Stream, peer: Peer) -> None:
        """Make a connected, non-blocking stream a client, unless there are as many as allowed."""
        context = self._context
        if refusal := self.gate.judge(peer):
            close_stream(stream)
            context.note_end(peer, refusal, CloseReason.FORBIDDEN, logging.WARNING)
            return
        if limit := self.gate.exhausted_limit(peer):
            close_stream(stream)
            context.statistics.connections_closed[CloseReason.TOO_MANY_CLIENTS] += 1
            context.repeat_limit.log(
                logging.WARNING,
                "%(holder)s holds most places (%(held)d); closed the connection of %(peer)s: too many clients "
                "(limit %(limit)s)",
                partial(self._refusal_fields, peer, limit),
                kind=limit.partition(" of ")[0],
            )
            return
        client = Client(stream, peer, context.limits, context.statistics, context.timers.now)
        self._clients[client] = None
        self.gate.enter(peer)
        context.statistics.connections_now = len(self._clients)
        log.debug("%(peer)s connected", peer.fields)
        try:
            self.watch(client, EVENT_READ)
        except OSError as error:  # the system has no memory for one more, or a limit on them
            self.close(client, error, level=logging.WARNING)

    def _refusal_fields(self, peer: Peer, limit: str) -> Fields:
        # Only for lines that are written, because a flood is refused for each of its connections.
        places = self.gate.places
        holder = max(places, key=lambda each: places[each], default=peer.holder)
        return {**peer.fields, "limit": limit, "holder": holder, "held": places[holder]}

    def judge_again(self) -> None:
        """Give each client the role that it has now; close those that the gate would not admit any more."""
        for client in self:
            if refusal := self.gate.judge(client.peer):
                self.close(client, refusal, CloseReason.FORBIDDEN, logging.WARNING)
            else:
                client.screen_again()

    def flush(self, client: Client) -> None:
        """Send unsent responses, and watch ``client`` for what it waits for."""
        try:
            if not client.send("") or client.registered_events != EVENT_READ:
                self.update(client)
        except OSError as error:
            self.close(client, error)

    def update(self, client: Client) -> None:
        """Watch ``client`` for what it waits for now; if nothing is left to wait for, end the connection.

        Raises OSError if the connection is broken.
        """
        events = client.wanted_events
        if events or client.phase is not Phase.FINISHING:
            self.watch(client, events)
            return
        # The server ends the connection first only in a shutdown; then it waits for the client's end, because closing
        # a socket with unread input resets the connection, and a reset may destroy responses on their way.
        has_ended = client.connection.state is ConnectionState.ENDED
        try:
            client.linger()
        except BlockingIOError:
            self.watch(client, EVENT_WRITE)
            return
        except OSError:
            if not has_ended:  # otherwise both sides have ended, and nothing is left to lose
                raise
        if has_ended:
            self.close(client, "end of file", CloseReason.ENDED)
        else:
            client.last_active = self._context.timers.now
            self.watch(client, EVENT_READ)
            self.set_timer(client)

    def watch(self, client: Client, events: int) -> None:
        """Watch ``client`` for ``events``. Raises OSError if the system has no memory for that."""
        before = client.registered_events
        if events == before:
            return
        if not events:
            self._context.selector.unregister(client.stream)
        elif before:
            self._context.selector.modify(client.stream, events, client)
        else:
            self._context.selector.register(client.stream, events, client)
        client.registered_events = events
        if events & EVENT_READ and not before & EVENT_READ:
            client.watched_since = self._context.timers.turn
            client.resume_reading(self._context.timers.now)
        self.set_timer(client)

    def time_line(self, client: Client) -> None:
        """Note that a line of ``client`` is incomplete."""
        client.time_line(self._context.timers.now)
        self.set_timer(client)

    def set_timer(self, client: Client) -> None:
        """Set the client's timer for its next deadline, unless it is called earlier anyway."""
        when = client.next_deadline()[0]
        timer = client.timer
        if timer is None or when < timer.when:
            self._context.timers.cancel(timer)
            client.timer = self._context.timers.call_at(when, partial(self._check, client)) if when < inf else None

    def _check(self, client: Client) -> None:
        client.timer = None
        when, seconds, reason = client.next_deadline()
        if self._context.timers.now < when:
            self.set_timer(client)
        else:
            level = logging.DEBUG if reason is CloseReason.SHUTDOWN else logging.INFO
            self.close(client, f"{_TIME_OUTS[reason]} for {seconds:.0f} s", reason, level)

    def close(
        self, client: Client, why: object, reason: CloseReason = CloseReason.BROKEN, level: int = logging.DEBUG
    ) -> None:
        """Close the connection of ``client``."""
        context = self._context
        if client.registered_events:
            context.selector.unregister(client.stream)
            client.registered_events = 0
        context.timers.cancel(client.timer)
        client.close()
        del self._clients[client]
        self.gate.leave(client.peer)
        context.statistics.connections_now = len(self._clients)
        context.note_end(client.peer, why, reason, level)
        self.on_close()
