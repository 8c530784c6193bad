"""The health of a run, for probes and metrics in another thread."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from scoop_server import __version__, form
from scoop_server.telemetry.figures import Figure, counter
from scoop_server.telemetry.log_queue import dropped_line_count
from scoop_server.telemetry.statistics import Stage, Statistics

STUCK_SECONDS: Final = 10.0
"""Without a tick for this long, the event loop counts as stuck: ten tick intervals, and longer than a turn takes even
on a busy disk. A client that has waited longer has most often given up."""

READ_ONLY: Final = "read-only"
"""The reason for which an index refuses changes while queries are answered."""


class ObservedIndex(Protocol):
    """An index as seen from another thread."""

    @property
    def not_ready_reason(self) -> str:
        """The reason for which clients are not fully served, in a few words; empty while they are."""

    @property
    def certificate_expires_at(self) -> float | None:
        """The Unix time at which a certificate of its own first expires; None without one."""

    def package_count(self) -> int:
        """Return the number of packages."""

    def figures(self) -> Iterable[Figure]:
        """Return the figures that only this kind of index has."""


class ObservedCertificates(Protocol):
    """The certificates of the server. May be read in any thread."""

    @property
    def expires_at(self) -> float:
        """The time at which the first of them expires, in Unix time."""


@dataclass(slots=True)
class Health:
    """A run as seen from another thread: a few numbers, never a package. The application fills it."""

    statistics: Statistics
    certificates: ObservedCertificates | None = None
    """None without TLS."""
    index: ObservedIndex | None = None
    """None until it has been loaded."""
    connections_max: int | None = None
    """The effective limit of connections: ``--max-clients``, or what the limit of open files allows."""
    last_reload_succeeded: bool | None = None
    """None before the first reload."""

    @property
    def is_stuck(self) -> bool:
        """Return whether the event loop should take turns and has not for long. Loading and saving may take long."""
        statistics = self.statistics
        if statistics.stage not in {Stage.SERVING, Stage.DRAINING} or statistics.last_tick is None:
            return False
        return statistics.clock() - statistics.last_tick > STUCK_SECONDS

    @property
    def not_ready_reason(self) -> str:
        """A few words for why clients are not fully served; empty while they are."""
        if self.is_stuck:
            return "stuck"
        if self.statistics.stage is not Stage.SERVING:
            return self.statistics.stage.value
        return "" if self.index is None else self.index.not_ready_reason

    def figures(self) -> Iterator[Figure]:
        """Yield the figures of the run that are known, and those of its index."""
        version = (__version__, sys.version.split()[0], form())
        yield Figure("scoop_build_info", "Version of the server.", {version: 1}, ("version", "python", "form"))
        yield Figure("scoop_ready", "1 while clients are served and may change the index.", not self.not_ready_reason)
        is_read_only = self.index is not None and self.index.not_ready_reason == READ_ONLY
        yield Figure("scoop_read_only", "1 while changes are refused.", is_read_only)
        yield counter("scoop_log_lines_dropped", "Log lines that could not be written.", dropped_line_count())
        if self.last_reload_succeeded is not None:
            yield Figure("scoop_last_reload_success", "1 if the last reload succeeded.", self.last_reload_succeeded)
        if self.connections_max is not None:
            yield Figure("scoop_connections_max", "Effective limit of connections.", self.connections_max)
        if known := [each for each in self._expiries() if each is not None]:
            name = "scoop_certificate_expiry_timestamp_seconds"
            yield Figure(name, "Time of the first expiry of a certificate.", min(known))
        yield from self.statistics.figures()
        if self.index is not None:
            edges = self.statistics.dependency_edges
            yield Figure("scoop_packages", "Indexed packages.", self.index.package_count())
            yield Figure("scoop_dependency_edges", "Dependencies of all packages.", edges)
            yield from self.index.figures()

    def _expiries(self) -> tuple[float | None, float | None]:
        server = None if self.certificates is None else self.certificates.expires_at
        return server, None if self.index is None else self.index.certificate_expires_at
