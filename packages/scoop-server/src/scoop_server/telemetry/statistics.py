"""The counters of a run: the thread of the event loop writes them, others only read.

Each is one attribute or one item, replaced as a whole, so that a reader in another thread never sees half of it.
"""

import enum
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from scoop_core import Changes, Tally

_SECONDS: Final = (0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)

_STALLED_SECONDS: Final = (2.5, 5.0, 10.0, 30.0, 60.0)

TURN_SECONDS: Final = (*_SECONDS, *_STALLED_SECONDS)
"""Upper bounds for the duration of a turn: from a turn for one client to one in which the disk hangs."""

COMMIT_SECONDS: Final = (*_SECONDS, *_STALLED_SECONDS)
"""Upper bounds for the duration of a commit: from a fast disk to one that hangs."""

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
    HTTP = "http"
    """Its first line was an HTTP request."""
    UNANSWERED = "unanswered"
    """There was no room on the disk for what it wanted to change, or etcd did not answer in time."""
    SHUTDOWN = "shutdown"
    """The server has stopped."""


class Histogram:
    """A histogram: the number of observations up to each of ``bounds``, ascending, and above all of them."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        """``counts[i]`` fell under ``bounds[i]``, or were equal to it, and not under the bound before."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``.

        >>> batches = Histogram([1, 10])
        >>> for size in (1, 2, 10, 11):
        ...     batches.observe(size)
        >>> batches.counts, batches.sum
        ([1, 2, 1], 24.0)
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True, eq=False)
class Statistics:
    """The numbers of one run, since its start. Sizes are in bytes, times in seconds."""

    stage: Stage = Stage.LOADING
    recovery_seconds: float | None = None
    """Duration of reading the index; None until it has been read."""
    changes_rejected: int = 0
    """INDEX and REMOVE requests that a read-only listener rejected."""
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
    turn_seconds: Histogram = field(default_factory=lambda: Histogram(TURN_SECONDS))
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(COMMIT_SECONDS))
    commit_changes: Histogram = field(default_factory=lambda: Histogram(BATCH_CHANGES))

    def count_commit(self, changes: Changes, seconds: float) -> None:
        """Count one commit of ``changes`` that took so long."""
        self.commit_seconds.observe(seconds)
        self.commit_changes.observe(len(changes))
        self.dependency_edges += added_dependencies(changes)


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
