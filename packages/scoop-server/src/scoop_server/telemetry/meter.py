"""The meter of the hot path: a null object unless someone reads the figures."""

from collections.abc import Callable

from scoop_core import Changes, Tally

from scoop_server.telemetry.statistics import Statistics, added_dependencies


class Meter:
    """Measures nothing: the meter of a server without an admin endpoint. Counting would cost it 2 to 4%."""

    tally: Tally | None = None
    """Counts requests by command and response; None: they are not counted."""

    def index_opened(self, edge_count: Callable[[], int]) -> None:
        """Note that an index has been loaded; ``edge_count`` counts its dependencies."""

    def turn_ended(self, started: float) -> None:
        """Note that a turn that began at ``started``, in seconds of the meter's clock, has ended."""

    def changed(self, changes: Changes) -> None:
        """Note that ``changes`` have been applied for good."""

    def commit_started(self) -> None:
        """Note that a commit begins."""

    def commit_ended(self, changes: Changes) -> None:
        """Note that ``changes`` have been committed. Not called for a commit that failed."""


class CountingMeter(Meter):
    """Writes what it measures into ``statistics``. ``clock`` is that of the event loop, in seconds."""

    def __init__(self, statistics: Statistics, clock: Callable[[], float]) -> None:
        self.tally = statistics.tally
        self._statistics = statistics
        self._clock = clock
        self._commit_started_at = 0.0

    def index_opened(self, edge_count: Callable[[], int]) -> None:
        """See :meth:`Meter.index_opened`."""
        self._statistics.dependency_edges = edge_count()

    def turn_ended(self, started: float) -> None:
        """See :meth:`Meter.turn_ended`."""
        self._statistics.turn_seconds.observe(self._clock() - started)

    def changed(self, changes: Changes) -> None:
        """See :meth:`Meter.changed`."""
        self._statistics.dependency_edges += added_dependencies(changes)

    def commit_started(self) -> None:
        """See :meth:`Meter.commit_started`."""
        self._commit_started_at = self._clock()

    def commit_ended(self, changes: Changes) -> None:
        """See :meth:`Meter.commit_ended`."""
        self._statistics.count_commit(changes, self._clock() - self._commit_started_at)
        self.changed(changes)
