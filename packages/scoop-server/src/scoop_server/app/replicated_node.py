"""A node of a replicated index: joined at the start, watched while it runs."""

import os
import secrets
import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from scoop_core import DependencyGraph

from scoop_server import __version__
from scoop_server.app.claims import Claims
from scoop_server.app.etcd_connection import open_client, read_cluster
from scoop_server.app.serving import Serving
from scoop_server.app.signals import SignalPipe
from scoop_server.app.snapshot_process import SnapshotProcess
from scoop_server.config.replication import Reads
from scoop_server.config.settings import Settings
from scoop_server.errors import ReplicationError
from scoop_server.etcd.api import ErrorCode
from scoop_server.etcd.cluster import Cluster
from scoop_server.etcd.log import Keys
from scoop_server.etcd.records import Config
from scoop_server.index.replicated.compactor import CompactionTask
from scoop_server.index.replicated.index import ReplicatedIndex, ReplicationSettings
from scoop_server.loop.client import Client
from scoop_server.telemetry.health import Health
from scoop_server.telemetry.logs import log
from scoop_server.telemetry.meter import CountingMeter, Meter

TICK_SECONDS_MAX: Final = 0.25
"""The interval of periodic work: repeating failed requests, and time-outs."""

_FIRST_REPORT_SECONDS: Final = 1.0
"""The time after which a node that cannot join logs the reason."""

_REPORT_SECONDS: Final = 10.0
"""The interval at which it repeats that."""

_HOPELESS: Final = {ErrorCode.UNAUTHENTICATED, ErrorCode.PERMISSION_DENIED, ErrorCode.INVALID}
"""Failures that a retry cannot resolve."""


@dataclass(slots=True)
class ReplicatedNode:
    """A node that has joined; see :class:`~scoop_server.app.serving.OpenIndex`."""

    index: ReplicatedIndex[Client]
    place: str
    recovery_seconds: float
    _meter: Meter
    _last_reason: str = ""

    def __len__(self) -> int:
        return len(self.index.graph)

    def serve(self, _settings: Settings, health: Health, _resources: ExitStack) -> Serving:
        """See :meth:`OpenIndex.serve`."""
        health.index, health.replication = self, self.index.status
        return Serving(self.index, self._meter, self._tick, TICK_SECONDS_MAX, self.index.gather)

    def request_compaction(self) -> None:
        """Log that the nodes compact by themselves."""
        log.info("nothing to compact: one of the nodes compacts the log in etcd when it is long enough")

    def save(self, _progress: Callable[[str, int], None]) -> None:
        """Save nothing: every answered change is in the log."""

    def _tick(self) -> None:
        self.index.tick()
        reason = self.index.status.not_ready_reason
        if reason != self._last_reason:
            if reason:
                log.warning("not ready: %(reason)s", {"reason": reason})
            else:
                log.info("ready again")
            self._last_reason = reason


def join(
    settings: Settings,
    claims: Claims,
    health: Health,
    signals: SignalPipe,
    progress: Callable[[str, int, int], None],
    resources: ExitStack,
) -> ReplicatedNode:
    """Join the index in etcd: check its configuration, and load its snapshot and log.

    It waits for etcd for as long as that takes. Raises ConfigurationError or ReplicationError; SystemExit if a signal
    stops the server meanwhile.
    """
    started = time.monotonic()
    replication = settings.replication
    cluster = read_cluster(replication, os.environ)
    client = open_client(cluster, replication.commit_seconds_max)
    node = secrets.token_hex(8)
    of_node = ReplicationSettings(
        node=node,
        keys=Keys(replication.prefix),
        config=Config(settings.reject_cycles, settings.limits.line_bytes_max),
        has_local_reads=replication.reads is Reads.LOCAL,
        answer_seconds_max=replication.commit_seconds_max,
        addresses=tuple(listener.address for listener in claims.listeners),
        version=__version__,
        log_bytes_min=settings.limits.journal_bytes_min,
    )
    start_compaction = partial(
        _start_compaction, cluster, replication.prefix, settings.log_format, settings.reject_cycles
    )
    meter = Meter() if settings.admin is None else CountingMeter(health.statistics, time.monotonic, DependencyGraph())
    index = resources.enter_context(
        closing(ReplicatedIndex[Client](client, time.monotonic, of_node, start_compaction, meter))
    )
    place = f"node {node} of {replication.prefix} in etcd at {replication.urls}, {replication.reads} reads"
    try:
        with signals.interrupting():
            _wait_until_loaded(index, place, progress)
    except KeyboardInterrupt:
        log.info("a signal stopped the server while it joined; nothing was changed")
        raise SystemExit from None
    return ReplicatedNode(index, place, time.monotonic() - started, meter)


class _NotStarted:
    """A compaction whose process could not be started."""

    def poll(self) -> int | None:
        return 1

    def kill(self) -> None:
        pass


def _start_compaction(
    cluster: Cluster,
    prefix: str,
    log_format: str,
    reject_cycles: bool,  # bound by partial
    fence: int,
) -> CompactionTask:
    try:
        return SnapshotProcess(cluster, prefix, log_format, reject_cycles=reject_cycles, fence=fence)
    except OSError as error:
        log.error("cannot start a compaction: %(reason)s", {"reason": error.strerror})
        return _NotStarted()


def _wait_until_loaded(index: ReplicatedIndex[Client], place: str, progress: Callable[[str, int, int], None]) -> None:
    report_at = time.monotonic() + _FIRST_REPORT_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(index.fileno(), selectors.EVENT_READ)
        while index.status.is_loading:
            selector.select(TICK_SECONDS_MAX)
            index.completed()
            index.tick()
            progress(place, 0, 0)
            failure = index.calls.last_failure
            if failure is None:
                continue
            if failure.code in _HOPELESS:
                raise ReplicationError(f"cannot use etcd: {failure.reason}; check the user, its role and the prefix")
            if time.monotonic() >= report_at:
                report_at = time.monotonic() + _REPORT_SECONDS
                log.warning("cannot join yet: %(reason)s", {"reason": failure.reason})
