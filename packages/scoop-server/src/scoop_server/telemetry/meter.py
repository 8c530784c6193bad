"""The meter of the hot path: a null object, or the statistics if someone reads the figures."""

from collections.abc import Callable

from scoop_core import Changes, Tally


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
