"""Accepting connections."""

import logging
from collections.abc import Iterable
from functools import partial
from selectors import EVENT_READ

from scoop_server.loop.clients import Clients, Context
from scoop_server.loop.handshakes import Handshakes
from scoop_server.ports import SHORTAGES, Listener, needs_handshake
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.statistics import CloseReason


class Acceptor:
    """Accepts connections of ``listeners``: plain ones become clients, others begin their handshakes."""

    def __init__(
        self, context: Context, listeners: Iterable[Listener], clients: Clients, handshakes: Handshakes
    ) -> None:
        self._context = context
        self._listeners = list(listeners)
        self._watched: list[Listener] = []
        """All of them, or none while accepting is paused: then connections wait in the backlog."""
        self._clients = clients
        self._handshakes = handshakes
        self.resume()
        clients.on_close = self.resume
        clients.gate.admits_named = any(listener.admits_named for listener in self._listeners)

    def resume(self) -> None:
        """Accept again, if accepting is paused: at a tick, or when a client has been closed."""
        if self._watched:
            return
        try:
            for listener in self._listeners:
                accept = partial(self._accept, listener, self._context.limits.accepts_per_turn_max)
                self._context.selector.register(listener, EVENT_READ, accept)
                self._watched.append(listener)
        except OSError as error:  # the system has no memory for one more, or a limit on them
            self._pause(error)

    def _pause(self, error: OSError) -> None:
        self._stop_watching()
        self._context.repeat_limit.log(
            logging.WARNING,
            "cannot accept connections (%(connections)d are open): %(why)s; retrying when a client disconnects",
            {"connections": len(self._clients) + len(self._handshakes), "why": error.strerror},
        )

    def _accept(self, listener: Listener, count_max: int) -> None:
        """Accept at most ``count_max`` of the connections that wait at ``listener``."""
        statistics = self._context.statistics
        if listener not in self._watched:
            return  # it was ready when the turn began
        for _ in range(count_max):
            try:
                stream, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SHORTAGES:
                    self._pause(error)
                    return
                log.debug("a connection was closed before it was accepted: %(why)s", {"why": error})
                statistics.connections_accepted += 1
                statistics.connections_closed[CloseReason.ENDED] += 1
                continue
            statistics.connections_accepted += 1
            if needs_handshake(stream):
                self._handshakes.begin(stream)
            else:
                self._clients.admit(stream, peer)

    def accept_waiting(self) -> None:
        """Accept all connections that wait, up to the limit on clients: their requests may have arrived as well."""
        for listener in self._listeners:
            self._accept(listener, self._context.limits.clients_max - len(self._clients))

    @property
    def has_successor(self) -> bool:
        """Return whether another process continues to accept at the same sockets."""
        return any(listener.is_inherited for listener in self._listeners)

    def close(self) -> None:
        """Stop accepting and close the listeners. Closing again does nothing."""
        self._stop_watching()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _stop_watching(self) -> None:
        while self._watched:
            self._context.selector.unregister(self._watched.pop())
