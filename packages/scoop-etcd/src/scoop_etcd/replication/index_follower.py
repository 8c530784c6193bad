"""Following an index in etcd from outside, as a reader that is not a node: the snapshot, then each entry.

It has the methods of the follower of a data directory, so one program can follow either. It only reads: a user of etcd
who may read the prefix is enough. An entry is in the log once etcd has committed it, so delivered entries are final,
and every reader sees them in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from scoop_core import DependencyGraph, LoggedBatch, Seal

from scoop_etcd.client.api import EtcdClient, Failure, KeyValue, Range, RangeResult, Txn, TxnResult
from scoop_etcd.client.calls import Calls
from scoop_etcd.errors import ReplicationError
from scoop_etcd.formats.entries import Keys, decode_entry
from scoop_etcd.formats.records import Config
from scoop_etcd.replication.entry_feed import EntryFeed
from scoop_etcd.replication.replica import Replica
from scoop_etcd.replication.trail import apply_logged
from scoop_server.ports import Loaded

HEAD_SECONDS: Final = 1.0
"""The interval at which the head is read, which distinguishes a stuck watch from an entry log that does not grow."""

SILENT_SECONDS_MAX: Final = 3.0
"""Without a response of etcd for this long, it counts as unreachable: longer than a change of its leader."""

RETRY_SECONDS: Final = 5.0
"""The pause before everything is read again after an entry or a snapshot that cannot be read."""


class IndexFollower:
    """Follows the index under ``keys``, one :meth:`poll` after the other, over clients that ``connect`` opens.

    ``path`` is its name for people. ``clock`` is in seconds. ``history`` reads the whole trail, in any thread.
    Otherwise not safe for several threads.
    """

    def __init__(
        self,
        connect: Callable[[], EtcdClient],
        clock: Callable[[], float],
        keys: Keys,
        path: str,
        history: Callable[[], Iterator[LoggedBatch]],
    ) -> None:
        self.path = path
        self.history = history
        self.is_current = False
        """True if the last poll has delivered everything that the entry log is known to hold."""
        self.has_more = False
        """True if the last poll has delivered something, but not everything."""
        self._connect = connect
        self._clock = clock
        self._keys = keys
        self._has_loaded = False
        self._reason = ""
        """The reason for which reading has ended; it begins again at ``_retry_at``."""
        self._retry_at = 0.0
        self._session = _Session(connect(), clock, keys)

    def poll(self) -> list[Loaded | LoggedBatch]:
        """Return what was committed since the last poll, in order; never wait. A batch has the number of its revision.

        Raises :exc:`ReplicationError` if the entry log cannot be followed now. A later poll tries again, and continues
        or starts again with a :class:`Loaded`.
        """
        self.is_current = self.has_more = False
        if self._reason:
            if self._clock() < self._retry_at:
                raise self._problem(self._reason)
            self._reason = ""
            self._session = _Session(self._connect(), self._clock, self._keys)
        session = self._session
        try:
            session.advance()
        except ReplicationError as error:
            session.close()
            self._reason, self._retry_at = str(error).partition(";")[0], self._clock() + RETRY_SECONDS
            raise self._problem(self._reason) from error
        delivered = session.take_delivered()
        self._has_loaded = self._has_loaded or bool(delivered)
        if not delivered and (reason := session.problem):
            raise self._problem(reason)
        self.is_current = session.is_current
        self.has_more = bool(delivered) and not self.is_current
        return delivered

    def close(self) -> None:
        """Disconnect."""
        if not self._reason:
            self._session.close()

    def _problem(self, reason: str) -> ReplicationError:
        kept = "the last good state is kept; " if self._has_loaded else ""
        return ReplicationError(
            f"cannot follow {self.path}: {reason}; {kept}retrying; inspect it with: scoop-server check --etcd"
        )


class _Session:
    """One connection, and the entries that it has delivered."""

    def __init__(self, client: EtcdClient, clock: Callable[[], float], keys: Keys) -> None:
        self._client = client
        self._clock = clock
        self._keys = keys
        self._calls = Calls(client, clock)
        self._feed: EntryFeed | None = None
        """None until the configuration has been read."""
        self._order = Replica(DependencyGraph())
        """The last entry of each node. Its graph is empty, because the caller has it, unless that rejects cycles."""
        self._delivered: list[Loaded | LoggedBatch] = []
        self._created = 0
        """The revision at which the configuration was created."""
        self._is_missing = False
        """True if the prefix holds no index."""
        self._head_at: float | None = None
        """The time of the next read of the head; None while one is under way."""
        self._read_config()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def advance(self) -> None:
        """Process what has arrived, and repeat what is due. Raises :exc:`ReplicationError`."""
        self._calls.poll()
        self._calls.tick()
        if self._feed is not None:
            self._feed.tick()
        if self._head_at is not None and self._clock() >= self._head_at:
            self._head_at = None
            if self._feed is None:
                self._read_config()
            else:
                reads = Range(self._keys.head), Range(self._keys.config)
                self._calls.txn(Txn((), reads), self._take_head)

    def take_delivered(self) -> list[Loaded | LoggedBatch]:
        """Return what was delivered since the last call."""
        delivered, self._delivered = self._delivered, []
        return delivered

    @property
    def problem(self) -> str:
        """The reason why the entry log cannot be followed; empty while it can."""
        failure = self._calls.last_failure
        if failure is not None and self._clock() - self._calls.last_answer > SILENT_SECONDS_MAX:
            return failure.reason
        return "it holds no index" if self._is_missing else ""

    @property
    def is_current(self) -> bool:
        """Return whether everything that the entry log is known to hold was delivered, and etcd answers."""
        is_silent = self._clock() - self._calls.last_answer > SILENT_SECONDS_MAX
        return self._feed is not None and not self._feed.is_behind and not is_silent

    def _read_config(self) -> None:
        self._calls.range(Range(self._keys.config), self._take_config)

    def _take_config(self, result: RangeResult | Failure) -> None:
        assert isinstance(result, RangeResult)  # noqa: S101  # no failure of this call is final
        self._head_at = self._clock() + HEAD_SECONDS
        self._is_missing = not result.kvs
        if result.kvs:
            self._created = result.kvs[0].create_revision
            config = Config.decode(result.kvs[0].value)
            self._feed = EntryFeed(self._calls, self._keys, self._clock, self._replace, self._apply, config)
            self._feed.start()

    def _take_head(self, result: TxnResult | Failure) -> None:
        assert isinstance(result, TxnResult)  # noqa: S101  # as above
        self._head_at = self._clock() + HEAD_SECONDS
        head, config = result.ranges
        if [kv.create_revision for kv in config.kvs] != [self._created]:
            raise ReplicationError("it was deleted or replaced")
        if head.kvs and self._feed is not None:
            self._feed.expect(head.kvs[0].mod_revision)

    def _replace(self, replica: Replica) -> None:
        graph = replica.graph
        replica.graph = graph.copy() if graph.reject_cycles else DependencyGraph()
        self._delivered.append(Loaded(graph, replica.revision))
        self._order = replica

    def _apply(self, entries: Sequence[KeyValue]) -> None:
        for kv in entries:
            node, seq = self._keys.parse_entry(kv.key)
            if not self._order.is_next(node, seq):
                continue
            if self._order.graph.reject_cycles:  # it may end before its last line, so only its changes are delivered
                self._delivered.append(apply_logged(self._order, self._keys, kv))
                continue
            lines, time_ms, authors = decode_entry(node, seq, kv.value)
            self._order.note(node, seq, kv.mod_revision)
            self._delivered.append(LoggedBatch(lines, Seal(kv.mod_revision, 0, time_ms), authors))
