"""The shutdown: from serving to stopped, without losing a request that had arrived."""

import enum
from collections.abc import Sequence
from selectors import EVENT_READ, SelectorKey

from scoop_server.loop.acceptor import Acceptor
from scoop_server.loop.client import Phase
from scoop_server.loop.clients import Clients, Context
from scoop_server.loop.handshakes import Handshakes
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.statistics import CloseReason, Stage


class Lifecycle(enum.Enum):
    """The states of a server, in order; HANDING_OVER only occurs with a successor."""

    SERVING = enum.auto()
    HANDING_OVER = enum.auto()
    """A successor accepts new connections; clients that have just connected may still send their first request."""
    DRAINING = enum.auto()
    """Received requests are answered, and each client is closed after its last response."""
    STOPPED = enum.auto()
    """No client is left."""


class Shutdown:
    """The lifecycle of a server."""

    def __init__(self, context: Context, clients: Clients, acceptor: Acceptor, handshakes: Handshakes) -> None:
        self._context = context
        self.state = Lifecycle.SERVING
        self._clients = clients
        self._acceptor = acceptor
        self._handshakes = handshakes
        self._requested_at = 0.0
        self._draining_since = 0
        """The turn in which draining began."""

    def request(self) -> None:
        """Stop accepting, answer what has arrived, then stop. A second request stops immediately."""
        if self.state is not Lifecycle.SERVING:
            log.info("stopping immediately")
            self.state = Lifecycle.STOPPED
            return
        self._context.statistics.stage = Stage.DRAINING
        self._requested_at = self._context.timers.now
        if self._acceptor.has_successor:
            self._acceptor.close()
            log.info("shutting down: new connections wait for the next server")
            self.state = Lifecycle.HANDING_OVER
        else:  # nobody else would accept the connections in the backlog
            self._acceptor.accept_waiting()
            self._acceptor.close()
            self._drain()

    def _hand_over(self) -> None:
        """Start draining if each client has sent its first request, or has had the time to.

        Otherwise a client that this server accepted would be disconnected unanswered, unlike one in the backlog of
        the successor. Clients with later requests find the connection closed, and connect again.
        """
        # A client that has sent nothing yet, or half a line, gets the time of a slow network; one that is idle between
        # requests gets none, since it may stay idle for days.
        now, limits = self._context.timers.now, self._context.limits
        silent_since = now - limits.handover_seconds_max
        is_awaited = any((each.is_new or each.is_in_line) and each.last_active > silent_since for each in self._clients)
        if now >= self._requested_at + limits.handover_seconds_max or not (self._handshakes or is_awaited):
            self._drain()

    def _drain(self) -> None:
        self._handshakes.close()
        self.state = Lifecycle.DRAINING
        self._draining_since = self._context.timers.turn
        self._context.timers.call_at(self._context.timers.now + self._context.limits.drain_seconds_max, self._give_up)
        log.info("shutting down: answering what has arrived (clients: %(clients)d)", {"clients": len(self._clients)})

    def _give_up(self) -> None:
        if self.state is Lifecycle.DRAINING and len(self._clients):
            log.warning(
                "clients that did not get all responses within %(seconds)g s: %(clients)d",
                {"clients": len(self._clients), "seconds": self._context.limits.drain_seconds_max},
            )
        self.state = Lifecycle.STOPPED

    @property
    def is_polling(self) -> bool:
        """Return whether the next turn must not wait: a request that is not ready now had not arrived."""
        clients = self._clients
        return self.state is Lifecycle.DRAINING and (not len(clients) or any(each.reads_requests for each in clients))

    def advance(self, events: Sequence[tuple[SelectorKey, int]]) -> None:
        """Read no more requests of clients from which none has arrived; close those that have all responses.

        Before that, check whether a handover has ended. ``events`` are those of this turn.
        """
        if self.state is Lifecycle.HANDING_OVER:
            self._hand_over()
        turn, limits = self._context.timers.turn, self._context.limits
        if self.state is not Lifecycle.DRAINING or turn == self._draining_since:
            return
        readable = {key.data for key, mask in events if mask & EVENT_READ}
        for client in filter(lambda each: each.reads_requests, self._clients):
            # One that is watched since this turn's select may be readable as well.
            has_input = client in readable or client.watched_since == turn
            client.drain_turns += has_input
            if has_input and client.drain_turns * limits.read_bytes_max < limits.drain_bytes_max:
                continue
            client.enter(Phase.FINISHING)
            if has_input or client.wanted_events:
                self._clients.flush(client)
            else:
                self._clients.close(client, "the server is shutting down", CloseReason.SHUTDOWN)
        if not len(self._clients):
            self.state = Lifecycle.STOPPED
