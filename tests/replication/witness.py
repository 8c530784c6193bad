"""The witness: a recorder of every entry that etcd has put into the log, in the order of the revisions."""

import selectors
import threading
import time
from collections.abc import Iterable
from typing import Final

from scoop_core import DependencyGraph
from scoop_core.logged import UNKNOWN

from scoop_etcd.client.api import ErrorCode, KeyValue, Range, RangeResult, Ticket, Watch, WatchEnded, WatchEvents
from scoop_etcd.client.connection_settings import ConnectionSettings
from scoop_etcd.client.grpc_client import GrpcEtcdClient
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.replication.replica import Replica
from scoop_etcd.replication.trail import apply_logged

from tests.support.process import WAIT_SECONDS

_PAUSE_SECONDS: Final = 0.2


class Witness:
    """Watches the log from its begin in a thread of its own, until it is closed."""

    def __init__(self, endpoints: list[str], prefix: str) -> None:
        self._client = GrpcEtcdClient(ConnectionSettings(endpoints))
        self._keys = Keys(prefix)
        self._entries: list[KeyValue] = []
        self._revision = 0
        self._grew = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def revision(self) -> int:
        """The revision up to which every entry is recorded."""
        with self._grew:
            return self._revision

    def _run(self) -> None:
        current = self._open()
        with selectors.DefaultSelector() as selector:
            selector.register(self._client.fileno(), selectors.EVENT_READ)
            while not self._is_closing:
                if not selector.select(2.0):  # a member that is stopped, or a quiet log
                    self._client.cancel(current)
                    current = self._open()
                for ticket, result in self._client.poll():
                    if ticket != current:
                        continue
                    if isinstance(result, WatchEvents):
                        self._record(result.kvs, 0)
                    elif isinstance(result, RangeResult):
                        self._record(sorted(result.kvs, key=lambda kv: kv.mod_revision), result.revision)
                        current = self._open()
                    elif isinstance(result, WatchEnded) and result.code is ErrorCode.COMPACTED:
                        # In a quiet log the last entry may be older than etcd's history.
                        current = self._client.submit(Range(*self._keys.entries))
                    else:
                        time.sleep(_PAUSE_SECONDS)
                        current = self._open()

    def _record(self, entries: Iterable[KeyValue], revision: int) -> None:
        """Record those entries that are new; all up to ``revision`` are among them."""
        with self._grew:
            new = [kv for kv in entries if kv.mod_revision > self._revision]
            self._entries += new
            self._revision = max(self._revision, revision, *(kv.mod_revision for kv in new))
            self._grew.notify_all()

    def _open(self) -> Ticket:
        return self._client.submit(Watch(*self._keys.entries, self.revision + 1, elsewhere=True))

    def wait_for(self, revision: int) -> None:
        """Wait until everything up to ``revision`` is recorded."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._grew:
            while self._revision < revision:
                assert self._grew.wait(deadline - time.monotonic()), f"revision {revision} has not arrived"

    def lines(self) -> list[str]:
        """Return the lines of all entries, without late duplicates."""
        duplicates, lines = Replica(DependencyGraph()), list[str]()
        with self._grew:
            entries = list(self._entries)
        for kv in entries:
            node, seq = self._keys.parse_entry(kv.key)
            if duplicates.is_next(node, seq):
                text = decode_entry(node, seq, kv.value).lines
                duplicates.sequences[node] = seq
                lines += text.splitlines()
        return lines

    def trail(self) -> list[tuple[str, str]]:
        """Return the identity and the line of each change that the entries have made."""
        with self._grew:
            entries = list(self._entries)
        replica = Replica(DependencyGraph())
        batches = [apply_logged(replica, self._keys, kv) for kv in entries]
        return [(change.identity or UNKNOWN, change.line) for batch in batches for change in batch.changes()]

    def close(self) -> None:
        """Stop recording."""
        self._is_closing = True
        self._client.wake()
        self._thread.join(WAIT_SECONDS)
        self._client.close()
