"""The requests of a turn: a fair share from each client that is ready."""

import logging
from collections.abc import Sequence
from selectors import EVENT_READ, SelectorKey
from typing import Final

from scoop_core import ConnectionState

from scoop_server.loop.client import Client, HttpRequestError, Phase
from scoop_server.loop.clients import Clients, Context
from scoop_server.ports import Request
from scoop_server.telemetry.statistics import CloseReason
from scoop_server.text import first_lines

# Global names are looked up faster than enum members, and these are needed for every message.
_BETWEEN_LINES: Final = ConnectionState.BETWEEN_LINES
_OPEN: Final = Phase.OPEN

_BUSY_TURN_BYTES: Final = 65_536
"""A turn that reads less is short whatever it reads, and its time is not measured."""


class Intake:
    """Reads clients, each ready one with an equal share of what a turn reads and executes.

    So however much others send, a client is served in every turn, and a turn stays short.
    """

    def __init__(self, context: Context, clients: Clients) -> None:
        self.queue: dict[Client, None] = {}
        """Clients whose lines wait for the next turn."""
        self.is_busy = False
        """True if the turn read so much that it may have taken long."""
        self._limits = context.limits
        self._statistics = context.statistics
        self._clients = clients
        self._divisor = 1
        """A turn reads and executes this part of what its limits allow."""
        self._share(1)

    def read(  # noqa: C901  # the hot path: a call per message would cost 1% of the throughput
        self, events: Sequence[tuple[SelectorKey, int]]
    ) -> tuple[list[Request[Client]], list[Client]]:
        """Read each ready client once; return the requests, and the clients that are ready without a request.

        Bytes and lines are limited in total, and each ready client gets an equal share, and what the clients before it
        have left of theirs: however much others send, a client is served in every turn, and a turn stays short.
        """
        # A listener counts too: a share that is too small costs a call, one that is too large a long turn.
        ready = len(events) + len(self.queue)
        if ready != self._shared_by:
            self._share(ready)
        read_bytes_max, small_bytes_max, uncounted_bytes_max, _, _, turn_text_bytes = self._shares
        requests: list[Request[Client]] = []
        others: list[Client] = []
        received = executed = 0
        if self.queue:  # first, so that a client that sends without pause cannot overtake lines that wait
            executed = self._take_queued(requests)
        for key, mask in events:
            client = key.data
            if type(client) is not Client:
                client()  # a listener, the handshakes, or a descriptor that something else watches
                continue
            if client.phase is not _OPEN:
                self._read_other(client, mask, others)
                continue
            if mask & EVENT_READ:
                if executed >= turn_text_bytes and client.connection.incomplete_bytes > self._limits.long_line_bytes:
                    continue  # its line would be completed, which takes long, only to wait: it stays in the socket
                try:
                    data = client.read(read_bytes_max)
                    lines = client.receive(data) if data else ""
                except OSError as error:
                    self._clients.close(client, error)
                    continue
                except HttpRequestError as error:
                    self._clients.close(client, error, CloseReason.HTTP, logging.WARNING)
                    continue
                received += len(data)
                if client.connection.state is not _BETWEEN_LINES and data:
                    self._clients.time_line(client)
                size = len(lines)
                # Most turns hold so little that its lines need not be counted, which takes 5% of a pipelined QUERY.
                if size > small_bytes_max and executed + size > uncounted_bytes_max:
                    lines = self._limit(client, lines, executed, len(requests))
                if lines:
                    executed += len(lines)
                    requests.append((client, lines))
                    continue
            others.append(client)  # also one whose lines all wait: it must not be watched until they are executed
        self._statistics.bytes_received += received
        self.is_busy = executed >= _BUSY_TURN_BYTES or bool(self.queue)
        return requests, others

    def _share(self, ready: int) -> None:
        """Compute the share of a turn that each of ``ready`` clients gets."""
        self._shared_by = ready
        self._shares = self._limits.shares(ready or 1, self._divisor)

    def adapt(self, cpu_seconds: float) -> None:
        """Adapt the shares to the processor time that a busy turn took after its reads.

        If it was too long, because its lines were expensive, the next ones execute that much less. The disk and other
        processes do not count.
        """
        self._divisor = self._limits.adapted_divisor(self._divisor, cpu_seconds)
        self._share(self._shared_by)

    def _limit(self, client: Client, lines: str, executed: int, served: int) -> str:
        """Return the part of ``lines`` to execute after ``executed`` bytes of ``served`` clients; queue the rest.

        They are the client's share and what those clients have left of theirs, or one line that is longer, unless other
        long ones have used up the turn.
        """
        shares = self._shares
        size_max = shares.text_bytes + max(served * shares.text_bytes - executed, 0)
        # A line longer than the share gets the turn nearly for itself: it cannot be split, and must not wait forever.
        first = ""
        if executed < shares.turn_text_bytes or "\n" in lines[:size_max]:
            first = first_lines(lines, size_max, shares.lines)
            self.queue.pop(client, None)  # those that wait come first in the next turn
        if client.queue(lines[len(first) :]):
            self.queue[client] = None
        return first

    def _take_queued(self, requests: list[Request[Client]]) -> int:
        """Append the next lines of each queued client that is not parked; return their size."""
        executed = 0
        for client in list(self.queue):
            if client.phase is not Phase.QUEUED:
                del self.queue[client]
            elif lines := self._limit(client, client.queued_lines, executed, len(requests)):
                executed += len(lines)
                requests.append((client, lines))
        return executed

    def _read_other(self, client: Client, mask: int, others: list[Client]) -> None:
        """Process an event of a client whose requests are not read now."""
        try:
            if client.phase is Phase.LINGERING:
                if not client.discard():
                    self._clients.close(client, "end of file", CloseReason.ENDED)
            elif client.phase is not Phase.CLOSED:
                if mask & EVENT_READ:  # stop only now: most clients send nothing before they have their responses
                    self._clients.watch(client, client.registered_events & ~EVENT_READ)
                others.append(client)
        except OSError as error:
            self._clients.close(client, error)
