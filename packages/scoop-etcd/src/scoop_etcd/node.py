"""A node, as the application of the server opens and uses it."""

import os
import re
import secrets
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Final, Protocol, cast

from scoop_etcd.client.api import ErrorCode
from scoop_etcd.compaction_process import start_compaction
from scoop_etcd.connection import open_client, read_connection_settings
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys
from scoop_etcd.formats.records import Config
from scoop_etcd.options import EtcdSettings, Reads
from scoop_etcd.replication.index import ReplicatedIndex
from scoop_etcd.replication.node_settings import NodeSettings
from scoop_server import __version__
from scoop_server.app.plugin import Resources
from scoop_server.config.peer import Peer, quote_name
from scoop_server.ports import ClientT
from scoop_server.telemetry.figures import Figure
from scoop_server.telemetry.logs import log

TICK_SECONDS_MAX: Final = 0.25
"""The interval of periodic work: repeating failed requests, and time-outs."""

_FIRST_REPORT_SECONDS: Final = 1.0
"""The time after which a node that cannot join logs the reason."""

_REPORT_SECONDS: Final = 10.0
"""The interval at which it repeats that."""

_HOPELESS: Final = {ErrorCode.UNAUTHENTICATED, ErrorCode.PERMISSION_DENIED, ErrorCode.INVALID}
"""Failures that a retry cannot resolve."""


class Node(ReplicatedIndex[ClientT]):
    """A node as the application uses it; satisfies :class:`~scoop_server.ports.OpenIndex`."""

    place: str = ""
    tick_seconds_max: float = TICK_SECONDS_MAX
    certificate_expires_at: float | None = None
    _last_reason: str = ""
    _refused_searches: int = 0
    _refusals_at: float = 0.0
    """The time at which refusals were reported last."""

    @property
    def not_ready_reason(self) -> str:
        """The reason for which clients are not fully served; empty while they are."""
        return self.status.not_ready_reason

    def package_count(self) -> int:
        """Return the number of packages."""
        return len(self.graph)

    def figures(self) -> Iterator[Figure]:
        """Return the figures of the node."""
        return self.status.figures()

    def tick(self) -> None:
        """Do the periodic work of the node, and log when it becomes ready or not."""
        super().tick()
        reason, last_reason = self.not_ready_reason, self._last_reason
        self._last_reason = reason
        if reason and reason != last_reason:
            failure = self.calls.last_failure
            cause = f" ({failure.reason})" if failure is not None and reason.startswith("etcd ") else ""
            log.warning("not ready: %(reason)s", {"reason": f"{reason}{cause}"})
        elif last_reason and not reason:
            log.info("ready again")
        self._report_refusals()

    def _report_refusals(self) -> None:
        """Log that INDEX requests of any node were refused because their search for a cycle is too long."""
        count, now = self.graph.refused_searches, time.monotonic()
        if count != self._refused_searches and now - self._refusals_at > _REPORT_SECONDS:
            self._refused_searches, self._refusals_at = count, now
            log.warning(
                "refused INDEX requests: the search for a cycle needs more than %(limit)d packages and dependencies"
                " (%(count)d since the start)",
                {"limit": self.graph.search_limit, "count": count},
            )

    def request_compaction(self) -> None:
        """Log that the nodes decide about compactions."""
        log.info("nothing to compact: one of the nodes compacts the entry log in etcd when it is long enough")

    def save(self) -> None:
        """Do nothing: every answered change is in the entry log."""


def join(resources: Resources) -> Node[ClientT]:
    """Join the index in etcd: check its configuration, and load its snapshot and entry log.

    It waits for etcd for as long as that takes. Raises ConfigurationError or ReplicationError.
    """
    settings = resources.settings
    etcd = settings.part(EtcdSettings)
    connection = read_connection_settings(etcd, os.environ)
    node = secrets.token_hex(8)
    host = socket.gethostname()
    of_node = NodeSettings(
        node=node,
        keys=Keys(etcd.prefix),
        config=Config(settings.reject_cycles, settings.limits.line_bytes_max),
        has_local_reads=etcd.reads is Reads.LOCAL,
        answer_seconds_max=etcd.commit_seconds_max,
        addresses=tuple(_with_host(address, host) for address in resources.addresses),
        version=__version__,
        access_digest=resources.access_digest,
        wall_clock=lambda: time.time_ns() // 1_000_000,
        entry_bytes_min=settings.limits.compaction_bytes_min,
    )
    compact = partial(start_compaction, connection, etcd.prefix, settings.log_format, of_node.config)
    client = open_client(connection, etcd.commit_seconds_max)
    index = Node[ClientT](client, time.monotonic, of_node, compact, resources.meter)
    index.use_identities(_identity)
    index.place = f"node {node} of {etcd.place}, {etcd.reads} reads"
    index.certificate_expires_at = connection.certificate_expires_at
    with ExitStack() as stack:
        stack.enter_context(closing(index))
        _wait_until_loaded(index)
        stack.pop_all()
    return index


class _Connected(Protocol):
    peer: Peer


def _identity(client: object) -> str:
    return quote_name(cast("_Connected", client).peer.identities[0])  # as the clients of the server are


def _with_host(address: str, host: str) -> str:
    """Return an address that tells nodes apart: that of all interfaces gets the name ``host`` of this machine."""
    return re.sub(r"(^0\.0\.0\.0|\[::\])(?=:\d)", host, address, count=1)


def _wait_until_loaded(index: Node[ClientT]) -> None:
    report_at = time.monotonic() + _FIRST_REPORT_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(index.fileno(), selectors.EVENT_READ)
        while index.status.is_loading:
            selector.select(TICK_SECONDS_MAX)
            index.completed()
            ReplicatedIndex.tick(index)  # it is logged below why it is not ready
            failure = index.calls.last_failure
            if failure is None:
                continue
            if failure.code in _HOPELESS:
                raise ReplicationError(f"cannot use etcd: {failure.reason}; check the user, its role and the prefix")
            if time.monotonic() >= report_at:
                report_at = time.monotonic() + _REPORT_SECONDS
                log.warning("cannot join yet: %(reason)s; retrying", {"reason": failure.reason})
