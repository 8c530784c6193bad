"""The event loop: one thread, one selector, turn after turn.

A turn **selects** what is ready, **reads** each ready client once, **executes** all complete lines in one call to the
index, and **sends** the replies. The index returns a reply only when what it reports is durable, so no answer leaves
before its change is safe, and one commit serves all clients of a turn.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from selectors import EVENT_READ, BaseSelector, SelectorKey
from typing import Final

from scoop_core import ConnectionState

from scoop_server.config.limits import Limits
from scoop_server.loop.acceptor import Acceptor
from scoop_server.loop.client import Client, HttpRequestError, Phase
from scoop_server.loop.clients import Clients
from scoop_server.loop.handshakes import Handshakes
from scoop_server.loop.ports import Index, Listener, Reply, Request
from scoop_server.loop.shutdown import Lifecycle, Shutdown
from scoop_server.loop.timers import Timers
from scoop_server.telemetry.logs import RepeatLimit, access_log, log, log_errors, log_requests
from scoop_server.telemetry.meter import Meter
from scoop_server.telemetry.statistics import CloseReason, Statistics

# Global names are looked up faster than enum members, and these are needed in every turn or for every message.
_BETWEEN_LINES: Final = ConnectionState.BETWEEN_LINES
_OPEN: Final = Phase.OPEN
_SERVING: Final = Lifecycle.SERVING


class Server:
    """Serves ``index`` to the clients of ``listeners`` until :meth:`request_shutdown`.

    Selector, listeners, index and clock (seconds, monotonic) are injected, so a test can replace them.
    """

    def __init__(
        self,
        index: Index[Client],
        listeners: Iterable[Listener],
        selector: BaseSelector,
        clock: Callable[[], float],
        limits: Limits,
        statistics: Statistics | None = None,
        meter: Meter | None = None,
        *,
        has_successor: bool = False,
    ) -> None:
        self._index = index
        self._selector = selector
        self._clock = clock
        self._limits = limits
        self._statistics = statistics = statistics or Statistics()
        self._meter = meter or Meter()
        self._repeat_limit = RepeatLimit(clock)
        self._timers = timers = Timers(clock())
        self._clients = Clients(selector, timers, limits, statistics, self._repeat_limit)
        self._handshakes = Handshakes(selector, timers, self._clients.admit, limits, statistics, self._repeat_limit)
        self._acceptor = Acceptor(listeners, selector, timers, limits, statistics, self._clients, self._handshakes)
        self._shutdown = Shutdown(
            self._clients, self._acceptor, self._handshakes, timers, limits, statistics, has_successor=has_successor
        )
        self._queue: dict[Client, None] = {}
        """Clients whose lines wait for the next turn."""
        self._completed: list[Reply[Client]] = []
        """Replies to requests of earlier turns."""
        self._share(1)
        self._logs_requests = access_log.isEnabledFor(logging.INFO)
        completions = index.fileno()
        if completions is not None:
            self.watch(completions, self._collect_completed)
        statistics.last_tick = timers.now
        self.on_tick(self._tick)

    def watch(self, file: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` in each turn in which the descriptor ``file`` is readable."""
        self._selector.register(file, EVENT_READ, callback)

    def on_tick(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` every :attr:`Limits.tick_seconds`."""
        self._timers.call_every(self._limits.tick_seconds, callback)

    @property
    def state(self) -> Lifecycle:
        """The state of the server's lifecycle."""
        return self._shutdown.state

    def request_shutdown(self) -> None:
        """Stop accepting, answer what has arrived, then stop. A second request stops immediately."""
        self._shutdown.request()

    def run(self) -> None:
        """Take turns until the server has stopped."""
        while self._shutdown.state is not Lifecycle.STOPPED:
            self.turn()

    # The turn

    def turn(self) -> None:
        """Wait until something is ready, and process all of it."""
        timers, shutdown = self._timers, self._shutdown
        may_wait = not self._queue and (shutdown.state is _SERVING or not shutdown.is_polling)
        events = self._selector.select(timers.seconds_left() if may_wait else 0.0)
        started = timers.now = self._clock()
        self._clients.turn += 1
        requests, others = self._read(events)
        replies: Sequence[Reply[Client]] = self._index.execute(requests) if requests else ()
        if len(replies) < len(requests):
            self._park(requests, replies)
        if self._completed:
            replies = [*self._take_completed(), *replies]
        self._send(replies)
        if others:
            self._flush(others)
        if started >= timers.due:
            timers.run(started)
        if shutdown.state is not _SERVING:
            shutdown.advance(events)
        self._meter.turn_ended(started)

    def _read(  # noqa: C901  # the hot path: a call per message would cost 1% of the throughput
        self, events: Sequence[tuple[SelectorKey, int]]
    ) -> tuple[list[Request[Client]], list[Client]]:
        """Read each ready client once; return the requests, and the clients that are ready without a request.

        Bytes and lines are limited in total, and each ready client gets an equal share: however much others send, a
        client is served in every turn, and a turn stays short.
        """
        if len(events) + len(self._queue) != self._shared_by:
            self._share(len(events) + len(self._queue))
        read_bytes_max, lines_max = self._read_share, self._lines_share
        requests: list[Request[Client]] = []
        others: list[Client] = []
        received = 0
        if self._queue:
            requests += self._take_queued(lines_max)
        for key, mask in events:
            client = key.data
            if type(client) is not Client:
                client()  # a listener, the handshakes, or a descriptor that something else watches
                continue
            if client.phase is not _OPEN:
                self._read_other(client, mask, others)
                continue
            if mask & EVENT_READ:
                try:
                    data = client.read(read_bytes_max)
                    lines = client.receive(data) if data else ""
                except (OSError, HttpRequestError) as error:
                    self._close_failed(client, error)
                    continue
                received += len(data)
                if client.connection.state is not _BETWEEN_LINES and data:
                    self._clients.time_line(client)
                if lines:
                    if len(lines) > lines_max:  # no line is shorter than its newline, so most are not counted
                        lines = self._limit_lines(client, lines, lines_max)
                    requests.append((client, lines))
                    continue
            others.append(client)
        self._statistics.bytes_received += received
        return requests, others

    def _share(self, ready: int) -> None:
        """Compute the share of a turn that each of ``ready`` clients gets."""
        self._shared_by = ready
        self._read_share = self._limits.read_share(ready or 1)
        self._lines_share = self._limits.lines_share(ready or 1)

    def _limit_lines(self, client: Client, lines: str, lines_max: int) -> str:
        if lines.count("\n") <= lines_max:
            return lines
        self._queue[client] = None
        return client.limit_lines(lines, lines_max)

    def _take_queued(self, lines_max: int) -> list[Request[Client]]:
        """Return the next lines of each queued client that is not parked."""
        requests: list[Request[Client]] = []
        for client in list(self._queue):
            if client.phase is Phase.QUEUED:
                requests.append((client, client.take_queued(lines_max)))
            if client.phase is not Phase.QUEUED:
                del self._queue[client]
        return requests

    def _read_other(self, client: Client, mask: int, others: list[Client]) -> None:
        """Process an event of a client whose requests are not read now."""
        try:
            if client.phase is Phase.LINGERING:
                if not client.discard():
                    self._clients.close(client, "end of file", CloseReason.ENDED)
            elif client.phase is not Phase.CLOSED:
                if mask & EVENT_READ:
                    self._clients.stop_reading(client)
                others.append(client)
        except OSError as error:
            self._clients.close(client, error)

    def _close_failed(self, client: Client, error: OSError | HttpRequestError) -> None:
        if isinstance(error, HttpRequestError):
            why = "its first line is an HTTP request, as a web page can make a browser send it"
            self._clients.close(client, why, CloseReason.HTTP, logging.WARNING)
        else:
            self._clients.close(client, error)

    # Replies of the index

    def _park(self, requests: Sequence[Request[Client]], replies: Sequence[Reply[Client]]) -> None:
        """Park the clients whose requests have no reply yet."""
        answered = {client for client, _, _ in replies}
        for client, _ in requests:
            if client not in answered:
                client.park()

    def _collect_completed(self) -> None:
        self._completed += self._index.completed()

    def _take_completed(self) -> list[Reply[Client]]:
        """Return the completed replies of clients that are still connected, and unpark these."""
        completed, self._completed = self._completed, []
        replies = [reply for reply in completed if reply[0].phase is not Phase.CLOSED]
        for client, _, _ in replies:
            client.unpark()
            if client.phase is Phase.QUEUED:
                self._queue[client] = None
        return replies

    def _send(self, replies: Sequence[Reply[Client]]) -> None:
        now = self._timers.now
        clients = self._clients
        sent = 0
        has_errors = False
        for client, _, answers in replies:
            if answers is None:
                clients.close(client, "its changes cannot be stored", CloseReason.OUT_OF_SPACE)
                continue
            client.last_active = now
            sent += len(answers)
            if "E" in answers:  # only ERROR contains that letter
                has_errors = True
            try:
                if not client.send(answers) or client.registered_events != EVENT_READ:
                    clients.update(client)
            except OSError as error:
                clients.close(client, error)
        self._statistics.bytes_sent += sent
        if has_errors or self._logs_requests:
            self._log(replies)

    def _flush(self, others: Sequence[Client]) -> None:
        """Send unsent answers of clients that are ready without a request."""
        for client in others:
            client.last_active = self._timers.now
            try:
                if not client.send("") or client.registered_events != EVENT_READ:
                    self._clients.update(client)
            except OSError as error:
                self._clients.close(client, error)

    def _log(self, replies: Sequence[Reply[Client]]) -> None:
        answered = [(client, lines, answers) for client, lines, answers in replies if answers is not None]
        if self._logs_requests:
            log_requests(answered)
        if log.isEnabledFor(logging.INFO):
            log_errors(answered, self._repeat_limit)
        for client, _, _ in answered:
            if client.rejected_changes:
                self._log_rejected_changes(client)

    def _log_rejected_changes(self, client: Client) -> None:
        rejected, client.rejected_changes = client.rejected_changes, []
        self._statistics.changes_rejected += len(rejected)
        self._repeat_limit.log(
            logging.WARNING,
            "rejected a change of %(peer)s: this listener is read-only: %(request)s",
            {"peer": client.name, "request": rejected[0][:200]},
            len(rejected),
        )

    # Time, and the end

    def _tick(self) -> None:
        self._repeat_limit.flush()
        self._statistics.last_tick = self._clock()

    def close(self) -> None:
        """Close everything that is still open."""
        self._handshakes.close()
        for client in self._clients:
            self._clients.close(client, "the server has stopped", CloseReason.SHUTDOWN)
        self._acceptor.close()
        self._repeat_limit.flush(at_once=True)
