"""The event loop: one thread, one selector, turn after turn.

A turn **selects** what is ready, **reads** each ready client once, **executes** all complete lines in one call to the
index, and **sends** the responses. The index returns a response only when what it reports is durable, so none
leaves before its change is safe, and one commit serves all clients of a turn.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from selectors import EVENT_READ, BaseSelector
from typing import Final

from scoop_core import AccessRules, has_change

from scoop_server.config.limits import Limits
from scoop_server.loop.acceptor import Acceptor
from scoop_server.loop.client import Client, Phase
from scoop_server.loop.clients import Clients, Context
from scoop_server.loop.handshakes import Handshakes
from scoop_server.loop.intake import Intake
from scoop_server.loop.shutdown import Lifecycle, Shutdown
from scoop_server.loop.timers import Timers
from scoop_server.ports import Index, Listener, Request, Response
from scoop_server.telemetry.logs import RepeatLimit
from scoop_server.telemetry.request_log import RequestLog
from scoop_server.telemetry.statistics import CloseReason, Meter, Statistics

_SERVING: Final = Lifecycle.SERVING
"""A global name is looked up faster than an enum member, and this one is needed in every turn."""


class Server:
    """Serves ``index`` to the clients of ``listeners`` until its :attr:`shutdown` is complete.

    Selector, listeners, index and clocks (in seconds: a monotonic one, and the processor time of the thread) are
    injected, so a test can replace them.
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
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._index = index
        self._selector = selector
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._limits = limits
        self._statistics = statistics = statistics or Statistics()
        self._meter = meter or Meter()
        self._repeat_limit = RepeatLimit(clock)
        self._timers = Timers(clock())
        context = Context(selector, self._timers, limits, statistics, self._repeat_limit)
        self._clients = Clients(context)
        self._handshakes = Handshakes(context, self._clients.admit)
        self._acceptor = Acceptor(context, listeners, self._clients, self._handshakes)
        self.shutdown = Shutdown(context, self._clients, self._acceptor, self._handshakes)
        self._intake = Intake(context, self._clients)
        self._has_completed = False
        """True if the index has responses to requests of earlier turns, or works on them."""
        self._write_delay = 0.0
        """The delay that the index asked for at the last tick."""
        self._request_log = RequestLog(self._repeat_limit)
        if (completions := index.fileno()) is not None:
            self.watch(completions, self._note_completed)
        statistics.last_tick = self._timers.now
        self.on_tick(self._tick)

    def watch(self, file: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` in each turn in which the descriptor ``file`` is readable."""
        self._selector.register(file, EVENT_READ, callback)

    def on_tick(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` every :attr:`Limits.tick_seconds`."""
        self._timers.call_every(self._limits.tick_seconds, callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, in the first turn after ``seconds``."""
        self._timers.call_at(self._clock() + seconds, callback)

    def enforce(self, rules: AccessRules | None, is_revoked: Callable[[bytes], bool]) -> None:
        """Apply access rules and the revocation of certificates to new clients, and to the others after this turn.

        Its requests have been read under the previous ones, and their responses must find their clients open.
        """
        self._clients.gate.rules, self._clients.gate.is_revoked = rules, is_revoked
        self._timers.call_at(self._timers.now, self._clients.judge_again)

    def run(self) -> None:
        """Take turns until the server has stopped."""
        while self.shutdown.state is not Lifecycle.STOPPED:
            self.turn()

    # The turn

    def turn(self) -> None:
        """Wait until something is ready, and process all of it."""
        timers, shutdown, intake = self._timers, self.shutdown, self._intake
        may_wait = not (intake.queue or self._has_completed) and (shutdown.state is _SERVING or not shutdown.is_polling)
        events = self._selector.select(timers.due - timers.now if may_wait else 0.0)
        started = self._clock()
        timers.begin_turn(started)
        requests, others = intake.read(events)
        cpu_started = self._cpu_clock() if intake.is_busy else 0.0
        if requests:
            # All clients of a turn in one call: it commits once for all of them, so a sync of the disk, which takes as
            # long as hundreds of requests, is shared. Nothing waits for more clients: those that arrive during the
            # sync form the next turn, so commits grow with the load by themselves.
            responses = self._index.execute(requests)
            if len(responses) < len(requests):
                self._park(requests, responses)
            self._send(responses)
        if self._has_completed:  # may take long, so it comes after the responses that need no wait
            self._send(self._take_completed())
        if others:
            self._flush(others)
        if started >= timers.due:
            timers.run()
        if shutdown.state is not _SERVING:
            shutdown.advance(events)
        if intake.is_busy:
            intake.adapt(self._cpu_clock() - cpu_started)
        self._meter.turn_ended(started)

    # Responses of the index

    def _park(self, requests: Sequence[Request[Client]], responses: Sequence[Response[Client]]) -> None:
        """Park the clients whose requests have no response yet."""
        for client in {client for client, _ in requests}.difference(client for client, _, _ in responses):
            client.enter(Phase.PARKED)
        self._has_completed |= self._index.is_pending

    def _note_completed(self) -> None:
        self._has_completed = True

    def _take_completed(self) -> list[Response[Client]]:
        """Return the completed responses of clients that are still connected, and unpark these."""
        responses = [response for response in self._index.completed() if response[0].phase is not Phase.CLOSED]
        self._has_completed = self._index.is_pending
        for client, _, _ in responses:
            self._unpark(client)
        return responses

    def _unpark(self, client: Client) -> None:
        if client.queue(client.queued_lines):
            self._intake.queue[client] = None
        self._clients.set_timer(client)  # it has had no idle time-out

    def _send(self, responses: Sequence[Response[Client]]) -> None:
        now = self._timers.now
        clients = self._clients
        sent = 0
        has_errors = False
        for client, _, answers in responses:
            if answers is None:
                clients.close(client, "the index cannot answer its requests", CloseReason.UNANSWERED)
                continue
            client.last_active = now
            sent += len(answers)
            has_errors = has_errors or "E" in answers  # only ERROR contains that letter
            try:
                if not client.send(answers) or client.registered_events != EVENT_READ:
                    clients.update(client)
            except OSError as error:
                clients.close(client, error)
        self._statistics.bytes_sent += sent
        if has_errors or self._request_log.logs_all:
            answered = [(client.peer, lines, given) for client, lines, given in responses if given is not None]
            self._request_log.log(answered)
        if self._write_delay:
            self._delay_writers(responses)

    def _delay_writers(self, responses: Sequence[Response[Client]]) -> None:
        """Read the clients that sent changes again only after the delay that the index asks for."""
        for client, lines, _ in responses:
            if client.phase in (Phase.OPEN, Phase.QUEUED) and has_change(lines):
                client.enter(Phase.PARKED)
                self._timers.call_at(self._timers.now + self._write_delay, partial(self._resume, client))

    def _resume(self, client: Client) -> None:
        if client.phase is Phase.PARKED:
            self._unpark(client)
            self._clients.flush(client)

    def _flush(self, others: Sequence[Client]) -> None:
        """Send unsent responses of clients that are ready without a request."""
        for client in others:
            if client.phase is not Phase.CLOSED:  # by the response to a request of an earlier turn
                client.last_active = self._timers.now
                self._clients.flush(client)

    # Time, and the end

    def _tick(self) -> None:
        self._acceptor.resume()
        self._repeat_limit.flush()
        self._request_log.tick()
        self._statistics.last_tick = self._clock()
        self._write_delay = self._index.write_delay

    def close(self) -> None:
        """Close everything that is still open."""
        self._handshakes.close()
        for client in self._clients:
            self._clients.close(client, "the server has stopped", CloseReason.SHUTDOWN)
        self._acceptor.close()
        self._repeat_limit.flush(at_once=True)
