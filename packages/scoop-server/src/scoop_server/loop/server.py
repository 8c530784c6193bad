"""The server: one thread, one selector, one graph, turn after turn.

A turn is: **select** what is ready; **read** each ready client once; **apply** the complete lines to the
graph, holding the answers; **commit** the turn's changes with one call to the store; **reply**, one send a
client. No answer leaves before what it tells is committed, and one commit serves all clients of the turn.
"""

import enum
import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import Final, Protocol

from scoop_core import Changes, ConnectionState, DependencyGraph

from scoop_server.config.access import AccessPolicy
from scoop_server.config.limits import Limits
from scoop_server.errors import ReadOnlyError
from scoop_server.loop.client import Client, Phase, StreamSocket
from scoop_server.loop.handshakes import Handshakes, HandshakingStream
from scoop_server.storage.store import Store
from scoop_server.telemetry.logs import RepeatLimit, access_log, log, log_errors, log_requests
from scoop_server.telemetry.statistics import CloseReason, Stage, Statistics
from scoop_server.text import noun

_BETWEEN_LINES: Final = ConnectionState.BETWEEN_LINES

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ListeningSocket(Protocol):
    """What the server needs of a bound, listening, non-blocking socket."""

    def accept(self) -> tuple[StreamSocket, str, AccessPolicy]:
        """Return a connected socket, or a stream with a handshake before it, the peer's name, and its policy."""

    def close(self) -> None:
        """Stop listening."""

    def fileno(self) -> int:
        """Return the descriptor."""


class State(enum.Enum):
    """How far the server has come on its way out."""

    SERVING = enum.auto()
    HANDING_OVER = enum.auto()
    """It accepts no one, because its successor will; clients that have connected may still begin to ask."""
    DRAINING = enum.auto()
    """It accepts no one; clients get the answers to what had arrived."""
    STOPPED = enum.auto()
    """No client is left."""


_DRAINING: Final = State.DRAINING
"""A global name is found faster than a member of an enum, and this one is asked for in every turn."""

_NO_ONE: Final[Mapping[object, int]] = {}

Reply = tuple[Client, str, str]
"""A client, the lines that it sent in this turn, and the answers to them."""


class Server:
    """Serves ``graph`` to the clients of ``listeners``, until :meth:`request_shutdown`.

    It owns the graph while it runs. Selector, listeners, store and clock (seconds, monotonic) come from
    outside, so that a test can put others in their place. ``statistics`` is where it counts.
    """

    def __init__(
        self,
        graph: DependencyGraph,
        store: Store,
        listeners: Iterable[ListeningSocket],
        selector: BaseSelector,
        clock: Callable[[], float],
        limits: Limits,
        statistics: Statistics | None = None,
        *,
        has_successor: bool = False,
    ) -> None:
        self.state = State.SERVING
        self._has_successor = has_successor
        """Whether those who wait to be accepted when it stops will be accepted by another process."""
        self._graph = graph
        self._store = store
        self._listeners = list(listeners)
        self._selector = selector
        self._clock = clock
        self._limits = limits
        self._statistics = statistics or Statistics()
        self._repeat_limit = RepeatLimit(clock)
        self._clients: dict[Client, None] = {}  # a set that keeps its order, so that a simulation can be repeated
        self._changes = Changes()
        self._postponed: Mapping[object, int] = _NO_ONE
        """Who was ready and not looked at, because the turn had read enough by then; and their places in the next."""
        self._has_errors = False
        """Whether a line of this turn is no request."""
        self._logs_requests = access_log.isEnabledFor(logging.INFO)
        self._line_started: dict[Client, tuple[float, ConnectionState]] = {}
        """When the incomplete line of a client began to arrive, and how far it has come; the oldest comes first."""
        self._output_taken: dict[Client, tuple[float, int]] = {}
        """When a client that has unsent answers was last seen to have taken some, and how many bytes of them."""
        self._accepting_resumes: float | None = None
        """When to accept again, while accepting rests."""
        self._is_short_of_resources = False
        """Whether some wait who could not be accepted: a shortage is one warning, however often it is tried again."""
        self._handshakes = Handshakes(selector, self.admit, limits, self._statistics, self._repeat_limit)
        self._shutdown_requested = 0.0
        self._drain_started = 0.0
        self._drain_reads: Counter[Client] = Counter()
        self._now = clock()
        self._next_tick = self._now + limits.tick_seconds
        self._tick_callbacks: list[Callable[[], None]] = []
        if self._statistics.is_watched:
            self._statistics.last_tick = self._now
            self.on_tick(self._tell_tick)
        self._watch_listeners()

    def watch(self, file: int, callback: Callable[[], None]) -> None:
        """Have ``callback`` called in each turn in which the descriptor ``file`` can be read."""
        self._selector.register(file, EVENT_READ, callback)

    def on_tick(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called in each tick, about once a second, also while nothing else happens."""
        self._tick_callbacks.append(callback)

    def run(self) -> None:
        """Take turns until the server has stopped."""
        while self.state is not State.STOPPED:
            self.turn()

    # The turn

    def turn(self) -> None:
        """Wait until something is ready, and deal with all that is."""
        was_draining = self.state is _DRAINING
        events = self._selector.select(0.0 if self._postponed else self._timeout())
        if self._postponed:
            places = self._postponed
            events.sort(key=lambda event: places.get(event[0].data, len(places)))
        started = self._now = self._clock()
        replies = self._read_and_apply(events, self._changes)
        if self._changes.lines:
            replies = self._commit(replies, self._changes)
        self._reply(replies)
        if self._has_errors or self._logs_requests:
            self._log_replies(replies)
        if was_draining:
            self._drain({key.data for key, mask in events if mask & EVENT_READ or not key.events & EVENT_READ})
        if started >= self._next_tick:
            self._tick()
        if self._statistics.is_watched:
            self._statistics.turn_seconds.observe(self._clock() - started)

    def _read_and_apply(self, events: list[tuple[SelectorKey, int]], changes: Changes) -> list[Reply]:
        """Read each ready client once, and answer what it asks; return the answers, which must wait for the commit."""
        apply_lines = self._graph.apply_lines
        tally = self._statistics.tally if self._statistics.is_watched else None
        line_started = self._line_started
        turn_bytes_max = self._limits.turn_bytes_max
        replies: list[Reply] = []
        received = 0
        pending = iter(events)
        for key, mask in pending:
            client = key.data
            if type(client) is not Client:
                client()  # a listener, a client that lingers, or a descriptor that something else watches
                continue
            lines = answers = ""
            if mask & EVENT_READ:
                try:
                    data = client.read()
                except OSError as error:
                    self._close(client, error)
                    continue
                if data:
                    received += len(data)
                    lines = client.connection.receive(data)
                    if lines:
                        answers = apply_lines(lines, changes, tally)
                        if "E" in answers:  # no answer but ERROR has that letter
                            self._has_errors = True
                if line_started or client.connection.state is not _BETWEEN_LINES:
                    self._time_line(client, lines)
            replies.append((client, lines, answers))
            if received >= turn_bytes_max:
                self._postponed = {key.data: place for place, (key, _) in enumerate(pending)}
                break
        else:
            self._postponed = _NO_ONE
        self._statistics.bytes_received += received
        return replies

    def _commit(self, replies: list[Reply], changes: Changes) -> list[Reply]:
        """Have the turn's changes made to last; return the answers that may be given then."""
        started = self._clock()
        try:
            self._store.commit(changes)
        except ReadOnlyError:
            replies = self._take_back(replies, changes)
        else:
            if self._statistics.is_watched:
                self._statistics.count_commit(changes, self._clock() - started)
        changes.clear()
        return replies

    def _take_back(self, replies: list[Reply], changes: Changes) -> list[Reply]:
        """Undo the turn's changes, which could not be committed; return the answers that may be given all the same.

        Each client's lines are answered again, alone, by the graph as it was before the turn. Whoever would
        change it is disconnected, because its change can be neither confirmed nor called wrong; the others
        get answers that have seen nothing of what was undone.
        """
        self._graph.undo(changes)
        given: list[Reply] = []
        for client, lines, _ in replies:
            refused = Changes()
            answers = self._graph.apply_lines(lines, refused)
            if refused:
                self._graph.undo(refused)
                self._close(client, "its changes cannot be kept", reason=CloseReason.OUT_OF_SPACE)
            else:
                given.append((client, lines, answers))
        return given

    def _reply(self, replies: list[Reply]) -> None:
        now = self._now
        sent = 0
        for client, _, answers in replies:
            client.last_active = now  # it has sent something, or taken some of its answers
            sent += len(answers)
            try:
                if not client.send(answers):
                    self._settle(client)
                elif client.registered_events != EVENT_READ:
                    self._watch_client(client, EVENT_READ)
            except OSError as error:
                self._close(client, error)
        self._statistics.bytes_sent += sent

    def _log_replies(self, replies: list[Reply]) -> None:
        if self._logs_requests:
            log_requests(replies)
        if self._has_errors and log.isEnabledFor(logging.INFO):
            log_errors(replies, self._repeat_limit)
        self._has_errors = False

    def _timeout(self) -> float | None:
        """How long to wait for something to be ready, in seconds; None is for ever."""
        if self.state is _DRAINING and (not self._clients or any(client.may_ask for client in self._clients)):
            return 0.0  # whoever is not ready at once had said all that it had to say
        has_deadlines = (
            self._line_started
            or self._output_taken
            or self._tick_callbacks
            or self._limits.idle_seconds_max
            or self._accepting_resumes is not None
            or self._handshakes
            or self.state is not State.SERVING
            or self._store.wants_tick
            or self._repeat_limit.is_counting
        )
        if not has_deadlines:
            return None
        next_look = self._next_tick
        if self.state is _DRAINING:
            next_look = min(next_look, self._drain_started + self._limits.drain_seconds_max)
        return max(0.0, next_look - self._now)

    # Clients coming and going

    @property
    def _connection_count(self) -> int:
        return len(self._clients) + len(self._handshakes)

    def admit(self, stream: StreamSocket, name: str) -> None:
        """Make a connected, non-blocking stream that is ready for requests a client."""
        client = Client(stream, name, self._limits, self._now)
        self._selector.register(stream, client.registered_events, client)
        self._clients[client] = None
        self._statistics.connections_now = len(self._clients)
        log.debug("%(peer)s connected", {"peer": client.name})

    def _accept(self, listener: ListeningSocket, count_max: int) -> None:
        """Take in the clients that wait at ``listener``, at most ``count_max`` of them."""
        if self.state is not State.SERVING or self._accepting_resumes is not None:
            return  # it was ready when the turn began
        for _ in range(count_max):
            try:
                sock, name, _ = listener.accept()
            except BlockingIOError:
                self._is_short_of_resources = False  # all who waited are in
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._rest_from_accepting(error)
                    return
                log.debug("a connection was gone before it was accepted: %(why)s", {"why": error})
                continue
            self._statistics.connections_accepted += 1
            if self._connection_count >= self._limits.clients_max:
                sock.close()
                self._statistics.connections_closed[CloseReason.TOO_MANY_CLIENTS] += 1
                self._repeat_limit.log(
                    logging.WARNING,
                    "closed the connection of %(peer)s: %(connections)d connections are open, the most allowed",
                    {"peer": name, "connections": self._limits.clients_max},
                )
                continue
            sock.setblocking(False)
            if isinstance(sock, HandshakingStream):
                self._handshakes.begin(sock, name, self._now)
            else:
                self.admit(sock, name)

    def _rest_from_accepting(self, error: OSError) -> None:
        """Leave the waiting connections to the kernel, rather than be woken for them again and again."""
        for listener in self._listeners:
            self._selector.unregister(listener)
        self._accepting_resumes = self._now + self._limits.accept_pause_seconds
        log.log(
            logging.DEBUG if self._is_short_of_resources else logging.WARNING,
            "cannot accept a connection (%(why)s), with %(connections)d connections open; "
            "new ones wait until a client leaves",
            {"why": error.strerror, "connections": self._connection_count},
        )
        self._is_short_of_resources = True

    def _resume_accepting(self) -> None:
        self._accepting_resumes = None
        self._watch_listeners()

    def _watch_listeners(self) -> None:
        for listener in self._listeners:
            callback = partial(self._accept, listener, self._limits.accepts_per_turn_max)
            self._selector.register(listener, EVENT_READ, callback)

    def _settle(self, client: Client) -> None:
        """Have the selector watch for what ``client`` waits for now; see it off where that is nothing."""
        events = client.wanted_events
        if events:
            if events != client.registered_events:
                self._watch_client(client, events)
            return
        has_ended = client.connection.state is ConnectionState.ENDED
        try:
            client.linger()
        except BlockingIOError:
            self._watch_client(client, EVENT_WRITE)  # the end is sent when there is room for it
            return
        except OSError:
            if not has_ended:
                raise
        if has_ended:
            self._close(client, "it ended the connection", reason=CloseReason.ENDED)
        else:
            client.last_active = self._now
            self._output_taken.pop(client, None)
            self._selector.modify(client.socket, EVENT_READ, partial(self._discard, client))

    def _watch_client(self, client: Client, events: int) -> None:
        self._selector.modify(client.socket, events, client)
        client.registered_events = events
        # A line does not stand incomplete by the client's doing while nothing is read from it.
        self._line_started.pop(client, None)
        if events & EVENT_READ and client.is_in_line:
            self._line_started[client] = (self._now, client.connection.state)
        if events & EVENT_WRITE:
            self._output_taken.setdefault(client, (self._now, client.bytes_taken_late))
        else:
            self._output_taken.pop(client, None)

    def _time_line(self, client: Client, lines: str) -> None:
        """Note since when ``client`` has been sending the line that it is in, if it is in one.

        ``lines`` are those that have just become complete. One that passes the limit is among them when it does, and
        goes on to its newline.
        """
        state = client.connection.state
        started, before = self._line_started.get(client, (self._now, _BETWEEN_LINES))
        match before, state:
            case ConnectionState.IN_LINE, ConnectionState.SKIPPING:
                is_new_line = lines.count("\n") > 1
            case ConnectionState.SKIPPING, ConnectionState.IN_LINE:
                is_new_line = True
            case _:
                is_new_line = bool(lines)
        if is_new_line or not client.is_in_line:
            self._line_started.pop(client, None)
            started = self._now
        if client.is_in_line:
            self._line_started[client] = (started, state)

    def _discard(self, client: Client) -> None:
        try:
            if not client.discard():
                self._close(client, "it ended the connection", reason=CloseReason.ENDED)
        except OSError as error:
            self._close(client, error)

    def _close(
        self,
        client: Client,
        why: object,
        level: int = logging.DEBUG,
        *,
        reason: CloseReason = CloseReason.BROKEN,
    ) -> None:
        self._selector.unregister(client.socket)
        client.close()
        del self._clients[client]
        self._line_started.pop(client, None)
        self._output_taken.pop(client, None)
        self._statistics.connections_now = len(self._clients)
        self._statistics.connections_closed[reason] += 1
        fields = {"peer": client.name, "why": why, "reason": reason.value}
        if level >= logging.INFO:  # a deadline may close thousands in one tick, and whoever reads the log is waited for
            self._repeat_limit.log(level, "closed the connection of %(peer)s: %(why)s", fields, kind=reason.value)
        else:
            log.debug("closed the connection of %(peer)s: %(why)s", fields)
        if self._accepting_resumes is not None and self.state is State.SERVING:
            self._resume_accepting()

    # What time brings

    def _tick(self) -> None:
        """Look at the deadlines."""
        self._store.tick()
        self._repeat_limit.flush()
        for callback in self._tick_callbacks:
            callback()
        self._next_tick = self._now + self._limits.tick_seconds
        self._handshakes.tick(self._now)
        self._close_overdue_clients()
        if self._accepting_resumes is not None and self._now >= self._accepting_resumes:
            self._resume_accepting()
        if self.state is State.HANDING_OVER:
            self._hand_over()

    def _tell_tick(self) -> None:
        """Tell who watches that the loop takes turns; so it has ticks also when it is idle."""
        self._statistics.last_tick = self._clock()

    def _close_overdue_clients(self) -> None:
        now, limits = self._now, self._limits
        while self._line_started:
            client, (started, _) = next(iter(self._line_started.items()))
            if now - started < limits.incomplete_line_seconds_max:
                break
            why = f"a line was incomplete for {now - started:.0f} s"
            self._close(client, why, logging.INFO, reason=CloseReason.INCOMPLETE_LINE)
        for client, (since, taken) in list(self._output_taken.items()):
            if client.bytes_taken_late != taken:
                self._output_taken[client] = (now, client.bytes_taken_late)
            elif now - since >= limits.output_seconds_max:
                why = f"it took nothing of its answers for {now - since:.0f} s"
                self._close(client, why, logging.INFO, reason=CloseReason.UNREAD_OUTPUT)
        if limits.idle_seconds_max:
            for client in [each for each in self._clients if now - each.last_active >= limits.idle_seconds_max]:
                why = f"it was silent for {now - client.last_active:.0f} s"
                self._close(client, why, logging.INFO, reason=CloseReason.IDLE)

    # The end

    def request_shutdown(self) -> None:
        """Stop accepting, answer what has arrived whole, and stop; called again, stop at once."""
        if self.state is not State.SERVING:
            log.info("shutting down at once")
            self.state = State.STOPPED
            return
        for listener in self._listeners:
            if not self._has_successor:  # who has connected by now may have asked as well
                self._accept(listener, self._limits.clients_max - self._connection_count)
        for listener in self._listeners:
            if self._accepting_resumes is None:
                self._selector.unregister(listener)
            listener.close()
        self._accepting_resumes = None
        self._shutdown_requested = self._now
        if self._has_successor:
            log.info("shutting down: whoever connects from now on waits for the next server")
            self.state = State.HANDING_OVER
            self._statistics.stage = Stage.DRAINING
            self._next_tick = self._now
        else:
            self._start_to_drain()

    def _hand_over(self) -> None:
        """Go on once each client that has connected has asked something, or has had the time to.

        Where another server goes on accepting, a client that was accepted by this one shall not be worse off than
        one that was not. Later requests may well find the connection closed, and connect again.
        """
        limits = self._limits
        self._next_tick = self._now + limits.handover_tick_seconds
        is_over = self._now >= self._shutdown_requested + limits.handover_seconds_max
        since = self._now - limits.handover_seconds_max  # who has been silent for longer than that has had the time
        is_awaited = any((each.is_new or each.is_in_line) and each.last_active > since for each in self._clients)
        if is_over or not (self._handshakes or is_awaited):
            self._start_to_drain()

    def _start_to_drain(self) -> None:
        self._handshakes.close()
        self.state = State.DRAINING
        self._statistics.stage = Stage.DRAINING
        log.info(
            f"shutting down: answering what has arrived from %(clients)d {noun(len(self._clients), 'client')}",
            {"clients": len(self._clients)},
        )
        self._drain_started = self._now

    def _drain(self, unheard: set[object]) -> None:
        """See off the clients that have nothing more to say, and those that do not come to an end.

        ``unheard`` are the ones that were readable in this turn, or not watched for it.
        """
        now, limits = self._now, self._limits
        for client in list(self._clients):
            if client.phase is Phase.OPEN:
                self._drain_client(client, is_heard=client not in unheard)
            elif client.phase is Phase.LINGERING and now - client.last_active >= limits.linger_seconds_max:
                self._close(client, "the server is shutting down", reason=CloseReason.SHUTDOWN)
        if self._clients and now >= self._drain_started + limits.drain_seconds_max:
            log.warning(
                f"%(clients)d {noun(len(self._clients), 'client')} did not take all answers within %(seconds)g s",
                {"clients": len(self._clients), "seconds": limits.drain_seconds_max},
            )
            self.state = State.STOPPED
        if not self._clients:
            self.state = State.STOPPED

    def _drain_client(self, client: Client, *, is_heard: bool) -> None:
        """Ask no more of an open client, unless something that it has said may still be unread."""
        if not client.may_ask:
            return  # it is read on as it takes its answers
        if not is_heard:
            self._drain_reads[client] += 1
            if self._drain_reads[client] < self._limits.drain_reads_max:
                return
        client.phase = Phase.FINISHING
        if is_heard and not client.wanted_events:
            self._close(client, "the server is shutting down", reason=CloseReason.SHUTDOWN)
            return
        try:
            self._settle(client)
        except OSError as error:
            self._close(client, error)

    def close(self) -> None:
        """Close whatever is still open."""
        self._handshakes.close()
        for client in list(self._clients):
            self._close(client, "the server has stopped", reason=CloseReason.SHUTDOWN)
        for listener in self._listeners:
            listener.close()
        self._repeat_limit.flush(at_once=True)
