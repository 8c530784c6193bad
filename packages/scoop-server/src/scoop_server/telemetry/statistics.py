"""The counters of a run, and the meter of its hot path: the thread of the event loop writes them, others only read.

Each is one attribute or one item, replaced as a whole, so that a reader in another thread never sees half of it.
"""

import enum
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from scoop_core import Changes, Tally

from scoop_server.telemetry.figures import Figure, Histogram, counter

_FAST_SECONDS: Final = (0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)

DURATION_SECONDS: Final = (*_FAST_SECONDS, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds for the duration of a turn or a commit: from one client and a fast disk to a disk that hangs."""

BATCH_CHANGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 20_000)
"""Upper bounds for the number of changes that one commit makes durable."""


class Stage(enum.StrEnum):
    """The stages of a run."""

    LOADING = "loading"
    """The index is being read; no client is served yet."""
    SERVING = "serving"
    """Clients are served."""
    DRAINING = "draining"
    """The last responses leave."""
    SAVING = "saving"
    """The index is being written; no client is left."""


class CloseReason(enum.StrEnum):
    """The reason for the end of a connection."""

    ENDED = "ended"
    """The client has ended it."""
    BROKEN = "broken"
    """A call on its socket has failed: a reset, most often."""
    TOO_MANY_CLIENTS = "too_many_clients"
    """As many clients as are allowed were connected already."""
    HANDSHAKE = "handshake"
    """Its TLS handshake has failed, or took too long."""
    IDLE = "idle"
    """It was silent for too long."""
    INCOMPLETE_LINE = "incomplete_line"
    """A line was incomplete for too long."""
    UNREAD_OUTPUT = "unread_output"
    """It took nothing of its responses for too long."""
    FORBIDDEN = "forbidden"
    """No role names it, or its certificate is revoked."""
    HTTP = "http"
    """Its first line was an HTTP request."""
    UNANSWERED = "unanswered"
    """There was no room on the disk for what it wanted to change, or its response did not come in time."""
    SHUTDOWN = "shutdown"
    """The server has stopped."""


class Meter:
    """Measures nothing: the meter of a server without an admin endpoint. Counting would cost it 2 to 4%."""

    clock: Callable[[], float] = time.monotonic
    """The clock of the event loop."""
    tally: Tally | None = None
    """Counts requests by command and response; None: they are not counted."""

    def index_opened(self, edge_count: Callable[[], int]) -> None:
        """Note that an index has been loaded; ``edge_count`` counts its dependencies."""

    def turn_ended(self, started: float) -> None:
        """Note that a turn that began at ``started``, in seconds of the meter's clock, has ended."""

    def changed(self, changes: Changes) -> None:
        """Note that ``changes`` have been applied for good."""

    def commit_ended(self, started: float, changes: Changes) -> None:
        """Note that the commit of ``changes`` that began at ``started`` has succeeded."""


@dataclass(slots=True, eq=False)
class Statistics(Meter):
    """The numbers of one run, since its start. Sizes are in bytes, times in seconds.

    Those of the hot path are counted if they are its meter.
    """

    clock: Callable[[], float] = time.monotonic
    stage: Stage = Stage.LOADING
    recovery_seconds: float | None = None
    """Duration of reading the index; None until it has been read."""
    changes_rejected: int = 0
    """INDEX and REMOVE requests that a read-only listener rejected."""
    requests_forbidden: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Requests that a role did not permit, by its name."""
    connections_now: int = 0
    """Number of clients, without connections whose TLS handshake is in progress."""
    handshakes_now: int = 0
    connections_accepted: int = 0
    connections_closed: Counter[str] = field(default_factory=Counter)
    """By reason, from a fixed set."""
    tally: Tally = field(default_factory=Tally)
    """Requests, by command and response."""
    last_tick: float | None = None
    """The time of the last tick of the event loop, by its clock: about once a second."""
    dependency_edges: int = 0
    """Number of dependencies of all packages."""
    bytes_received: int = 0
    bytes_sent: int = 0
    """Bytes of responses, including those that a client has not accepted yet."""
    turn_seconds: Histogram = field(default_factory=lambda: Histogram(DURATION_SECONDS))
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(DURATION_SECONDS))
    commit_changes: Histogram = field(default_factory=lambda: Histogram(BATCH_CHANGES))

    def index_opened(self, edge_count: Callable[[], int]) -> None:
        """See :meth:`Meter.index_opened`."""
        self.dependency_edges = edge_count()

    def turn_ended(self, started: float) -> None:
        """See :meth:`Meter.turn_ended`."""
        self.turn_seconds.observe(self.clock() - started)

    def changed(self, changes: Changes) -> None:
        """See :meth:`Meter.changed`."""
        self.dependency_edges += added_dependencies(changes)

    def commit_ended(self, started: float, changes: Changes) -> None:
        """See :meth:`Meter.commit_ended`."""
        self.commit_seconds.observe(self.clock() - started)
        self.commit_changes.observe(len(changes))
        self.changed(changes)

    def figures(self) -> Iterator[Figure]:
        """Yield the figures of the run, without those that are not known yet."""
        yield counter("scoop_rejected_changes", "Changes rejected by read-only listeners.", self.changes_rejected)
        if self.requests_forbidden:
            by_role = self.requests_forbidden.copy()
            yield counter("scoop_forbidden_requests", "Requests that a role did not permit.", by_role, "role")
        yield counter("scoop_received_bytes", "Bytes received from clients.", self.bytes_received)
        yield counter("scoop_sent_bytes", "Bytes sent to clients.", self.bytes_sent)
        yield Figure("scoop_connections", "Connected clients.", self.connections_now)
        yield Figure("scoop_handshakes", "TLS handshakes in progress.", self.handshakes_now)
        yield counter("scoop_connections_accepted", "Accepted connections.", self.connections_accepted)
        if self.recovery_seconds is not None:
            yield Figure("scoop_recovery_seconds", "Duration of loading the index.", self.recovery_seconds)
        requests = {tuple(labels): count for *labels, count in self.tally}
        yield counter("scoop_requests", "Requests, by answer.", requests, "command", "response")
        closed: dict[tuple[str, ...], float] = {(reason,): self.connections_closed[reason] for reason in CloseReason}
        yield counter("scoop_connections_closed", "Connections closed, by reason.", closed, "reason")
        yield Figure("scoop_turn_duration_seconds", "Duration of a turn, without waiting.", self.turn_seconds)
        yield Figure("scoop_commit_duration_seconds", "Duration of a commit.", self.commit_seconds)
        yield Figure("scoop_commit_changes", "Changes in one commit.", self.commit_changes)


def added_dependencies(changes: Changes) -> int:
    r"""Return how many more dependencies there are after ``changes``; fewer are a negative number.

    It is counted in whole texts, in a few calls however many changes there are.

    >>> from scoop_core import DependencyGraph
    >>> graph = DependencyGraph.from_mapping({"isl": ["gmp"], "gmp": []})
    >>> graph.apply_lines("INDEX|gcc|gmp,isl\nINDEX|isl|\nINDEX|gmp|gmp\n", changes := Changes())
    'OK\nOK\nOK\n'
    >>> added_dependencies(changes)
    2
    """
    lines = "\n".join([*changes.lines, ""])
    replaced = ",".join(filter(None, changes.previous))
    # A list has one dependency more than commas, unless it is empty: then a bar ends the line.
    return lines.count(",") + len(changes) - lines.count("|\n") - (replaced.count(",") + bool(replaced))
